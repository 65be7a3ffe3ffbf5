//! JPEG, PNG, WebP and GIF to upright RGB of a fixed size, as Pillow would make it.
//!
//! Limits come before memory and time: the size is read from the header, and what decoding would take of either is
//! reckoned from it. What is missing of a damaged picture is left blank; one of which less than half could be read is
//! none.

use jtav_schemas::{AbsentReason, RgbImage};

use crate::facts::PictureFacts;
use crate::format::PictureFormat;
use crate::limits::{BeforeLarge, DecodeLimits};

mod demand;
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
    before_large: BeforeLarge<'_>,
) -> Result<(RgbImage, PictureFacts), AbsentReason> {
    let decode = match format {
        PictureFormat::Jpeg => jpeg::decode,
        PictureFormat::Png => png::decode,
        PictureFormat::Gif => gif::decode,
        PictureFormat::WebP => webp::decode,
    };
    let (head, view) = decode(bytes, side, limits, before_large)?;
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

#[cfg(test)]
#[path = "picture/price_tests.rs"]
mod price_tests;
