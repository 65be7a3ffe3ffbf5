//! From pixels as a decoder left them to the upright picture of a fixed size.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use image::DynamicImage;
use image::metadata::Orientation;
use jtav_schemas::{AbsentReason, RgbImage};

/// Of a longer picture only the central part counts: resized to a shorter side of 256, a sliver of 10 × 4,000,000
/// pixels would be 100 million pixels long.
const MAX_ASPECT: u32 = 8;

/// What of a picture is shown, and how large.
struct Frame {
    /// In pixels of the picture as stored.
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    /// In pixels of the view, before it is turned upright.
    size: (u32, u32),
}

impl Frame {
    fn new((width, height): (u32, u32), side: u32) -> Self {
        let short = width.min(height);
        let long = width.max(height).min(short.saturating_mul(MAX_ASPECT));
        // torchvision's `Resize`: the longer side is rounded down.
        let other = (u64::from(side) * u64::from(long) / u64::from(short)) as u32;
        let (used, size) =
            if width <= height { ((width, long), (side, other)) } else { ((long, height), (other, side)) };
        Self {
            left: f64::from((width - used.0) / 2),
            top: f64::from((height - used.1) / 2),
            width: f64::from(used.0),
            height: f64::from(used.1),
            size,
        }
    }

    /// The same part of pixels that were made smaller by `scale` and have this size.
    fn on(&self, (width, height): (u32, u32), scale: f64) -> ResizeOptions {
        let (left, top) = (self.left * scale, self.top * scale);
        // The last pixel may be a part of one, and rounding must not push the part over the edge.
        let within = |length: f64, room: f64| length.min(room * (1.0 - 1e-12));
        let width = within(self.width * scale, f64::from(width) - left);
        let height = within(self.height * scale, f64::from(height) - top);
        options(left, top, width, height)
    }
}

/// Antialiased bilinear, 8-bit, as Pillow's `BILINEAR`.
fn options(left: f64, top: f64, width: f64, height: f64) -> ResizeOptions {
    let bilinear = ResizeAlg::Convolution(FilterType::Bilinear);
    ResizeOptions::new().resize_alg(bilinear).use_alpha(false).crop(left, top, width, height)
}

/// A picture as its decoder left it.
pub(super) struct Source {
    /// Rows of 1 (grey) or 3 (RGB) bytes a pixel.
    pub(super) pixels: Vec<u8>,
    pub(super) channels: usize,
    /// Of the pixels that are there.
    pub(super) size: (u32, u32),
    /// What the decoder made of a length in pixels of the file.
    pub(super) scale: f64,
    /// As the file says.
    pub(super) stored: (u32, u32),
}

impl Source {
    /// Decoded at the size at which it is stored.
    pub(super) fn whole(pixels: Vec<u8>, channels: usize, size: (u32, u32)) -> Self {
        Self { pixels, channels, size, scale: 1.0, stored: size }
    }
}

/// Resizes, then turns upright: turning the small picture gives the same pixels but for the rounding between the two
/// passes, and costs nothing.
pub(super) fn of_pixels(source: Source, orientation: Orientation, side: u32) -> Result<RgbImage, AbsentReason> {
    let Source { pixels, channels, size, scale, stored } = source;
    let frame = Frame::new(stored, side);
    let resize = if channels == 1 { resized::<U8> } else { resized::<U8x3> };
    let small = resize(&pixels, size, frame.size, &frame.on(size, scale))?;
    drop(pixels);
    let rgb = if channels == 1 { grey_to_rgb(&small) } else { small };
    turned(rgb, frame.size, orientation)
}

fn grey_to_rgb(grey: &[u8]) -> Vec<u8> {
    grey.iter().flat_map(|&grey| [grey; 3]).collect()
}

fn turned(rgb: Vec<u8>, size: (u32, u32), orientation: Orientation) -> Result<RgbImage, AbsentReason> {
    let rgb = image::RgbImage::from_raw(size.0, size.1, rgb).ok_or(AbsentReason::DecodeError)?;
    let mut turned = DynamicImage::ImageRgb8(rgb);
    turned.apply_orientation(orientation);
    let turned = turned.into_rgb8();
    Ok(RgbImage { width: turned.width(), height: turned.height(), pixels: turned.into_raw().into() })
}

/// Of one pixel type that is known here: asked for the type at run time, the resizer is compiled for every type there
/// is, which takes minutes.
fn resized<P: PixelTrait>(
    pixels: &[u8],
    (width, height): (u32, u32),
    size: (u32, u32),
    options: &ResizeOptions,
) -> Result<Vec<u8>, AbsentReason> {
    let mut bytes = vec![0; size.0 as usize * size.1 as usize * P::size()];
    let source = TypedImageRef::<P>::from_buffer(width, height, pixels).map_err(|_| AbsentReason::DecodeError)?;
    let mut target = TypedImage::<P>::from_buffer(size.0, size.1, &mut bytes).map_err(|_| AbsentReason::DecodeError)?;
    Resizer::new().resize_typed(&source, &mut target, options).map_err(|_| AbsentReason::DecodeError)?;
    Ok(bytes)
}

/// The central square of a picture, placed as torchvision's `CenterCrop` places it. A picture that is smaller than
/// `side` comes back as it is.
pub fn center_crop(image: &RgbImage, side: u32) -> RgbImage {
    if image.width < side || image.height < side {
        return image.clone();
    }
    let (left, top) = (margin(image.width, side), margin(image.height, side));
    let row_bytes = image.width as usize * 3;
    let mut pixels = Vec::with_capacity(side as usize * side as usize * 3);
    for row in top..top + side {
        let start = row as usize * row_bytes + left as usize * 3;
        pixels.extend_from_slice(&image.pixels[start..start + side as usize * 3]);
    }
    RgbImage { width: side, height: side, pixels: pixels.into() }
}

/// `round((length − side) / 2)` with ties to even, as Python rounds.
pub(super) fn margin(length: u32, side: u32) -> u32 {
    let surplus = length - side;
    surplus / 2 + u32::from(surplus % 4 == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_round_ties_to_even_as_python_does() {
        // round(0 / 2), round(0.5), round(1.5), round(2.5), round(3.5) = 0, 0, 2, 2, 4
        let margins: Vec<u32> = [0, 1, 2, 3, 4, 5, 6, 7].iter().map(|surplus| margin(224 + surplus, 224)).collect();
        assert_eq!(margins, [0, 0, 1, 2, 2, 2, 3, 4]);
    }
}
