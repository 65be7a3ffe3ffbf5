//! Records that tests make.
#![allow(dead_code, reason = "each test file uses a part of it")]

use jtav_neighbours::{IndexSettings, NeighbourIndex};
use jtav_schemas::{EmbeddingV1, Label, PerModality, Vector};

pub const MODEL: &str = "jtav-modern@1";
pub const HOUR_MS: i64 = 3_600_000;
/// In the middle of an hour.
pub const NOW_MS: i64 = 500_000 * HOUR_MS + HOUR_MS / 2;

/// Same numbers for the same seed.
pub struct Noise(pub u64);

impl Noise {
    /// -0.5 to 0.5.
    pub fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / 16_777_216.0 - 0.5
    }

    pub fn vector(&mut self, dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|_| self.next()).collect()
    }
}

/// A post with nothing but `u`, made now.
pub fn record(post_id: &str, u: &[f32]) -> EmbeddingV1 {
    EmbeddingV1 {
        event_id: String::new(),
        post_id: post_id.to_owned(),
        revision: 1,
        fused: Vector::pack(u).unwrap(),
        modalities: PerModality::default(),
        semantic: None,
        label: Label::Neutral,
        certain: true,
        lang: None,
        model_version: MODEL.to_owned(),
        event_time_ms: Some(NOW_MS),
        labelled_at_ms: NOW_MS,
    }
}

/// One that holds everything of the last week.
pub fn roomy() -> NeighbourIndex {
    NeighbourIndex::new(IndexSettings { window_ms: 7 * 24 * HOUR_MS, max_bytes: 1 << 30 })
}

/// In f64, from the numbers that were sent.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
