//! A picture beside itself with the cells tinted that an image encoder looked at.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::PictureError;
use crate::canvas::{FONT, Sheet, text};

/// Each pixel becomes a square of this side.
const ENLARGED: usize = 2;
const MARGIN_PX: usize = 16;
const HEADING_PX: usize = 48;
/// Opacity of the tint of the heaviest cell.
const MOST_TINT: f32 = 0.65;
/// Cells lighter than this carry no number.
const NUMBERED_FROM: f32 = 0.01;

/// What is drawn.
#[derive(Debug, Clone, Copy)]
pub struct CellOverlay<'a> {
    /// First line.
    pub title: &'a str,
    /// `[side, side, 3]`, RGB.
    pub pixels: &'a [u8],
    /// Side of the picture in pixels.
    pub side: usize,
    /// `[cells, cells]`, weight of each cell, row by row from the top left; not negative.
    pub weights: &'a [f32],
}

/// Draws the picture, and again with each cell in red as its weight, which also stands in it in per cent.
///
/// # Errors
/// Pixels or weights that make no square.
pub fn cell_overlay(overlay: &CellOverlay) -> Result<Vec<u8>, PictureError> {
    let CellOverlay { title, pixels, side, weights } = *overlay;
    let cells = weights.len().isqrt();
    if side == 0 || pixels.len() != side * side * 3 || cells == 0 || cells * cells != weights.len() || cells > side {
        let message = format!("{} bytes and {} cells for a square of side {side}", pixels.len(), weights.len());
        return Err(PictureError::Input(message));
    }
    let side_px = side * ENLARGED;
    let mut sheet = Sheet::white((2 * side_px + 3 * MARGIN_PX) as u32, (side_px + HEADING_PX + MARGIN_PX) as u32);
    let heaviest = weights.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let (left, right) = (MARGIN_PX, 2 * MARGIN_PX + side_px);
    let width = sheet.width_px as usize;
    for y in 0..side_px {
        for x in 0..side_px {
            let (from_x, from_y) = (x / ENLARGED, y / ENLARGED);
            let pixel = &pixels[(from_y * side + from_x) * 3..][..3];
            let weight = weights[from_y * cells / side * cells + from_x * cells / side];
            let row = (HEADING_PX + y) * width;
            sheet.pixels[(row + left + x) * 3..][..3].copy_from_slice(pixel);
            sheet.pixels[(row + right + x) * 3..][..3].copy_from_slice(&tinted(pixel, weight / heaviest));
        }
    }
    sheet.paint(|area| {
        area.draw(&Text::new(title.to_owned(), (MARGIN_PX as i32, 14), text(18)))?;
        let centred = Pos::new(HPos::Center, VPos::Center);
        let style = |colour: &RGBColor| (FONT, 16).into_font().color(colour).pos(centred);
        for (index, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight >= NUMBERED_FROM) {
            let middle = |cell: usize| ((2 * cell + 1) * side_px / (2 * cells)) as i32;
            let (x, y) = (right as i32 + middle(index % cells), HEADING_PX as i32 + middle(index / cells));
            let per_cent = format!("{:.0}", weight * 100.0);
            // A shadow, to be read on light and on dark.
            area.draw(&Text::new(per_cent.clone(), (x + 1, y + 1), style(&BLACK)))?;
            area.draw(&Text::new(per_cent, (x, y), style(&WHITE)))?;
        }
        Ok(())
    })?;
    sheet.to_png()
}

pub(crate) fn tinted(pixel: &[u8], share: f32) -> [u8; 3] {
    let opacity = MOST_TINT * if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let tint = [230.0, 20.0, 20.0];
    std::array::from_fn(|channel| {
        let value = f32::from(pixel.get(channel).copied().unwrap_or(0));
        (value + opacity * (tint[channel] - value)).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::tests::decoded;

    #[test]
    fn the_picture_is_shown_as_it_is_and_beside_it_red_where_the_weight_is() {
        let pixels = [[0_u8, 0, 200]; 28 * 28].concat();
        let mut weights = vec![0.0; 49];
        weights[48] = 1.0;
        let png = cell_overlay(&CellOverlay { title: "", pixels: &pixels, side: 28, weights: &weights }).unwrap();
        let shown = decoded(&png);
        let at = |x: usize, y: usize| shown.get_pixel(x as u32, (HEADING_PX + y) as u32).0;
        let second = 2 * MARGIN_PX + 56;
        assert_eq!(at(MARGIN_PX, 0), [0, 0, 200]);
        assert_eq!(at(MARGIN_PX + 55, 55), [0, 0, 200], "the last cell of the plain picture");
        assert_eq!(at(second, 0), [0, 0, 200], "a cell without weight");
        assert_eq!(at(second + 55, 55), [150, 13, 83], "65 % of red over blue");
    }

    #[test]
    fn pixels_and_cells_that_are_no_square_are_errors() {
        let overlay = CellOverlay { title: "", pixels: &[0; 12], side: 2, weights: &[1.0; 4] };
        assert!(cell_overlay(&overlay).is_ok());
        for wrong in [
            CellOverlay { pixels: &[0; 11], ..overlay },
            CellOverlay { weights: &[1.0; 3], ..overlay },
            CellOverlay { weights: &[], ..overlay },
            CellOverlay { side: 0, pixels: &[], ..overlay },
        ] {
            assert!(matches!(cell_overlay(&wrong), Err(PictureError::Input(_))));
        }
    }
}
