//! A medium as an encoder takes it. No record; the word for it that codecs and boxes share.

use std::sync::Arc;

/// Mono sound.
#[derive(Debug, Clone)]
pub struct Pcm {
    /// `[n]`, −1 to 1.
    pub samples: Arc<[f32]>,
    /// 22,050, or the clip's own where a GPU resamples.
    pub sample_rate_hz: u32,
}

impl Pcm {
    /// Length in seconds.
    pub fn seconds(&self) -> f32 {
        self.samples.len() as f32 / self.sample_rate_hz as f32
    }
}

/// A picture, upright, alpha over white, resized and cropped: 224 × 224 after decoding.
#[derive(Debug, Clone)]
pub struct RgbImage {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// `[height, width, 3]`, u8.
    pub pixels: Arc<[u8]>,
}

/// A decoded medium.
#[derive(Debug, Clone)]
pub enum Decoded {
    /// Sound.
    Audio(Pcm),
    /// Picture.
    Image(RgbImage),
}
