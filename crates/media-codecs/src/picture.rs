//! JPEG, PNG, WebP and GIF to upright RGB of a fixed size, as Pillow would make it.
//!
//! Limits come before memory and time: the size is read from the header, and what decoding would take of either is
//! reckoned from it. What is missing of a damaged picture is left blank; one of which less than half could be read is
//! none.

use std::time::Duration;

use image::metadata::Orientation;
use jtav_pipeline::RgbImage;
use jtav_schemas::AbsentReason;

use crate::facts::PictureFacts;
use crate::params::DecodeLimits;
use crate::process::room;
use crate::sniff::PictureFormat;

mod exif;
mod gif;
mod jpeg;
mod metered;
mod pixels;
mod png;
mod price;
mod view;
mod webp;

pub use view::center_crop;
use view::margin;

/// Decodes to a picture whose shorter side is `side` pixels.
pub(crate) fn decode(
    bytes: &[u8],
    format: PictureFormat,
    limits: &DecodeLimits,
    side: u32,
) -> Result<(RgbImage, PictureFacts), AbsentReason> {
    let decode = match format {
        PictureFormat::Jpeg => jpeg::decode,
        PictureFormat::Png => png::decode,
        PictureFormat::Gif => gif::decode,
        PictureFormat::WebP => webp::decode,
    };
    let (head, view) = decode(bytes, limits, side)?;
    let facts = PictureFacts {
        format: format.name().into(),
        width: head.width,
        height: head.height,
        orientation: head.orientation.to_exif(),
        resized_width: view.width,
        resized_height: view.height,
        crop_left: 0,
        crop_top: 0,
        crop_px: view.width.min(view.height),
    };
    Ok((view, facts))
}

/// Says where [`center_crop`] cuts.
pub(crate) fn place_crop(facts: &mut PictureFacts, side: u32) {
    if facts.resized_width >= side && facts.resized_height >= side {
        facts.crop_left = margin(facts.resized_width, side);
        facts.crop_top = margin(facts.resized_height, side);
        facts.crop_px = side;
    }
}

/// What a header says of a picture that no limit forbids.
struct Head {
    width: u32,
    height: u32,
    orientation: Orientation,
}

/// What decoding would take.
struct Demand {
    /// As stored, pixels.
    size: (u32, u32),
    /// Of the pixels that are decoded.
    bytes: u64,
    /// Taken beside them.
    beside: u64,
    price: Duration,
}

/// Holds a demand against the limits, and makes room for what they let through.
fn allow(demand: &Demand, limits: &DecodeLimits) -> Result<(), AbsentReason> {
    let pixels = u64::from(demand.size.0) * u64::from(demand.size.1);
    if pixels == 0 {
        return Err(AbsentReason::DecodeError);
    }
    let working = demand.bytes.saturating_add(demand.beside);
    if pixels > limits.max_pixels
        || demand.bytes > limits.max_image_bytes
        || working > limits.max_image_working_bytes
        || demand.price > limits.max_picture_price
    {
        return Err(AbsentReason::TooLarge);
    }
    room::make_for_picture(working);
    Ok(())
}

/// The one rule for damaged pictures, of every format and size.
fn is_at_least_half(read: u64, whole: u64) -> bool {
    read.saturating_mul(2) >= whole
}

#[cfg(test)]
#[path = "picture/price_tests.rs"]
mod price_tests;
