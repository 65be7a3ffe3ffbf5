//! Sniffing and decoding, within the limits that serve.

use std::time::Duration;

use jtav_media_codecs::{DecodeLimits, decode};
use jtav_schemas::{AbsentReason, Decoded, Modality};
use rustix::time::{ClockId, clock_gettime};

/// CPU time that one file may take, with the fuzzer's instruments in the code.
const MAX_CPU: Duration = Duration::from_secs(5);

/// A file that a post calls a picture.
pub fn image(bytes: &[u8]) {
    picture(bytes, &DecodeLimits::for_tests());
    // So small a view that the seeds are decoded to a fraction of their size, as large JPEGs are.
    picture(bytes, &DecodeLimits { shorter_side_px: 8, crop_px: 7, ..DecodeLimits::for_tests() });
}

fn picture(bytes: &[u8], limits: &DecodeLimits) {
    let side = limits.crop_px;
    match timed(bytes, Modality::Image, limits) {
        Ok(Decoded::Image(picture)) => {
            assert_eq!((picture.width, picture.height), (side, side), "the central square");
            assert_eq!(picture.pixels.len() as u32, side * side * 3, "three bytes a pixel");
        }
        Ok(Decoded::Audio(_)) => panic!("sound where a picture was asked for"),
        Err(reason) => assert!(is_of_decoding(reason), "{reason} is no verdict on bytes"),
    }
}

/// A file that a post calls sound.
pub fn audio(bytes: &[u8]) {
    match timed(bytes, Modality::Audio, &DecodeLimits::for_tests()) {
        Ok(Decoded::Audio(pcm)) => {
            assert!(!pcm.samples.is_empty(), "a clip without a sample");
            assert!(pcm.samples.iter().all(|sample| sample.is_finite()), "a sample that is no number");
            assert!(pcm.seconds() <= 60.1, "{} s, more than is analysed", pcm.seconds());
        }
        Ok(Decoded::Image(_)) => panic!("a picture where sound was asked for"),
        Err(reason) => assert!(is_of_decoding(reason), "{reason} is no verdict on bytes"),
    }
}

fn timed(bytes: &[u8], modality: Modality, limits: &DecodeLimits) -> Result<Decoded, AbsentReason> {
    let before = thread_cpu_time();
    let decoded = decode(bytes, modality, None, limits);
    let took = thread_cpu_time().saturating_sub(before);
    assert!(took <= MAX_CPU, "{} bytes took {took:?} of CPU time", bytes.len());
    decoded
}

fn is_of_decoding(reason: AbsentReason) -> bool {
    matches!(
        reason,
        AbsentReason::TooLarge | AbsentReason::TypeMismatch | AbsentReason::Unsupported | AbsentReason::DecodeError
    )
}

fn thread_cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("Invariant: a CPU clock begins at 0")
}
