//! A square picture by itself, blurred or grey where a person may not want to see it, and its cells that weighed.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use crate::PictureError;
use crate::canvas::Sheet;
use crate::overlay::tinted;

/// Each pixel becomes a square of this side.
const ENLARGED: u32 = 2;
/// Largest side that is drawn.
const MAX_SIDE: usize = 1_024;
/// Width of the line around a cell.
const OUTLINE_PX: u32 = 2;

/// A cell and its weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TintedCell {
    /// From the top.
    pub row: u32,
    /// From the left.
    pub column: u32,
    /// Not negative.
    pub weight: f32,
}

/// What is drawn.
#[derive(Debug, Clone, Copy)]
pub struct SquarePicture<'a> {
    /// `[side, side, 3]`, RGB.
    pub pixels: &'a [u8],
    /// Side of the picture in pixels, 1 to 1,024.
    pub side: usize,
    /// Cells in a row.
    pub cells_per_row: u32,
    /// Cells that weighed; one beyond the grid is left out.
    pub cells: &'a [TintedCell],
    /// Standard deviation of the blur in pixels of what is drawn; 0 for none.
    pub blur_px: f32,
    /// Without its colours.
    pub is_grey: bool,
}

/// Draws the picture at twice its size, each cell outlined and in red as its weight beside the heaviest one. The cells lie over
/// blur and grey. The blur is one of boxes, whose time does not grow with its width.
///
/// # Errors
/// Pixels that make no square.
pub fn square_picture(square: &SquarePicture) -> Result<Vec<u8>, PictureError> {
    let side = square.side;
    let fits = (1..=MAX_SIDE).contains(&side) && square.pixels.len() == side * side * 3;
    let pixels = fits.then(|| RgbImage::from_raw(side as u32, side as u32, square.pixels.to_vec())).flatten();
    let Some(mut picture) = pixels else {
        let message = format!("{} bytes for a square of side {side}", square.pixels.len());
        return Err(PictureError::Input(message));
    };
    if square.is_grey {
        for pixel in picture.pixels_mut() {
            // ITU-R BT.601.
            let luma = 0.299 * f32::from(pixel.0[0]) + 0.587 * f32::from(pixel.0[1]) + 0.114 * f32::from(pixel.0[2]);
            *pixel = Rgb([luma.round() as u8; 3]);
        }
    }
    let blur_px = square.blur_px / ENLARGED as f32;
    // Twice the side is so wide that one colour is left.
    if blur_px > 0.0 {
        picture = imageops::fast_blur(&picture, blur_px.min(2.0 * side as f32));
    }
    let side_px = side as u32 * ENLARGED;
    let mut picture = imageops::resize(&picture, side_px, side_px, FilterType::Triangle);
    let heaviest = square.cells.iter().map(|cell| cell.weight).fold(f32::MIN_POSITIVE, f32::max);
    for cell in square.cells {
        tint(&mut picture, cell, square.cells_per_row, cell.weight / heaviest);
    }
    Sheet { width_px: side_px, height_px: side_px, pixels: picture.into_raw() }.to_png()
}

fn tint(picture: &mut RgbImage, cell: &TintedCell, cells_per_row: u32, share: f32) {
    if cell.row >= cells_per_row || cell.column >= cells_per_row {
        return;
    }
    let edge = |at: u32| at * picture.width() / cells_per_row;
    let (left, right) = (edge(cell.column), edge(cell.column + 1));
    let (top, bottom) = (edge(cell.row), edge(cell.row + 1));
    for y in top..bottom {
        for x in left..right {
            let pixel = picture.get_pixel_mut(x, y);
            let to_edge = (x - left).min(right - 1 - x).min(y - top).min(bottom - 1 - y);
            // White in red, to be seen on light and on dark.
            pixel.0 = match to_edge {
                to_edge if to_edge < OUTLINE_PX => [230, 20, 20],
                to_edge if to_edge == OUTLINE_PX => [255, 255, 255],
                _ => tinted(&pixel.0, share),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::tests::decoded;

    const SIDE: usize = 28;

    fn drawn(square: SquarePicture) -> RgbImage {
        decoded(&square_picture(&square).unwrap())
    }

    fn square<'a>(pixels: &'a [u8], cells: &'a [TintedCell]) -> SquarePicture<'a> {
        SquarePicture { pixels, side: SIDE, cells_per_row: 7, cells, blur_px: 0.0, is_grey: false }
    }

    #[test]
    fn a_cell_is_outlined_and_tinted_and_the_rest_is_as_it_was() {
        let pixels = [[0_u8, 0, 200]; SIDE * SIDE].concat();
        let cells = [TintedCell { row: 0, column: 6, weight: 0.5 }, TintedCell { row: 9, column: 0, weight: 0.5 }];
        let picture = drawn(square(&pixels, &cells));
        assert_eq!(picture.dimensions(), (56, 56));
        assert_eq!(picture.get_pixel(55, 0).0, [230, 20, 20]);
        assert_eq!(picture.get_pixel(52, 4).0, [150, 13, 83], "65 % of red over blue");
        assert_eq!(picture.get_pixel(0, 0).0, [0, 0, 200]);
        assert_eq!(picture.get_pixel(0, 55).0, [0, 0, 200], "a cell beyond the grid is nowhere");
    }

    #[test]
    fn blur_leaves_no_edge_and_grey_no_colour() {
        let mut pixels = [[255_u8, 0, 0]; SIDE * SIDE].concat();
        for row in 0..SIDE {
            pixels[row * SIDE * 3..][..SIDE / 2 * 3].fill(0);
        }
        let sharp = drawn(square(&pixels, &[]));
        let blurred = drawn(SquarePicture { blur_px: 40.0, ..square(&pixels, &[]) });
        let step = |picture: &RgbImage| picture.get_pixel(32, 28).0[0].abs_diff(picture.get_pixel(23, 28).0[0]);
        assert_eq!(step(&sharp), 255);
        assert!(step(&blurred) < 40, "{}", step(&blurred));
        let grey = drawn(SquarePicture { is_grey: true, ..square(&pixels, &[]) });
        assert!(grey.pixels().all(|pixel| pixel.0[0] == pixel.0[1] && pixel.0[1] == pixel.0[2]));
    }

    #[test]
    fn pixels_that_make_no_square_are_an_error() {
        for (side, bytes) in [(0, 0), (2, 11), (1_025, 1_025 * 1_025 * 3)] {
            let pixels = vec![0; bytes];
            let wrong = SquarePicture { side, ..square(&pixels, &[]) };
            assert!(matches!(square_picture(&wrong), Err(PictureError::Input(_))));
        }
    }
}
