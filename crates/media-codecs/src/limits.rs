//! Limits of decoding and their defaults. Sizes in bytes, times as durations.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Called before decoding takes much memory: a caller that keeps some of earlier media can give it back first. Whether a
/// medium is accepted must not depend on what came before it.
pub type BeforeLarge<'a> = &'a dyn Fn();

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecodeLimits {
    /// Width × height, read from the header before anything is allocated.
    pub max_pixels: u64,
    /// Bytes of the decoded picture before it is reduced.
    pub max_image_bytes: u64,
    /// The same with what the decoder needs beside it (coefficients of a progressive JPEG, planes of a WebP).
    pub max_image_working_bytes: u64,
    /// What decoding a picture may cost in CPU time, by what its header says (`picture/price.rs`).
    pub max_picture_price: Duration,
    /// Shorter side after resizing, in pixels.
    pub shorter_side_px: u32,
    /// Side of the central square that is encoded, in pixels; at most `shorter_side_px`.
    pub crop_px: u32,
    /// Longest sound that is decoded, whatever is listened to: a longer clip is cut off.
    pub max_audio: Duration,
    /// Decoding stops after this much sound, so that what a clip costs does not grow with its length.
    pub analysed_audio: Duration,
    /// Clips of these rates keep theirs, because who listens resamples: a GPU does it beside what it does anyway. Others
    /// come at [`crate::SAMPLE_RATE_HZ`].
    pub left_rates_hz: Vec<u32>,
    /// Lowest sample rate.
    pub min_sample_rate_hz: u32,
    /// Highest sample rate.
    pub max_sample_rate_hz: u32,
    /// Most channels.
    pub max_channels: usize,
    /// CPU time that the audio of one file may take, looked at between packets and between reads of the file: a clip that is
    /// made to be searched through ends here. An honest one of a minute takes a tenth.
    pub max_audio_cpu: Duration,
}

impl DecodeLimits {
    /// With the limits that are set; the others are what the decoders here are made for.
    pub fn new(max_pixels: u64, max_audio: Duration, analysed_audio: Duration) -> Self {
        Self {
            max_pixels,
            max_image_bytes: 128 << 20,
            max_image_working_bytes: 256 << 20,
            max_picture_price: Duration::from_secs(1),
            shorter_side_px: 256,
            crop_px: 224,
            max_audio,
            analysed_audio,
            left_rates_hz: Vec::new(),
            min_sample_rate_hz: 8_000,
            max_sample_rate_hz: 192_000,
            max_channels: 8,
            max_audio_cpu: Duration::from_secs(1),
        }
    }

    /// Of tests, benchmarks and fuzzers.
    pub fn for_tests() -> Self {
        Self::new(40_000_000, Duration::from_secs(600), Duration::from_secs(60))
    }
}
