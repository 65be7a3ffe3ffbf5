//! The picture of a post as the network saw it, and where it looked.

use jtav_picture::{SquarePicture, TintedCell, square_picture};

use crate::error::ExplainError;
use crate::explanation::CellWeight;
use crate::fragments::CELLS_PER_ROW;

/// Most pixels by which a picture is blurred: its faces and letters are gone long before.
pub const MAX_BLUR_PX: f32 = 40.0;

/// How a picture is shown to a person who may not want to see it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Lens {
    /// Standard deviation of the blur in pixels of what is drawn, 0 for none; more than [`MAX_BLUR_PX`] is that.
    pub blur_px: f32,
    /// Without its colours.
    pub is_grey: bool,
}

/// Draws the centre square, `[side, side, 3]` RGB of `side` pixels (224), twice as large as a PNG, its cells tinted and outlined by
/// weight over what the lens leaves; no cells show it as it is. The cost is that of the pixels, whatever the blur.
///
/// # Errors
/// Pixels that make no square.
pub fn picture_png(pixels: &[u8], side: usize, cells: &[CellWeight], lens: Lens) -> Result<Vec<u8>, ExplainError> {
    let tinted = |cell: &CellWeight| TintedCell { row: cell.row, column: cell.column, weight: cell.weight };
    let blur_px = if lens.blur_px.is_nan() { MAX_BLUR_PX } else { lens.blur_px.clamp(0.0, MAX_BLUR_PX) };
    Ok(square_picture(&SquarePicture {
        pixels,
        side,
        cells_per_row: CELLS_PER_ROW,
        cells: &cells.iter().map(tinted).collect::<Vec<_>>(),
        blur_px,
        is_grey: lens.is_grey,
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_drawn_whatever_the_lens_and_never_from_half_of_its_pixels() {
        let pixels = vec![90; 224 * 224 * 3];
        let cells = [CellWeight { row: 6, column: 6, weight: f32::NAN, fragment: String::new() }];
        for blur_px in [0.0, 3.0, 40.0, 1e9, -5.0, f32::NAN, f32::INFINITY] {
            assert!(picture_png(&pixels, 224, &cells, Lens { blur_px, is_grey: true }).is_ok(), "{blur_px}");
        }
        assert!(picture_png(&pixels[1..], 224, &cells, Lens::default()).is_err());
        assert!(picture_png(&[], 0, &[], Lens::default()).is_err());
    }
}
