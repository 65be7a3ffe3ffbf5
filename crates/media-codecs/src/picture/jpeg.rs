//! JPEG through libjpeg-turbo (ADR 22): one way and one rule for every size and kind.
//!
//! The transform itself makes the picture smaller, by 2, 4 or 8. What is missing of a damaged file stays grey, as
//! browsers and Pillow show it; a picture of which less than half could be read is none.

use jtav_schemas::{AbsentReason, RgbImage};

use super::demand::{Demand, Head, allow, is_at_least_half};
use super::{exif, price, view};
use crate::limits::{BeforeLarge, DecodeLimits};

mod structure;
mod turbo;

use structure::Structure;
use turbo::{DecodedJpeg, End, Order, UNREACHED};

/// Pixels that are decoded for each that is shown, along the shorter side and at least. What the encoder makes of it:
/// `docs/results/media-speed-agreement.md`.
const HEAD_ROOM: u32 = 2;

/// Bytes of a block of coefficients.
const BLOCK_BYTES: u64 = 128;

/// Decodes to a view whose shorter side is `side` pixels.
///
/// # Errors
/// `unsupported`: lossless, hierarchical, 12 bits, two components; `too_large`: pixels, memory, or a price over the limit,
/// known before a pixel is decoded; `decode_error`: no picture, or less than half of one.
pub(super) fn decode(
    bytes: &[u8],
    side: u32,
    limits: &DecodeLimits,
    before_large: BeforeLarge<'_>,
) -> Result<(Head, RgbImage), AbsentReason> {
    let structure = structure::read(bytes)?;
    let frame = &structure.frame;
    let size = (frame.width, frame.height);
    let divisor = divisor(size.0.min(size.1), side);
    allow(&demand(&structure, divisor), limits, before_large)?;
    let order = Order {
        bytes: structure.bytes,
        size,
        components: frame.component_count(),
        divisor,
        scans: structure.scans,
        max_memory_bytes: limits.max_image_working_bytes,
    };
    let DecodedJpeg { pixels, width, height, end } = turbo::decode(&order).ok_or(AbsentReason::DecodeError)?;
    match end {
        End::Whole => {}
        End::TooLarge => return Err(AbsentReason::TooLarge),
        End::Damaged => {
            let whole = u64::from(width) * u64::from(height);
            if !is_at_least_half(painted(&pixels, order.components), whole) {
                return Err(AbsentReason::DecodeError);
            }
        }
    }
    let orientation = exif::orientation(structure.exif);
    let (channels, pixels) = if order.components == 4 { (3, cmyk_to_rgb(pixels)) } else { (order.components, pixels) };
    let source =
        view::Source { pixels, channels, size: (width, height), scale: 1.0 / f64::from(divisor), stored: size };
    let view = view::of_pixels(source, orientation, side)?;
    Ok((Head { width: size.0, height: size.1, orientation }, view))
}

/// By how much a picture may be made smaller while it is decoded. Not every eighth: only these have fast transforms.
fn divisor(shorter: u32, side: u32) -> u32 {
    let wanted = u64::from(side) * u64::from(HEAD_ROOM);
    [8, 4, 2].into_iter().find(|divisor| u64::from(shorter) >= wanted * u64::from(*divisor)).unwrap_or(1)
}

/// What the header, and the markers, ask for.
fn demand(structure: &Structure<'_>, divisor: u32) -> Demand {
    let frame = &structure.frame;
    let painted = u64::from(frame.width.div_ceil(divisor)) * u64::from(frame.height.div_ceil(divisor));
    let beside = if structure.buffered { frame.blocks() * BLOCK_BYTES } else { 0 };
    let bytes = painted * frame.component_count() as u64;
    let price = price::jpeg(&structure.work(painted));
    Demand { size: (frame.width, frame.height), bytes, beside, price }
}

/// The pixels that were painted with something else than what stands for missing bits: 128 in every component, of which
/// a change of colours makes 127. Asked of damaged files alone, so that a grey picture is one.
fn painted(pixels: &[u8], channels: usize) -> u64 {
    let missing = |pixel: &[u8]| pixel.iter().all(|value| value.abs_diff(UNREACHED) <= 1);
    pixels.chunks_exact(channels).filter(|pixel| !missing(pixel)).count() as u64
}

/// As Pillow and browsers see CMYK in JPEGs: inverted, which is how Adobe began it.
fn cmyk_to_rgb(mut pixels: Vec<u8>) -> Vec<u8> {
    let count = pixels.len() / 4;
    for pixel in 0..count {
        let [cyan, magenta, yellow, black] = [0, 1, 2, 3].map(|channel| u32::from(pixels[pixel * 4 + channel]));
        for (channel, ink) in [cyan, magenta, yellow].into_iter().enumerate() {
            pixels[pixel * 3 + channel] = ((ink * black + 127) / 255) as u8;
        }
    }
    pixels.truncate(count * 3);
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_made_smaller_while_two_pixels_remain_for_each_that_is_shown() {
        let divisors = [100, 511, 512, 1023, 1024, 2047, 2048, 2049, 65_535].map(|shorter| divisor(shorter, 256));
        assert_eq!(divisors, [1, 1, 1, 1, 2, 2, 4, 4, 8]);
        assert_eq!(divisor(65_535, u32::MAX), 1);
    }

    #[test]
    fn inks_are_those_of_adobe() {
        let white = [255, 255, 255, 255];
        let red = [255, 0, 0, 255];
        let half = [128, 255, 255, 128];
        assert_eq!(cmyk_to_rgb([white, red, half].concat()), [255, 255, 255, 255, 0, 0, 64, 128, 128]);
    }

    #[test]
    fn only_pixels_that_are_grey_in_every_component_are_missing() {
        assert_eq!(painted(&[128, 127, 0, 128, 128, 128], 1), 1);
        assert_eq!(painted(&[128, 128, 128, 128, 128, 90], 3), 1);
    }
}
