//! JPEG, PNG, WebP and GIF to upright RGB of a fixed size, as Pillow would make it.
//!
//! Limits come before memory: the size is read from the header, and what decoding would take is reckoned from it.
//! The decoders' own limits are set as well, on the decoder itself (`DynamicImage::from_decoder` ignores them).

use std::io::Cursor;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::{gif::GifDecoder, jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, Limits};
use jtav_pipeline::RgbImage;
use jtav_schemas::AbsentReason;

use crate::facts::PictureFacts;
use crate::params::DecodeLimits;
use crate::sniff::PictureFormat;

/// Of a longer picture only the central part counts: resized to a shorter side of 256, a sliver of 10 × 4,000,000
/// pixels would be 100 million pixels long.
const MAX_ASPECT: u32 = 8;

/// What the PNG decoder may take for itself: rows, colour profile.
const PNG_INTERNAL_BYTES: u64 = 32 << 20;

/// Pixels as they came out of a decoder, reduced to 8 bits and no alpha.
struct Raster {
    width: u32,
    height: u32,
    /// 1 (grey) or 3 (RGB) bytes a pixel.
    channels: usize,
    pixels: Vec<u8>,
    orientation: Orientation,
}

/// Decodes to a picture whose shorter side is `side` pixels.
pub(crate) fn decode(
    bytes: &[u8],
    format: PictureFormat,
    limits: &DecodeLimits,
    side: u32,
) -> Result<(RgbImage, PictureFacts), AbsentReason> {
    let raster = match format {
        PictureFormat::Jpeg => {
            let scan = jpeg_scan(bytes).ok_or(AbsentReason::DecodeError)?;
            read(JpegDecoder::new(Cursor::new(bytes)).map_err(reason)?, limits, scan.working_bytes_per_pixel)?
        }
        PictureFormat::Png => {
            let mut own = Limits::no_limits();
            own.max_alloc = Some(PNG_INTERNAL_BYTES);
            read(PngDecoder::with_limits(Cursor::new(bytes), own).map_err(reason)?, limits, 0)?
        }
        PictureFormat::Gif => read(GifDecoder::new(Cursor::new(bytes)).map_err(reason)?, limits, 0)?,
        PictureFormat::WebP => {
            if webp_frames(bytes).any(|(width, height)| u64::from(width) * u64::from(height) > limits.max_pixels) {
                return Err(AbsentReason::TooLarge);
            }
            read(WebPDecoder::new(Cursor::new(bytes)).map_err(reason)?, limits, 4)?
        }
    };
    let (width, height, orientation) = (raster.width, raster.height, raster.orientation.to_exif());
    let view = upright(raster, side)?;
    let facts = PictureFacts {
        format: format.name().into(),
        width,
        height,
        orientation,
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
fn margin(length: u32, side: u32) -> u32 {
    let surplus = length - side;
    surplus / 2 + u32::from(surplus % 4 == 3)
}

fn reason(error: ImageError) -> AbsentReason {
    match error {
        ImageError::Limits(_) => AbsentReason::TooLarge,
        ImageError::Unsupported(_) => AbsentReason::Unsupported,
        _ => AbsentReason::DecodeError,
    }
}

fn read(mut decoder: impl ImageDecoder, limits: &DecodeLimits, extra_per_pixel: u64) -> Result<Raster, AbsentReason> {
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
    let mut own = Limits::no_limits();
    own.max_alloc = Some(limits.max_image_working_bytes);
    decoder.set_limits(own).map_err(reason)?;
    // Unreadable EXIF is no reason to lose the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let color = decoder.color_type();
    let mut data = vec![0; bytes as usize];
    decoder.read_image(&mut data).map_err(reason)?;
    let channels = flatten(color, &mut data).ok_or(AbsentReason::Unsupported)?;
    Ok(Raster { width, height, channels, pixels: data, orientation })
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

/// Resizes (antialiased bilinear, 8-bit, as Pillow's `BILINEAR`), then turns upright: turning the small picture gives
/// the same pixels but for the rounding between the two passes, and costs nothing.
fn upright(raster: Raster, side: u32) -> Result<RgbImage, AbsentReason> {
    let Raster { width, height, channels, pixels, orientation } = raster;
    let short = width.min(height);
    let long = width.max(height).min(short.saturating_mul(MAX_ASPECT));
    // torchvision's `Resize`: the longer side is rounded down.
    let other = (u64::from(side) * u64::from(long) / u64::from(short)) as u32;
    let (used, size) = if width <= height { ((width, long), (side, other)) } else { ((long, height), (other, side)) };

    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false).crop(
        f64::from((width - used.0) / 2),
        f64::from((height - used.1) / 2),
        f64::from(used.0),
        f64::from(used.1),
    );
    let resize = if channels == 1 { resized::<U8> } else { resized::<U8x3> };
    let small = resize(&pixels, (width, height), size, &options)?;
    drop(pixels);

    let rgb = if channels == 1 { small.iter().flat_map(|&grey| [grey; 3]).collect() } else { small };
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

struct JpegScan {
    working_bytes_per_pixel: u64,
}

/// Walks the segments of a JPEG (T.81 B.1.1). `None` where the file ends before its end marker: the decoder would
/// paint what is missing grey, and a half grey picture gets a label nobody can explain.
fn jpeg_scan(bytes: &[u8]) -> Option<JpegScan> {
    let mut at = 2;
    let mut working_bytes_per_pixel = 0;
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
                if marker == 0xc2 {
                    // Progressive: every coefficient is held as 16 bits until the last scan.
                    working_bytes_per_pixel = 2 * u64::from(*bytes.get(at + 9)?);
                }
                at += 2 + length;
                if marker == 0xda {
                    break;
                }
            }
        }
    }
    // In coded data 0xff is followed by 0 or a restart marker, so this pair can only be the end.
    let complete = bytes.get(at..)?.windows(2).any(|pair| pair == [0xff, 0xd9]);
    complete.then_some(JpegScan { working_bytes_per_pixel })
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
    fn margins_round_ties_to_even_as_python_does() {
        // round(0 / 2), round(0.5), round(1.5), round(2.5), round(3.5) = 0, 0, 2, 2, 4
        let margins: Vec<u32> = [0, 1, 2, 3, 4, 5, 6, 7].iter().map(|surplus| margin(224 + surplus, 224)).collect();
        assert_eq!(margins, [0, 0, 1, 2, 2, 2, 3, 4]);
    }

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
