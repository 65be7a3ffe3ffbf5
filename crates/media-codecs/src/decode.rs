//! The one function behind which media of strangers are decoded (ADR 20). It knows no actors and no threads, so a
//! worker process can stand in its place.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jtav_schemas::{AbsentReason, Decoded, Modality, RgbImage};

use crate::facts::MediaFacts;
use crate::format::{Content, refusal};
use crate::limits::{BeforeLarge, DecodeLimits};
use crate::picture::{self, center_crop};
use crate::sniff::{recognise, sniff};
use crate::sound;

/// Decodes one medium: a picture to upright RGB (shorter side resized, centre cropped), a clip to mono at
/// [`crate::SAMPLE_RATE_HZ`] or at its own rate ([`DecodeLimits::left_rates_hz`]). The bytes decide what they are;
/// `media_type` is what the post or the host claimed.
///
/// Takes CPU time up to seconds and memory up to the limits: not for an async thread.
///
/// # Errors
/// `type_mismatch` (other content than `modality`), `unsupported` (recognised, not decoded), `too_large` (a limit),
/// `decode_error` (damaged, empty, or the decoder panicked).
pub fn decode(
    bytes: &[u8],
    modality: Modality,
    media_type: Option<&str>,
    limits: &DecodeLimits,
) -> Result<Decoded, AbsentReason> {
    decode_with_facts(bytes, modality, media_type, limits).map(|(decoded, _)| decoded)
}

/// [`decode`], and what the medium was before.
///
/// # Errors
/// As [`decode`].
pub fn decode_with_facts(
    bytes: &[u8],
    modality: Modality,
    media_type: Option<&str>,
    limits: &DecodeLimits,
) -> Result<(Decoded, MediaFacts), AbsentReason> {
    verdict(decode_guarded(bytes, modality, media_type, limits, &|| ()))
}

/// [`decode_with_facts`] for a caller that tells a panic from damage, and that keeps memory of earlier media.
///
/// # Errors
/// The outer one: the decoder panicked. The inner one as [`decode`].
pub fn decode_guarded(
    bytes: &[u8],
    modality: Modality,
    media_type: Option<&str>,
    limits: &DecodeLimits,
    before_large: BeforeLarge<'_>,
) -> Guarded<(Decoded, MediaFacts)> {
    guarded(|| {
        let (content, bytes) = recognise(bytes);
        match (content, modality) {
            (Content::Picture(format), Modality::Image) => {
                let (view, mut facts) = picture::decode(bytes, format, limits, limits.shorter_side_px, before_large)?;
                picture::place_crop(&mut facts, limits.crop_px);
                Ok((Decoded::Image(center_crop(&view, limits.crop_px)), MediaFacts::Picture(facts)))
            }
            (Content::Sound(format), Modality::Audio) => {
                let (pcm, facts) = sound::decode(bytes, format, limits, before_large)?;
                Ok((Decoded::Audio(pcm), MediaFacts::Sound(facts)))
            }
            (content, _) => Err(refusal(content, modality, media_type)),
        }
    })
}

/// The whole picture, upright, with a shorter side of `side` pixels: what training cuts its random crops from. A
/// picture longer than 8 : 1 gives its central part.
///
/// # Errors
/// As [`decode`].
pub fn image_view(bytes: &[u8], limits: &DecodeLimits, side: u32) -> Result<RgbImage, AbsentReason> {
    verdict(guarded(|| match sniff(bytes) {
        Content::Picture(format) => picture::decode(bytes, format, limits, side, &|| ()).map(|(view, _)| view),
        content => Err(refusal(content, Modality::Image, None)),
    }))
}

/// A decoder panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

/// What decoding came to, if it did not panic.
pub type Guarded<T> = Result<Result<T, AbsentReason>, Panicked>;

/// A panic of a decoder is a property of the bytes: the item is lost, the thread is not. (An abort, for example of an
/// allocation, cannot be caught here; worker processes are for that.)
fn guarded<T>(decode: impl FnOnce() -> Result<T, AbsentReason>) -> Guarded<T> {
    // Unwind safe: nothing that the closure changed outlives it.
    catch_unwind(AssertUnwindSafe(decode)).map_err(|_| Panicked)
}

/// What a medium is told: a panic is damage.
fn verdict<T>(guarded: Guarded<T>) -> Result<T, AbsentReason> {
    guarded.unwrap_or(Err(AbsentReason::DecodeError))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_decoder_is_a_decode_error() {
        let result: Guarded<()> = guarded(|| panic!("a decoder's bug, on purpose"));
        assert_eq!(result, Err(Panicked));
        assert_eq!(verdict(result), Err(AbsentReason::DecodeError));
    }
}
