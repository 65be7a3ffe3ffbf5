//! WebP through libwebp, which takes half the time of the decoder in Rust (ADR 17): a still picture, or the first frame of
//! an animation.
//!
//! The container is read here, leniently, and libwebp sees the one coded frame: what wrappers say of sizes decides
//! nothing. The frame's own size is read from its header, and held against the limits, before libwebp is called. It
//! starts no threads here: that is an option of its other interface, and off there as well.

use std::ffi::c_int;
use std::ptr;

use jtav_schemas::{AbsentReason, RgbImage};

use super::demand::{Demand, Head, allow, is_at_least_half};
use super::pixels::{Layout, flatten};
use super::{exif, price, view};
use crate::limits::{BeforeLarge, DecodeLimits};

/// What stands where nothing was read.
const WHITE: u8 = 255;

/// What libwebp keeps of rows of a lossy picture, bytes for each pixel of its width.
const ROW_BYTES: u64 = 256;

/// Decodes to a view whose shorter side is `side` pixels.
///
/// # Errors
/// `too_large`: pixels, memory or price; `decode_error`: no frame, or less than half of one.
pub(super) fn decode(
    bytes: &[u8],
    side: u32,
    limits: &DecodeLimits,
    before_large: BeforeLarge<'_>,
) -> Result<(Head, RgbImage), AbsentReason> {
    let Container { canvas, frame, exif } = container(bytes);
    let frame = frame.ok_or(AbsentReason::DecodeError)?;
    let layout = Layout { channels: 3, alpha: frame.alpha, deep: false };
    let pixels = u64::from(frame.width) * u64::from(frame.height);
    let (width, height) = canvas.filter(|_| frame.animated).unwrap_or((frame.width, frame.height));
    let painted = u64::from(width) * u64::from(height);
    let pixel_bytes = layout.bytes() as u64;
    let work = price::RowWork { coded_bytes: frame.data.len() as u64, pixels, pixel_bytes, painted };
    let price = price::webp(&work, frame.lossless);
    let bytes = pixels * pixel_bytes;
    let canvas_bytes = if frame.covers(width, height) { 0 } else { painted * 3 };
    let beside = frame.working_bytes(pixels) + canvas_bytes;
    allow(&Demand { size: (frame.width, frame.height), bytes, beside, price }, limits, before_large)?;
    if painted == 0 || painted > limits.max_pixels {
        return Err(AbsentReason::TooLarge);
    }
    let mut data = read(&frame)?;
    flatten(layout, &mut data);
    let data = if frame.covers(width, height) { data } else { frame.on_canvas(&data, (width, height)) };
    let orientation = exif::orientation(exif);
    let view = view::of_pixels(view::Source::whole(data, 3, (width, height)), orientation, side)?;
    Ok((Head { width, height, orientation }, view))
}

/// What the chunks say.
struct Container<'a> {
    /// Of an animation, pixels.
    canvas: Option<(u32, u32)>,
    frame: Option<Frame<'a>>,
    exif: Option<&'a [u8]>,
}

/// A coded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame<'a> {
    animated: bool,
    /// On the canvas, pixels.
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    alpha: bool,
    lossless: bool,
    /// From its first chunk on, to the end of its last.
    data: &'a [u8],
}

impl Frame<'_> {
    /// What libwebp takes for itself: all pixels of a lossless frame, else some rows, and the opacities.
    fn working_bytes(&self, pixels: u64) -> u64 {
        match (self.lossless, self.alpha) {
            (true, _) => pixels * 4,
            // Opacities are a lossless picture of their own.
            (false, true) => pixels * 2 + u64::from(self.width) * ROW_BYTES,
            (false, false) => u64::from(self.width) * ROW_BYTES,
        }
    }

    fn covers(&self, width: u32, height: u32) -> bool {
        (self.left, self.top, self.width, self.height) == (0, 0, width, height)
    }

    /// RGB on white; what lies outside is cut off.
    fn on_canvas(&self, rgb: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
        let mut canvas = vec![WHITE; width as usize * height as usize * 3];
        let seen = self.width.min(width.saturating_sub(self.left)) as usize * 3;
        let rows = rgb.chunks_exact(self.width as usize * 3).take(height.saturating_sub(self.top) as usize);
        for (row, line) in rows.enumerate() {
            let start = ((self.top as usize + row) * width as usize + self.left as usize) * 3;
            if seen > 0 {
                canvas[start..start + seen].copy_from_slice(&line[..seen]);
            }
        }
        canvas
    }
}

