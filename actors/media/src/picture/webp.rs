//! Still WebP through libwebp, which takes half the time of the decoder in Rust (ADR 0017).
//!
//! The size was read from the header, and held against the limits, before anything of this is called. libwebp starts no
//! threads here: that is an option of its other interface, and off there as well.

use std::ffi::c_int;

use jtav_schemas::AbsentReason;

/// Decodes a whole file into rows of RGB, or RGBA, of `width` pixels; `pixels` is exactly as long as the picture.
///
/// # Errors
/// `decode_error`: damaged, cut short, or of another size than `pixels`.
pub(super) fn read(bytes: &[u8], width: u32, alpha: bool, pixels: &mut [u8]) -> Result<(), AbsentReason> {
    let (decode, channels): (Decode, u32) =
        if alpha { (libwebp_sys::WebPDecodeRGBAInto, 4) } else { (libwebp_sys::WebPDecodeRGBInto, 3) };
    let stride = width.checked_mul(channels).and_then(|stride| c_int::try_from(stride).ok());
    let stride = stride.ok_or(AbsentReason::TooLarge)?;
    // SAFETY: both buffers are slices, valid for the lengths that are passed with them for the time of the call; the
    // first is only read, the second only written. libwebp compares the size in the bitstream with stride and length
    // and refuses what does not fit.
    let written = unsafe { decode(bytes.as_ptr(), bytes.len(), pixels.as_mut_ptr(), pixels.len(), stride) };
    if written.is_null() { Err(AbsentReason::DecodeError) } else { Ok(()) }
}

type Decode = unsafe extern "C" fn(*const u8, usize, *mut u8, usize, c_int) -> *mut u8;

#[cfg(test)]
mod tests {
    use super::*;

    const LOSSY: &[u8] = include_bytes!("../../tests/fixtures/lossy.webp");

    fn size() -> (u32, u32) {
        let decoder = image::codecs::webp::WebPDecoder::new(std::io::Cursor::new(LOSSY)).unwrap();
        image::ImageDecoder::dimensions(&decoder)
    }

    #[test]
    fn a_buffer_that_is_too_small_or_too_narrow_is_refused_and_left_alone() {
        let (width, height) = size();
        let whole = (width * height * 3) as usize;
        assert_eq!(read(LOSSY, width, false, &mut vec![0; whole]), Ok(()));
        let mut short = vec![7; whole - 1];
        assert_eq!(read(LOSSY, width, false, &mut short), Err(AbsentReason::DecodeError));
        assert!(short.iter().all(|byte| *byte == 7));
        assert_eq!(read(LOSSY, width - 1, false, &mut vec![0; whole]), Err(AbsentReason::DecodeError));
        assert_eq!(read(LOSSY, width, true, &mut vec![0; whole]), Err(AbsentReason::DecodeError));
    }

    #[test]
    fn a_file_that_was_cut_is_damaged_at_every_length() {
        let (width, height) = size();
        let mut pixels = vec![0; (width * height * 3) as usize];
        for cut in (0..LOSSY.len()).step_by(7) {
            assert_eq!(read(&LOSSY[..cut], width, false, &mut pixels), Err(AbsentReason::DecodeError), "{cut}");
        }
    }
}
