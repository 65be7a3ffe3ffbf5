//! The records of every topic and of the Redis keys: serde types, their JSON Schemas (2020-12), examples.
//!
//! A record's version is part of its module and file name (`post.v1`). Fields are only ever added, with a
//! default; a change that a reader of the old record could not survive gets a new version.

// They become the descriptions in the JSON Schemas.
#![warn(missing_docs)]

mod dead_letter;
mod decoded;
/// `embedding.v1` and the packing of vectors.
pub mod embedding;
pub mod encoding;
mod erasure;
mod label;
mod modality;
mod post;
pub mod reading;
pub mod redis_key;
mod sentiment;
mod stage;

pub mod document;

pub use dead_letter::{
    DeadLetterHeaders, DeadLetterReason, DeadLetterV1, DeliveredFrom, RecordHeaders, Truncation, Whole,
};
pub use decoded::{Decoded, Pcm, RgbImage};
pub use embedding::{EmbeddingV1, Vector, VectorError};
pub use erasure::ErasureV1;
pub use label::{Label, PROBABILITY_SUM_TOLERANCE, Probabilities, UncertainBecause, is_language_code};
pub use modality::{AbsentReason, Modality, ModalityStatus, PerModality};
pub use post::{DatasetGroups, DatasetLabels, DatasetMedia, DatasetPostV1, MAX_TEXT_PARTS, MediaRef, PostV1, TextPart};
pub use sentiment::{
    AttentionSummary, AudioSpan, Contributions, ImageCell, MoodTag, SentimentV1, WordWeight, event_time_ms,
};
pub use stage::Stage;

/// The variants of an enum as an array, which, unlike the slice, can be taken apart by value.
const fn array<T: Copy, const N: usize>(variants: &'static [T]) -> [T; N] {
    *variants.first_chunk().expect("Invariant: the array is as long as the enum has variants")
}

/// Deterministic id of one visible effect: the same post, revision and model give the same id on every attempt,
/// so a consumer that has seen it may drop the record (ADR 3).
pub fn event_id(post_id: &str, revision: u64, model_version: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [post_id.as_bytes(), &revision.to_le_bytes(), model_version.as_bytes()] {
        // Lengths go in too: without them ("ab","c") and ("a","bc") would share an id.
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}