/// A chunk of RIFF, of which the last may be cut short or lie about its length.
struct Chunk<'a> {
    kind: [u8; 4],
    /// With its header.
    start: usize,
    end: usize,
    body: &'a [u8],
}

fn chunks(bytes: &[u8], mut at: usize) -> impl Iterator<Item = Chunk<'_>> {
    std::iter::from_fn(move || {
        let header = bytes.get(at..at + 8)?;
        let size = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let (start, end) = (at, (at + 8).saturating_add(size).min(bytes.len()));
        at = (at + 8).saturating_add(size).saturating_add(size & 1);
        Some(Chunk { kind: [header[0], header[1], header[2], header[3]], start, end, body: &bytes[start + 8..end] })
    })
}

fn three_bytes(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 3)?;
    Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]))
}

/// Walks over the chunks: linear, each is at least eight bytes.
fn container(bytes: &[u8]) -> Container<'_> {
    let mut found = Container { canvas: None, frame: None, exif: None };
    let mut alpha_start = None;
    for chunk in chunks(bytes, 12) {
        match &chunk.kind {
            b"VP8X" => {
                let side = |at: usize| three_bytes(chunk.body, at).map(|less_one| less_one + 1);
                found.canvas = side(4).zip(side(7));
            }
            b"ANMF" if found.frame.is_none() => found.frame = first_of_animation(chunk.body),
            b"ALPH" => alpha_start = alpha_start.or(Some(chunk.start)),
            b"VP8 " | b"VP8L" if found.frame.is_none() => found.frame = frame(bytes, alpha_start, &chunk),
            b"EXIF" if found.exif.is_none() => found.exif = Some(chunk.body),
            _ => {}
        }
    }
    found
}

/// Behind a header of 16 bytes a frame of an animation has chunks as a still picture has.
fn first_of_animation(body: &[u8]) -> Option<Frame<'_>> {
    let (left, top) = (three_bytes(body, 0)?.checked_mul(2)?, three_bytes(body, 3)?.checked_mul(2)?);
    let mut alpha_start = None;
    for chunk in chunks(body, 16) {
        match &chunk.kind {
            b"ALPH" => alpha_start = alpha_start.or(Some(chunk.start)),
            b"VP8 " | b"VP8L" => {
                return Some(Frame { animated: true, left, top, ..frame(body, alpha_start, &chunk)? });
            }
            _ => {}
        }
    }
    None
}

fn frame<'a>(bytes: &'a [u8], alpha_start: Option<usize>, chunk: &Chunk<'_>) -> Option<Frame<'a>> {
    let data = &bytes[alpha_start.unwrap_or(chunk.start)..chunk.end];
    let (width, height, alpha, lossless) = match (&chunk.kind, chunk.body) {
        (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..]) => {
            let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            (side(*w0, *w1), side(*h0, *h1), alpha_start.is_some(), false)
        }
        (b"VP8L", [0x2f, a, b, c, d, ..]) => {
            let bits = u32::from_le_bytes([*a, *b, *c, *d]);
            ((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1, bits >> 28 & 1 == 1, true)
        }
        _ => return None,
    };
    // Of two coded pictures one in front of the other libwebp takes the one with its size.
    let data = if lossless { &bytes[chunk.start..chunk.end] } else { data };
    Some(Frame { animated: false, left: 0, top: 0, width, height, alpha, lossless, data })
}

/// Rows of RGB, or RGBA; white where damage or the end came before them.
fn read(frame: &Frame<'_>) -> Result<Vec<u8>, AbsentReason> {
    let channels = if frame.alpha { 4 } else { 3 };
    let stride = frame.width as usize * channels;
    let mut pixels = vec![WHITE; stride * frame.height as usize];
    if read_whole(frame.data, frame.alpha, stride, &mut pixels)? {
        return Ok(pixels);
    }
    pixels.fill(WHITE);
    let rows = read_rows(frame.data, frame.alpha, stride, &mut pixels)?.min(frame.height);
    if !is_at_least_half(rows.into(), frame.height.into()) {
        return Err(AbsentReason::DecodeError);
    }
    pixels[rows as usize * stride..].fill(WHITE);
    Ok(pixels)
}

