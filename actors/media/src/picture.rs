//! JPEG, PNG, WebP and GIF to upright RGB of a fixed size, as Pillow would make it.
//!
//! Limits come before memory: the size is read from the header, and what decoding would take is reckoned from it.
//! The decoders' own limits are set as well, on the decoder itself (`DynamicImage::from_decoder` ignores them).

use std::io::Cursor;

use image::codecs::{gif::GifDecoder, jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, Limits};
use jtav_pipeline::RgbImage;
use jtav_schemas::AbsentReason;

use crate::facts::PictureFacts;
use crate::params::DecodeLimits;
use crate::process::room;
use crate::sniff::PictureFormat;

mod jpeg;
mod view;
mod webp;

pub use view::center_crop;
use view::margin;

/// Pixels that a JPEG is decoded to for each that is shown, along the shorter side and at least: of luminance, and of
/// the differences of colour. What the encoder makes of it: `docs/results/media-speed-agreement.md`.
const HEAD_ROOM: [f64; 2] = [2.0, 2.0];

/// The largest part of its size that a JPEG is reduced to, in eighths.
const LARGEST_FRACTION: u64 = 6;

/// What the PNG decoder may take for itself: rows, colour profile.
const PNG_INTERNAL_BYTES: u64 = 32 << 20;

/// Decodes to a picture whose shorter side is `side` pixels.
pub(crate) fn decode(
    bytes: &[u8],
    format: PictureFormat,
    limits: &DecodeLimits,
    side: u32,
) -> Result<(RgbImage, PictureFacts), AbsentReason> {
    let (head, view) = match format {
        PictureFormat::Jpeg => jpeg_view(bytes, limits, side)?,
        PictureFormat::Png => {
            let mut own = Limits::no_limits();
            own.max_alloc = Some(PNG_INTERNAL_BYTES);
            whole_view(PngDecoder::with_limits(Cursor::new(bytes), own).map_err(reason)?, limits, side)?
        }
        PictureFormat::Gif => whole_view(GifDecoder::new(Cursor::new(bytes)).map_err(reason)?, limits, side)?,
        PictureFormat::WebP => webp_view(bytes, limits, side)?,
    };
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

fn reason(error: ImageError) -> AbsentReason {
    match error {
        ImageError::Limits(_) => AbsentReason::TooLarge,
        ImageError::Unsupported(_) => AbsentReason::Unsupported,
        _ => AbsentReason::DecodeError,
    }
}

/// What a header says of a picture that no limit forbids.
struct Head {
    width: u32,
    height: u32,
    orientation: Orientation,
    color: ColorType,
    /// Of the pixels.
    bytes: u64,
}

/// Holds a header against the limits; what decoding takes beside the pixels is `extra_per_pixel` bytes.
fn check(decoder: &mut impl ImageDecoder, limits: &DecodeLimits, extra_per_pixel: u64) -> Result<Head, AbsentReason> {
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(AbsentReason::DecodeError);
    }
    let bytes = decoder.total_bytes();
    let working = bytes.saturating_add(pixels.saturating_mul(extra_per_pixel));
    if pixels > limits.max_pixels || bytes > limits.max_image_bytes || working > limits.max_image_working_bytes {
        return Err(AbsentReason::TooLarge);
    }
    room::make_for_picture(working);
    let mut own = Limits::no_limits();
    own.max_alloc = Some(limits.max_image_working_bytes);
    decoder.set_limits(own).map_err(reason)?;
    // Unreadable EXIF is no reason to lose the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok(Head { width, height, orientation, color: decoder.color_type(), bytes })
}

/// A picture that its decoder gives whole.
fn whole_view(
    mut decoder: impl ImageDecoder,
    limits: &DecodeLimits,
    side: u32,
) -> Result<(Head, RgbImage), AbsentReason> {
    let head = check(&mut decoder, limits, 0)?;
    let data = pixels(decoder, &head)?;
    reduced(head, data, side)
}

fn pixels(decoder: impl ImageDecoder, head: &Head) -> Result<Vec<u8>, AbsentReason> {
    let mut data = vec![0; head.bytes as usize];
    decoder.read_image(&mut data).map_err(reason)?;
    Ok(data)
}

