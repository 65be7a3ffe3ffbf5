use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use jtav_schemas::{MediaRef, Modality};

/// BLAKE3 of the bytes of a medium: its identity in every cache (design D9).
pub type ContentHash = [u8; 32];

/// A medium to download.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// What it should be.
    pub modality: Modality,
    /// Where it is and what is claimed of it.
    pub media: MediaRef,
    /// No later than this.
    pub deadline: Instant,
}

/// A downloaded medium, within the limits, its declared hash checked.
#[derive(Clone)]
pub struct FetchedMedia {
    /// What it should be.
    pub modality: Modality,
    /// Its bytes.
    pub bytes: Bytes,
    /// BLAKE3 of the bytes.
    pub content_hash: ContentHash,
    /// The declared media type, or the one the server named.
    pub media_type: Option<String>,
    /// Keeps the bytes' share of the media budget until the last clone is gone.
    pub reservation: Option<Arc<dyn Send + Sync>>,
}

impl std::fmt::Debug for FetchedMedia {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FetchedMedia").field("modality", &self.modality).field("bytes", &self.bytes.len()).finish()
    }
}

/// Mono sound.
#[derive(Debug, Clone)]
pub struct Pcm {
    /// `[n]`, −1 to 1.
    pub samples: Arc<[f32]>,
    /// 22,050 after decoding.
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
