//! The first frame of a GIF, over white.

use std::io;

use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, MemoryLimit};
use image::metadata::Orientation;
use jtav_schemas::{AbsentReason, RgbImage};

use super::demand::{Demand, Head, allow, is_at_least_half};
use super::metered::Metered;
use super::{price, view};
use crate::limits::{BeforeLarge, DecodeLimits};

/// Of a pixel on the screen.
const PAINTED_BYTES: u64 = 3;

/// Decodes to a view whose shorter side is `side` pixels.
///
/// # Errors
/// `too_large`: pixels, memory or price; `decode_error`: no frame, no palette, or less than half of the frame's rows.
pub(super) fn decode(
    bytes: &[u8],
    side: u32,
    limits: &DecodeLimits,
    before_large: BeforeLarge<'_>,
) -> Result<(Head, RgbImage), AbsentReason> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Unlimited);
    options.allow_unknown_blocks(true);
    let mut decoder = options.read_info(Metered::new(bytes, limits.max_picture_price)).map_err(reason)?;
    let frame = decoder.next_frame_info().map_err(reason)?.ok_or(AbsentReason::DecodeError)?;
    let place = Place {
        left: frame.left.into(),
        top: frame.top.into(),
        width: frame.width.into(),
        height: frame.height.into(),
    };
    let (interlaced, transparent) = (frame.interlaced, frame.transparent);
    // The screen, grown to hold the frame: writers leave it zero, or at the size of another picture.
    let width = u32::from(decoder.width()).max((place.left + place.width) as u32);
    let height = u32::from(decoder.height()).max((place.top + place.height) as u32);
    let (painted, coded) = (u64::from(width) * u64::from(height), (place.width * place.height) as u64);
    let work = price::RowWork { coded_bytes: bytes.len() as u64, pixels: coded, pixel_bytes: 1, painted };
    let price = price::gif(&work);
    allow(
        &Demand { size: (width, height), bytes: painted * PAINTED_BYTES, beside: coded, price },
        limits,
        before_large,
    )?;
    let indices = indices(&mut decoder, &place, interlaced)?;
    let colours = colours(decoder.palette().map_err(reason)?, transparent);
    let mut data = vec![255; (painted * PAINTED_BYTES) as usize];
    for (row, line) in indices.chunks(place.width).enumerate() {
        let start = ((place.top + row) * width as usize + place.left) * 3;
        for (pixel, index) in data[start..start + line.len() * 3].chunks_exact_mut(3).zip(line) {
            pixel.copy_from_slice(&colours[usize::from(*index)]);
        }
    }
    let view = view::of_pixels(view::Source::whole(data, 3, (width, height)), Orientation::NoTransforms, side)?;
    Ok((Head { width, height, orientation: Orientation::NoTransforms }, view))
}

fn reason(error: DecodingError) -> AbsentReason {
    match error {
        DecodingError::Io(error) if error.kind() == io::ErrorKind::TimedOut => AbsentReason::TooLarge,
        _ => AbsentReason::DecodeError,
    }
}

/// Of the frame on its screen, pixels.
struct Place {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

/// One byte a pixel, of the rows that could be read; those that are missing below are left out, those between are the
/// one above.
fn indices(decoder: &mut Decoder<Metered<'_>>, place: &Place, interlaced: bool) -> Result<Vec<u8>, AbsentReason> {
    let Place { width, height, .. } = *place;
    if width == 0 || height == 0 {
        return Err(AbsentReason::DecodeError);
    }
    let mut data = vec![0; width * height];
    let order: Vec<usize> = if interlaced { interlaced_rows(height).collect() } else { (0..height).collect() };
    let mut rows = 0;
    for row in &order {
        match decoder.fill_buffer(&mut data[row * width..(row + 1) * width]).map_err(reason) {
            Ok(true) => rows += 1,
            Err(AbsentReason::TooLarge) => return Err(AbsentReason::TooLarge),
            // Data that end, or are damaged: what was read counts.
            Ok(false) | Err(_) => break,
        }
    }
    if !is_at_least_half(rows as u64, height as u64) {
        return Err(AbsentReason::DecodeError);
    }
    if interlaced {
        // Only the last pass, of every second row, can have missed any.
        let missing = order[rows..].iter().filter(|row| **row > 0);
        missing.for_each(|row| data.copy_within((row - 1) * width..row * width, row * width));
    } else {
        data.truncate(rows * width);
    }
    Ok(data)
}

/// The order in which rows are stored (GIF89a, appendix E).
fn interlaced_rows(height: usize) -> impl Iterator<Item = usize> {
    [(0, 8), (4, 8), (2, 4), (1, 2)].into_iter().flat_map(move |(first, step)| (first..height).step_by(step))
}

/// Of every index that a byte can hold; one that is transparent, or that the palette lacks, shows the page.
fn colours(palette: &[u8], transparent: Option<u8>) -> [[u8; 3]; 256] {
    let mut colours = [[255; 3]; 256];
    for (index, colour) in palette.chunks_exact(3).take(256).enumerate() {
        if transparent.map(usize::from) != Some(index) {
            colours[index].copy_from_slice(colour);
        }
    }
    colours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interlaced_rows_are_every_row_once_and_the_last_half_is_the_odd_ones() {
        for height in 0..40 {
            let order: Vec<usize> = interlaced_rows(height).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..height).collect::<Vec<_>>());
            assert!(order[height.div_ceil(2)..].iter().all(|row| row % 2 == 1), "{order:?}");
        }
    }
}
