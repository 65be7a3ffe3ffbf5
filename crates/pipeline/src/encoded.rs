use std::sync::Arc;

use jtav_schemas::{AudioSpan, Contributions, ImageCell, MoodTag, PerModality, VectorError, WordWeight};

/// A checked vector: not empty, finite, not zero. Nothing else is ever fused or published.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(Arc<[f32]>);

impl Embedding {
    /// Checks `values` `[dim]`.
    pub fn new(values: Vec<f32>) -> Result<Self, VectorError> {
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(VectorError::NotFinite { index });
        }
        if values.iter().all(|value| *value == 0.0) {
            return Err(VectorError::ZeroNorm);
        }
        Ok(Self(values.into()))
    }

    /// `[dim]`.
    pub fn values(&self) -> &[f32] {
        &self.0
    }
}

/// What an encoder looked at, largest weights first.
#[derive(Debug, Clone, PartialEq)]
pub enum AttentionPart {
    Words(Vec<WordWeight>),
    Spans(Vec<AudioSpan>),
    Cells(Vec<ImageCell>),
}

/// One encoded modality.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    pub vector: Embedding,
    /// What the encoder looked at.
    pub attention: AttentionPart,
}

/// The encoded texts of a post.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedText {
    /// Of what was read.
    pub encoded: Encoded,
    /// Whether the texts have more words than the network reads.
    pub is_truncated: bool,
}

/// The vectors to fuse; at least one is there.
#[derive(Debug, Clone, Default)]
pub struct FuseRequest {
    /// Vector of each modality that is present.
    pub vectors: PerModality<Option<Embedding>>,
}

/// The fused post.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused {
    /// Joint embedding `u`.
    pub u: Embedding,
    /// Calibrated probability of `positive`.
    pub probability: f32,
    /// Label is `positive` from here on.
    pub threshold: f32,
    /// Most probable first; empty without audio.
    pub moods: Vec<MoodTag>,
    /// What each modality added to the logit; a stand-in network has none.
    pub contributions: Option<Contributions>,
}
