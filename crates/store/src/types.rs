use std::time::Duration;

use bytes::Bytes;
use jtav_schemas::embedding::f32_from_f16_le;
use jtav_schemas::redis_key::is_valid_model_version;
use jtav_schemas::{Label, Modality, PerModality, Probabilities, VectorError};

use crate::StoreError;

/// Position of the input record that a write came from. Ordered by partition, then offset.
///
/// Records of one post share a partition, so offsets decide. Only a change of the topic's partition count can part
/// them; then equal revisions are ordered by partition number, which is arbitrary but the same for every worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// Partition, from 0.
    pub partition: i32,
    /// Offset, from 0.
    pub offset: i64,
}

impl std::fmt::Display for Source {
    /// As in the field `source`: `<partition>:<offset>`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

impl Source {
    pub(crate) fn parse(text: &str) -> Option<Source> {
        let (partition, offset) = text.split_once(':')?;
        Some(Source { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
    }
}

/// One label to store.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelWrite {
    pub post_id: String,
    pub revision: u64,
    /// Where it came from; decides between equal revisions.
    pub source: Source,
    /// Model that made it; a key of its own.
    pub model_version: String,
    /// Id of the published records.
    pub event_id: String,
    /// The decision.
    pub label: Label,
    /// Whether the model promises its accuracy for it.
    pub certain: bool,
    /// Of each label.
    pub probabilities: Probabilities,
    /// -1 to 1.
    pub valence: f32,
    /// P(positive | not neutral), 0 to 1.
    pub probability: f32,
    /// ISO 639 code, where the language of the text was identified.
    pub lang: Option<String>,
    /// The `sentiment.v1` record as it is published.
    pub sentiment_json: Bytes,
    /// Fused vector, f16 little-endian.
    pub u: Bytes,
    /// Vector of each modality that took part, f16 little-endian.
    pub modalities: PerModality<Option<Bytes>>,
    /// Second vector of the text, f16 little-endian, where there is one.
    pub semantic: Option<Bytes>,
    /// Milliseconds since 1970.
    pub labelled_at_ms: i64,
    /// The key lapses this long after the write.
    pub ttl: Duration,
}

impl LabelWrite {
    /// Refuses what would end up under another post's key, or could not be compared.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if !is_valid_model_version(&self.model_version) {
            return Err(StoreError::Invalid(format!("`{}` cannot be a model version", self.model_version)));
        }
        if self.source.partition < 0 || self.source.offset < 0 {
            return Err(StoreError::Invalid(format!("`{}` is no position of a record", self.source)));
        }
        Ok(())
    }
}

/// What became of a [`LabelWrite`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Applied {
    /// It is stored.
    Written,
    /// The store holds a label of the same revision from the same record: a redelivery. Nothing was changed.
    Same,
    /// The store holds a newer one. Nothing was changed.
    Stale,
    /// The post is erased. Nothing was changed.
    Erased,
}

/// Where a post stands under one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// The post is erased.
    pub erased: bool,
    /// Revision and source of the label that is held, if one is.
    pub newest: Option<(u64, Source)>,
}

/// A label as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLabel {
    /// Revision of the post.
    pub revision: u64,
    /// The input record.
    pub source: Source,
    /// Id of the published records.
    pub event_id: String,
    /// The decision.
    pub label: Label,
    /// Whether the model promises its accuracy for it.
    pub certain: bool,
    /// Of each label.
    pub probabilities: Probabilities,
    /// -1 to 1.
    pub valence: f32,
    /// P(positive | not neutral), 0 to 1.
    pub probability: f32,
    /// ISO 639 code, where the language of the text was identified.
    pub lang: Option<String>,
    /// The `sentiment.v1` record as it was published.
    pub sentiment_json: Bytes,
    /// Fused vector, f16 little-endian.
    pub u: Bytes,
    /// Vector of each modality that took part, f16 little-endian.
    pub modalities: PerModality<Option<Bytes>>,
    /// Second vector of the text, f16 little-endian, where there is one.
    pub semantic: Option<Bytes>,
    /// Milliseconds since 1970.
    pub labelled_at_ms: i64,
}

impl StoredLabel {
    /// The fused vector, `[dimensions]`.
    pub fn embedding(&self) -> Result<Vec<f32>, VectorError> {
        f32_from_f16_le(&self.u)
    }

    /// The vector of one modality, `[dimensions]`, if it took part.
    pub fn modality(&self, modality: Modality) -> Result<Option<Vec<f32>>, VectorError> {
        self.modalities.get(modality).as_deref().map(f32_from_f16_le).transpose()
    }
}

impl From<&LabelWrite> for StoredLabel {
    fn from(write: &LabelWrite) -> Self {
        StoredLabel {
            revision: write.revision,
            source: write.source,
            event_id: write.event_id.clone(),
            label: write.label,
            certain: write.certain,
            probabilities: write.probabilities,
            valence: write.valence,
            probability: write.probability,
            lang: write.lang.clone(),
            sentiment_json: write.sentiment_json.clone(),
            u: write.u.clone(),
            modalities: write.modalities.clone(),
            semantic: write.semantic.clone(),
            labelled_at_ms: write.labelled_at_ms,
        }
    }
}

/// `ttl` in the unit of `PX`. At least 1 ms (Redis refuses 0), at most a century (it refuses what overflows).
pub(crate) fn ttl_ms(ttl: Duration) -> u64 {
    const CENTURY_MS: u128 = 100 * 365 * 24 * 3_600 * 1_000;
    ttl.as_millis().clamp(1, CENTURY_MS) as u64
}
