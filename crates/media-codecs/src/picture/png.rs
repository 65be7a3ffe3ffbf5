//! PNG, row by row: what could be read before damage counts.

use std::io;

use jtav_schemas::{AbsentReason, RgbImage};
use png::{BitDepth, ColorType, Decoder, DecodingError, InterlaceInfo, Limits, Reader, Transformations};

use super::demand::{Demand, Head, allow, is_at_least_half};
use super::metered::Metered;
use super::pixels::{Layout, flatten};
use super::{exif, price, view};
use crate::limits::{BeforeLarge, DecodeLimits};

/// What the decoder may take for itself: rows, and chunks that it keeps.
const INTERNAL_BYTES: usize = 32 << 20;

/// What stands where nothing was read.
const WHITE: u8 = 255;

/// Decodes to a view whose shorter side is `side` pixels; of an animation, the picture that decoders without animation
/// show.
///
/// # Errors
/// `too_large`: pixels, memory or price; `decode_error`: no picture, or less than half of one.
pub(super) fn decode(
    bytes: &[u8],
    side: u32,
    limits: &DecodeLimits,
    before_large: BeforeLarge<'_>,
) -> Result<(Head, RgbImage), AbsentReason> {
    let mut decoder =
        Decoder::new_with_limits(Metered::new(bytes, limits.max_picture_price), Limits { bytes: INTERNAL_BYTES });
    // Compressed profiles and texts are of no use here, and a way to spend memory.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(reason)?;
    let (width, height) = reader.info().size();
    let layout = layout(&reader)?;
    let pixels = u64::from(width) * u64::from(height);
    let work =
        price::RowWork { coded_bytes: bytes.len() as u64, pixels, pixel_bytes: layout.bytes() as u64, painted: pixels };
    let interlaced = reader.info().interlaced;
    let price = price::png(&work, interlaced);
    allow(&Demand { size: (width, height), bytes: pixels * work.pixel_bytes, beside: 0, price }, limits, before_large)?;
    let orientation = exif::orientation(exif_chunk(bytes));
    let stride = width as usize * layout.bytes();
    let mut data = vec![WHITE; stride * height as usize];
    let pixels_read = if interlaced {
        read_interlaced(&mut reader, &mut data, stride, layout)?
    } else {
        read(&mut reader, &mut data, stride)?
    };
    if !is_at_least_half(pixels_read, pixels) {
        return Err(AbsentReason::DecodeError);
    }
    flatten(layout, &mut data);
    let source = view::Source::whole(data, layout.channels, (width, height));
    Ok((Head { width, height, orientation }, view::of_pixels(source, orientation, side)?))
}

/// It may stand in front of the pixels or behind them; the decoder reads no further than those.
fn exif_chunk(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 8_usize;
    loop {
        let [a, b, c, d, kind @ ..] = bytes.get(at..at + 8)? else { return None };
        let body = at + 8;
        let end = body.checked_add(u32::from_be_bytes([*a, *b, *c, *d]) as usize)?;
        if kind == b"eXIf" {
            return bytes.get(body..end);
        }
        // Its checksum lies behind it.
        at = end.checked_add(4)?;
    }
}

fn reason(error: DecodingError) -> AbsentReason {
    match error {
        DecodingError::LimitsExceeded => AbsentReason::TooLarge,
        DecodingError::IoError(error) if error.kind() == io::ErrorKind::TimedOut => AbsentReason::TooLarge,
        _ => AbsentReason::DecodeError,
    }
}

/// Other errors are damage, in front of which something may have been read.
fn refuse_if_too_large(error: DecodingError) -> Result<(), AbsentReason> {
    match reason(error) {
        AbsentReason::TooLarge => Err(AbsentReason::TooLarge),
        _ => Ok(()),
    }
}

fn layout(reader: &Reader<Metered<'_>>) -> Result<Layout, AbsentReason> {
    let (color, depth) = reader.output_color_type();
    let (channels, alpha) = match color {
        ColorType::Grayscale => (1, false),
        ColorType::GrayscaleAlpha => (1, true),
        ColorType::Rgb => (3, false),
        ColorType::Rgba => (3, true),
        // Expanded by the decoder.
        ColorType::Indexed => return Err(AbsentReason::Unsupported),
    };
    let deep = match depth {
        BitDepth::Eight => false,
        BitDepth::Sixteen => true,
        _ => return Err(AbsentReason::Unsupported),
    };
    Ok(Layout { channels, alpha, deep })
}

/// Reads rows from the top until they end or damage does; how many pixels were read.
fn read(reader: &mut Reader<Metered<'_>>, data: &mut [u8], stride: usize) -> Result<u64, AbsentReason> {
    let width = u64::from(reader.info().width);
    let mut rows = 0;
    for row in data.chunks_exact_mut(stride) {
        match reader.read_row(row) {
            Ok(Some(_)) => rows += 1,
            Ok(None) => break,
            Err(error) => {
                refuse_if_too_large(error)?;
                row.fill(WHITE);
                break;
            }
        }
    }
    Ok(rows * width)
}

/// The same in seven passes, of which the last brings every second row: one that is missing is the row above it.
fn read_interlaced(
    reader: &mut Reader<Metered<'_>>,
    data: &mut [u8],
    stride: usize,
    layout: Layout,
) -> Result<u64, AbsentReason> {
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    let bits = (layout.bytes() * 8) as u8;
    let mut row = vec![0; stride];
    let mut rows = 0_usize;
    loop {
        match reader.read_row(&mut row) {
            Ok(Some(InterlaceInfo::Adam7(info))) => png::expand_interlaced_row(data, stride, &row, &info, bits),
            Ok(_) => return Ok((width * height) as u64),
            Err(error) => {
                refuse_if_too_large(error)?;
                break;
            }
        }
        rows += 1;
    }
    // Half of the picture stands when the last pass begins; before that, nothing is whole.
    let Some(last_rows) = rows.checked_sub(rows_before_last_pass(width, height)) else { return Ok(0) };
    let missing = (1..height).step_by(2).skip(last_rows);
    missing.for_each(|row| data.copy_within((row - 1) * stride..row * stride, row * stride));
    Ok(((height.div_ceil(2) + last_rows) * width) as u64)
}

/// Rows in the first six passes (PNG, section 8.2); a pass without columns has none.
fn rows_before_last_pass(width: usize, height: usize) -> usize {
    let passes = [(0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2)];
    let rows = |(left, across, top, down)| match (left..width).step_by(across).len() {
        0 => 0,
        _ => (top..height).step_by(down).len(),
    };
    passes.into_iter().map(rows).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pass_begins_when_six_have_brought_the_even_rows() {
        assert_eq!(rows_before_last_pass(1, 1), 1);
        assert_eq!(rows_before_last_pass(8, 8), 1 + 1 + 1 + 2 + 2 + 4);
        assert_eq!(rows_before_last_pass(1, 8), 1 + 1 + 2);
    }
}
