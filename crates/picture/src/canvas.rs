//! A white sheet in memory, the font, and the PNG encoder.

use std::sync::OnceLock;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::register_font;

/// Family name under which the bundled font is known.
pub(crate) const FONT: &str = "sans-serif";
/// Ink of text and axes.
pub(crate) const INK: RGBColor = RGBColor(40, 40, 40);
/// Colour of lines and bars that carry the figures.
pub(crate) const BLUE_INK: RGBColor = RGBColor(31, 119, 180);
/// Colour of the second of two things.
pub(crate) const RED_INK: RGBColor = RGBColor(214, 39, 40);

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Numbers that cannot be drawn.
    #[error("nothing to draw: {0}")]
    Input(String),
    /// The plotting library refused.
    #[error("drawing: {0}")]
    Draw(String),
    /// The encoder refused.
    #[error("encoding the PNG: {0}")]
    Encode(#[from] image::ImageError),
}

impl PictureError {
    /// Never: the same numbers fail the same way.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PictureError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self::Draw(error.to_string())
    }
}

/// Where to draw.
pub(crate) type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// A chart with plain axes.
pub(crate) type Chart<'a, 'b> = ChartContext<'a, BitMapBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Names the labelled series of a chart in its upper right corner.
pub(crate) fn legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>) -> Result<(), PictureError> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(INK.mix(0.4))
        .label_font(text(14))
        .draw()?;
    Ok(())
}

/// A picture in memory, `[height, width, 3]`, RGB.
pub(crate) struct Sheet {
    pub width_px: u32,
    pub height_px: u32,
    pub pixels: Vec<u8>,
}

impl Sheet {
    /// White all over.
    pub fn white(width_px: u32, height_px: u32) -> Self {
        Self { width_px, height_px, pixels: vec![u8::MAX; width_px as usize * height_px as usize * 3] }
    }

    /// Draws over what is there.
    pub fn paint(&mut self, paint: impl FnOnce(&Area) -> Result<(), PictureError>) -> Result<(), PictureError> {
        use_own_font()?;
        let size = (self.width_px, self.height_px);
        let area = BitMapBackend::with_buffer(&mut self.pixels, size).into_drawing_area();
        paint(&area)?;
        Ok(area.present()?)
    }

    /// The bytes of a PNG file.
    pub fn to_png(&self) -> Result<Vec<u8>, PictureError> {
        let mut bytes = Vec::new();
        let encoder = PngEncoder::new(&mut bytes);
        encoder.write_image(&self.pixels, self.width_px, self.height_px, ExtendedColorType::Rgb8)?;
        Ok(bytes)
    }
}

/// Text of this height in pixels.
pub(crate) fn text(size_px: u32) -> TextStyle<'static> {
    (FONT, size_px).into_font().color(&INK)
}

fn use_own_font() -> Result<(), PictureError> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let bytes: &[u8] = include_bytes!("../font/DejaVuSans-subset.ttf");
    let registered = *REGISTERED.get_or_init(|| register_font(FONT, FontStyle::Normal, bytes).is_ok());
    if registered { Ok(()) } else { Err(PictureError::Draw("the bundled font does not parse".to_owned())) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Pixels of a PNG, for tests that look at what was drawn.
    pub(crate) fn decoded(png: &[u8]) -> image::RgbImage {
        image::load_from_memory(png).unwrap().into_rgb8()
    }

    #[test]
    fn letters_are_drawn_with_no_font_of_the_machine() {
        let ink = |words: &str| {
            let mut sheet = Sheet::white(200, 40);
            sheet
                .paint(|area| {
                    area.draw(&Text::new(words.to_owned(), (5, 5), text(20)))?;
                    Ok(())
                })
                .unwrap();
            decoded(&sheet.to_png().unwrap()).pixels().filter(|pixel| pixel.0[0] < 128).count()
        };
        assert_eq!(ink(""), 0);
        assert!(ink("ECE 0.05") > 100 && ink("ECE 0.05, n 326") > ink("ECE 0.05"));
    }
}