/// Whether all of it could be read.
fn read_whole(data: &[u8], alpha: bool, stride: usize, pixels: &mut [u8]) -> Result<bool, AbsentReason> {
    let decode: Decode = if alpha { libwebp_sys::WebPDecodeRGBAInto } else { libwebp_sys::WebPDecodeRGBInto };
    let stride = c_int::try_from(stride).map_err(|_| AbsentReason::TooLarge)?;
    // SAFETY: both buffers are slices, valid for the lengths that are passed with them for the time of the call; the
    // first is only read, the second only written. libwebp compares the size in the bitstream with stride and length
    // and refuses what does not fit.
    let written = unsafe { decode(data.as_ptr(), data.len(), pixels.as_mut_ptr(), pixels.len(), stride) };
    Ok(!written.is_null())
}

type Decode = unsafe extern "C" fn(*const u8, usize, *mut u8, usize, c_int) -> *mut u8;

/// How many rows could be read, from the top.
fn read_rows(data: &[u8], alpha: bool, stride: usize, pixels: &mut [u8]) -> Result<u32, AbsentReason> {
    let mode = if alpha { libwebp_sys::WEBP_CSP_MODE::MODE_RGBA } else { libwebp_sys::WEBP_CSP_MODE::MODE_RGB };
    let stride = c_int::try_from(stride).map_err(|_| AbsentReason::TooLarge)?;
    let mut rows: c_int = 0;
    // SAFETY: both buffers outlive the decoder, which is deleted before this returns; the first is only read, the second
    // only written, within the length that is passed with it: libwebp compares it, and the stride, with the size in the
    // bitstream. A null decoder is asked nothing; `rows` is valid and writable, the other places may be null.
    unsafe {
        let decoder = libwebp_sys::WebPINewRGB(mode, pixels.as_mut_ptr(), pixels.len(), stride);
        if decoder.is_null() {
            return Err(AbsentReason::TooLarge);
        }
        libwebp_sys::WebPIUpdate(decoder, data.as_ptr(), data.len());
        libwebp_sys::WebPIDecGetRGB(decoder, &raw mut rows, ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        libwebp_sys::WebPIDelete(decoder);
    }
    Ok(u32::try_from(rows).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSSY: &[u8] = include_bytes!("../../tests/fixtures/lossy.webp");

    #[test]
    fn a_buffer_that_is_too_small_or_too_narrow_is_refused_and_left_alone() {
        let frame = container(LOSSY).frame.unwrap();
        let stride = frame.width as usize * 3;
        let whole = stride * frame.height as usize;
        assert_eq!(read_whole(frame.data, false, stride, &mut vec![0; whole]), Ok(true));
        assert_eq!(read_rows(frame.data, false, stride, &mut vec![0; whole]), Ok(frame.height));
        type Read = fn(&[u8], bool, usize, &mut [u8]) -> bool;
        let reads: [Read; 2] = [
            |data, alpha, stride, pixels| read_whole(data, alpha, stride, pixels) == Ok(true),
            |data, alpha, stride, pixels| read_rows(data, alpha, stride, pixels) != Ok(0),
        ];
        for read in reads {
            let mut short = vec![7; whole - 1];
            assert!(!read(frame.data, false, stride, &mut short));
            assert!(short.iter().all(|byte| *byte == 7));
            assert!(!read(frame.data, false, stride - 3, &mut vec![0; whole]));
            assert!(!read(frame.data, true, stride, &mut vec![0; whole]));
        }
    }

    #[test]
    fn a_webp_whose_frame_outgrows_its_canvas_is_seen() {
        let frame = b"\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f";
        let size = |file: &[u8]| container(file).frame.map(|frame| (frame.width, frame.height));
        let file = [b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0", [0; 10].as_slice(), b"VP8 \x0a\0\0\0", frame].concat();
        assert_eq!(size(&file), Some((16383, 16383)));
        let inner = [b"ANMF\x22\0\0\0".as_slice(), &[0; 16], b"VP8 \x0a\0\0\0", frame].concat();
        let file = [b"RIFF\0\0\0\0WEBP".as_slice(), &inner].concat();
        assert_eq!(size(&file), Some((16383, 16383)));
        assert_eq!(size(b"RIFF"), None);
    }

    #[test]
    fn a_frame_is_cut_off_at_its_canvas() {
        let frame = Frame { left: 2, top: 0, width: 2, height: 2, ..container(LOSSY).frame.unwrap() };
        let rgb: Vec<u8> = (1..=12).collect();
        let on = |width, height| frame.on_canvas(&rgb, (width, height));
        assert_eq!(on(3, 1), [WHITE, WHITE, WHITE, WHITE, WHITE, WHITE, 1, 2, 3]);
        assert_eq!(on(1, 1), [WHITE; 3]);
        assert_eq!(on(4, 2).len(), 24);
    }
}
