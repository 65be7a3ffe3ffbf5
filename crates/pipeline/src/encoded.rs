use std::sync::Arc;

use jtav_schemas::{AudioSpan, Contributions, ImageCell, MoodTag, PerModality, VectorError, WordWeight};

use crate::judgement::{Judgement, Language};

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
    /// The language that they are most probably in; none where nothing can be told, or nothing identifies languages.
    pub lang: Option<Language>,
    /// What they are about, in a space of its own (compared by cosine); none where the checkpoint has no such network.
    pub semantic: Option<Embedding>,
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
    /// What the record's label is made from.
    pub judgement: Judgement,
    /// Most probable first; empty without audio.
    pub moods: Vec<MoodTag>,
    /// What each modality added to the logit of the polarity; a stand-in network has none.
    pub contributions: Option<Contributions>,
}
