//! What a medium was before it was reduced to what the encoders read. For a person who asks; the pipeline drops it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Facts of one medium that was decoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MediaFacts {
    /// Of a clip.
    Sound(SoundFacts),
    Picture(PictureFacts),
}

/// Facts of a clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SoundFacts {
    /// `mp3`, `adts`, `mp4`, `flac`, `ogg` or `wav`.
    pub container: Cow<'static, str>,
    /// The decoder that read it: `aac`, `flac`, `mp3`, `vorbis`, `pcm_s16le`, …
    pub codec: Cow<'static, str>,
    /// Rate in the file, before resampling.
    pub sample_rate_hz: u32,
    /// Channels in the file, before they became one.
    pub channels: usize,
    /// Length that the container states or that a walk over it counted, in seconds; `None` where it is not known, or wrong.
    pub stated_seconds: Option<f64>,
    /// Length that was decoded, in seconds.
    pub decoded_seconds: f64,
    /// Packets that could not be decoded and were left out.
    pub skipped_packets: usize,
    /// Why decoding ended.
    pub end: SoundEnd,
}

impl SoundFacts {
    /// Whether some of the clip is missing from what was decoded: a limit, damage, or a file that was cut off.
    pub fn is_partial(&self) -> bool {
        self.skipped_packets > 0 || self.end != SoundEnd::Whole
    }
}

/// Why decoding of a clip ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SoundEnd {
    /// At the end of the file.
    Whole,
    /// At the length that is analysed, `DecodeLimits::analysed_audio`.
    AnalysedLength,
    /// The file was cut off, or goes on as a stream that is not decoded; what came before counts.
    BrokeOff,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureFacts {
    /// `jpeg`, `png`, `gif` or `webp`.
    pub format: Cow<'static, str>,
    /// Size as stored, in pixels: before it was turned upright.
    pub width: u32,
    /// See `width`.
    pub height: u32,
    /// EXIF orientation, 1 (upright) to 8.
    pub orientation: u8,
    /// Size after it was turned upright and its shorter side resized, in pixels.
    pub resized_width: u32,
    /// See `resized_width`.
    pub resized_height: u32,
    /// Corner of the central square that is encoded, in pixels of the resized picture, from the left and the top.
    pub crop_left: u32,
    /// See `crop_left`.
    pub crop_top: u32,
    /// Side of that square.
    pub crop_px: u32,
}