fn reduced(head: Head, mut data: Vec<u8>, side: u32) -> Result<(Head, RgbImage), AbsentReason> {
    let channels = flatten(head.color, &mut data).ok_or(AbsentReason::Unsupported)?;
    let view = view::of_pixels(data, channels, (head.width, head.height), head.orientation, side)?;
    Ok((head, view))
}

/// A large JPEG is decoded to a fraction of its size, a small one or one of a rare kind whole.
fn jpeg_view(bytes: &[u8], limits: &DecodeLimits, side: u32) -> Result<(Head, RgbImage), AbsentReason> {
    let scan = jpeg_scan(bytes).ok_or(AbsentReason::DecodeError)?;
    let mut decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(reason)?;
    let head = check(&mut decoder, limits, scan.working_bytes_per_pixel)?;
    let wanted = HEAD_ROOM.map(|room| (f64::from(side) * room).ceil() as u32);
    let large = u64::from(head.width.min(head.height)) * LARGEST_FRACTION >= u64::from(wanted[0]) * 8;
    // The library mistakes one component for another in a sequential file that has a scan for each, so those are decoded
    // here whatever their size is.
    if large || scan.one_by_one {
        match jpeg::decode(bytes, wanted) {
            Ok(planes) => {
                let view = view::of_planes(&planes, (head.width, head.height), head.orientation, side)?;
                return Ok((head, view));
            }
            Err(jpeg::Fault::Damaged) => return Err(AbsentReason::DecodeError),
            Err(jpeg::Fault::NotHere) => {}
        }
    }
    let data = pixels(decoder, &head)?;
    reduced(head, data, side)
}

/// The library that reads the header also decodes animations, slowly; a still picture goes to the faster one.
fn webp_view(bytes: &[u8], limits: &DecodeLimits, side: u32) -> Result<(Head, RgbImage), AbsentReason> {
    if webp_frames(bytes).any(|(width, height)| u64::from(width) * u64::from(height) > limits.max_pixels) {
        return Err(AbsentReason::TooLarge);
    }
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(reason)?;
    let head = check(&mut decoder, limits, 4)?;
    let data = if decoder.has_animation() {
        pixels(decoder, &head)?
    } else {
        let mut data = vec![0; head.bytes as usize];
        webp::read(bytes, head.width, head.color == ColorType::Rgba8, &mut data)?;
        data
    };
    reduced(head, data, side)
}

/// Reduces pixels in place to 8 bits and puts them over white; gives the channels that remain. In place, because a
/// picture at the limit fills half of what a decoder may hold.
fn flatten(color: ColorType, data: &mut Vec<u8>) -> Option<usize> {
    let (channels, alpha, deep) = match color {
        ColorType::L8 => (1, false, false),
        ColorType::La8 => (1, true, false),
        ColorType::Rgb8 => (3, false, false),
        ColorType::Rgba8 => (3, true, false),
        ColorType::L16 => (1, false, true),
        ColorType::La16 => (1, true, true),
        ColorType::Rgb16 => (3, false, true),
        ColorType::Rgba16 => (3, true, true),
        _ => return None,
    };
    if !alpha && !deep {
        return Some(channels);
    }
    let sample = if deep { 2 } else { 1 };
    let stride = (channels + usize::from(alpha)) * sample;
    let get = |data: &[u8], at: usize| match deep {
        true => ((u32::from(u16::from_ne_bytes([data[at], data[at + 1]])) + 128) / 257) as u8,
        false => data[at],
    };
    let pixels = data.len() / stride;
    for pixel in 0..pixels {
        let source = pixel * stride;
        let opacity = if alpha { get(data, source + channels * sample) } else { u8::MAX };
        for channel in 0..channels {
            let value = get(data, source + channel * sample);
            data[pixel * channels + channel] = over_white(value, opacity);
        }
    }
    data.truncate(pixels * channels);
    Some(channels)
}

fn over_white(value: u8, opacity: u8) -> u8 {
    let (value, opacity) = (u32::from(value), u32::from(opacity));
    ((value * opacity + 255 * (255 - opacity) + 127) / 255) as u8
}

/// What the segments before the first scan say.
struct JpegScan {
    working_bytes_per_pixel: u64,
    /// A sequential file whose components come one after the other.
    one_by_one: bool,
}

/// Walks the segments of a JPEG (T.81 B.1.1). `None` where the file ends before its end marker: the decoder would
/// paint what is missing grey, and a half grey picture gets a label nobody can explain.
fn jpeg_scan(bytes: &[u8]) -> Option<JpegScan> {
    let mut at = 2;
    let mut working_bytes_per_pixel = 0;
    let (mut components, mut in_first_scan) = (0, 0);
    loop {
        // Fill bytes may stand before a marker.
        while *bytes.get(at)? == 0xff && *bytes.get(at + 1)? == 0xff {
            at += 1;
        }
        let (0xff, marker) = (*bytes.get(at)?, *bytes.get(at + 1)?) else { return None };
        match marker {
            0xd9 => return None,
            0x01 | 0xd0..=0xd7 => at += 2,
            _ => {
                let length = usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]));
                match marker {
                    // Progressive: every coefficient is held as 16 bits until the last scan.
                    0xc2 => working_bytes_per_pixel = 2 * u64::from(*bytes.get(at + 9)?),
                    0xc0 | 0xc1 => components = *bytes.get(at + 9)?,
                    0xda => in_first_scan = *bytes.get(at + 4)?,
                    _ => {}
                }
                at += 2 + length;
                if marker == 0xda {
                    break;
                }
            }
        }
    }
    // In coded data 0xff is followed by 0 or a restart marker, so this pair can only be the end. Sought from behind,
    // where it stands.
    let complete = bytes.get(at..)?.windows(2).rev().any(|pair| pair == [0xff, 0xd9]);
    complete.then_some(JpegScan { working_bytes_per_pixel, one_by_one: in_first_scan < components })
}

/// Sizes of the coded frames of a WebP. The decoder checks them against the canvas after it has decoded them.
fn webp_frames(bytes: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    let mut at = 12;
    std::iter::from_fn(move || {
        loop {
            let header = bytes.get(at..at + 8)?;
            let size = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
            let body = bytes.get(at + 8..)?;
            let kind = &header[..4];
            // The frames of an animation lie inside a chunk with a header of 16 bytes.
            at = if kind == b"ANMF" { at + 8 + 16 } else { (at + 8).saturating_add(size).saturating_add(size & 1) };
            match (kind, body) {
                (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..]) => {
                    let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
                    return Some((side(*w0, *w1), side(*h0, *h1)));
                }
                (b"VP8L", [0x2f, a, b, c, d, ..]) => {
                    let bits = u32::from_le_bytes([*a, *b, *c, *d]);
                    return Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1));
                }
                _ => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_opacity_keeps_a_colour_and_none_is_white() {
        for value in 0..=255 {
            assert_eq!((over_white(value, 255), over_white(value, 0)), (value, 255));
        }
        assert_eq!(over_white(0, 128), 127);
    }

    #[test]
    fn deep_and_transparent_pixels_are_reduced_in_place() {
        let mut data: Vec<u8> = [0_u16, 65_535, 257 * 7, 65_535].iter().flat_map(|v| v.to_ne_bytes()).collect();
        assert_eq!(flatten(ColorType::La16, &mut data), Some(1));
        assert_eq!(data, [0, 7]);
        let mut data = vec![10, 20, 30, 255, 1, 2, 3, 0];
        assert_eq!(flatten(ColorType::Rgba8, &mut data), Some(3));
        assert_eq!(data, [10, 20, 30, 255, 255, 255]);
    }

    #[test]
    fn a_webp_whose_frame_outgrows_its_canvas_is_seen() {
        let frame = b"\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f";
        let file = [b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0", [0; 10].as_slice(), b"VP8 \x0a\0\0\0", frame].concat();
        assert_eq!(webp_frames(&file).collect::<Vec<_>>(), [(16383, 16383)]);
        let inner = [b"ANMF\x22\0\0\0".as_slice(), &[0; 16], b"VP8 \x0a\0\0\0", frame].concat();
        let file = [b"RIFF\0\0\0\0WEBP".as_slice(), &inner].concat();
        assert_eq!(webp_frames(&file).collect::<Vec<_>>(), [(16383, 16383)]);
        assert_eq!(webp_frames(b"RIFF").count(), 0);
    }
}
