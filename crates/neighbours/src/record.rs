//! A record, checked and brought into the form in which it is kept.

use half::f16;
use jtav_schemas::{EmbeddingV1, Modality, Vector, VectorError};

use crate::meta::Meta;
use crate::{IndexError, VectorKind};

/// Most components of a vector.
pub const MAX_DIMENSIONS: usize = 4_096;
/// Longest post id in bytes of UTF-8: 256 characters.
pub(crate) const MAX_ID_BYTES: usize = 1_024;
/// Longest model version in bytes.
pub(crate) const MAX_MODEL_BYTES: usize = 256;

/// A direction and a length.
pub(crate) struct UnitVector {
    /// `[dimensions]`, of Euclidean length 1 within the rounding to f16.
    pub(crate) components: Vec<f16>,
    /// Length before.
    pub(crate) norm: f32,
}

/// What the index keeps of a record.
pub(crate) struct Prepared<'a> {
    pub(crate) post_id: &'a str,
    pub(crate) model: &'a str,
    pub(crate) revision: u64,
    pub(crate) meta: Meta,
    /// When the post was made, or labelled where nobody knows; never in the future.
    pub(crate) time_ms: i64,
    pub(crate) labelled_at_ms: i64,
    pub(crate) vectors: Vec<(VectorKind, UnitVector)>,
}

impl<'a> Prepared<'a> {
    /// Everything that can be wrong with a record is found here, before anything is changed.
    pub(crate) fn of(record: &'a EmbeddingV1, now_ms: i64) -> Result<Self, IndexError> {
        check_name("post id", &record.post_id, MAX_ID_BYTES)?;
        check_name("model version", &record.model_version, MAX_MODEL_BYTES)?;
        let modality = |modality| record.modalities.get(modality).as_ref();
        let by_kind = [
            (VectorKind::Semantic, record.semantic.as_ref()),
            (VectorKind::U, Some(&record.fused)),
            (VectorKind::Text, modality(Modality::Text)),
            (VectorKind::Audio, modality(Modality::Audio)),
            (VectorKind::Image, modality(Modality::Image)),
        ];
        let there = by_kind.into_iter().filter_map(|(kind, vector)| Some((kind, vector?)));
        let vectors =
            there.map(|(kind, vector)| Ok((kind, unpacked(kind, vector)?))).collect::<Result<_, IndexError>>()?;
        let labelled_at_ms = record.labelled_at_ms.min(now_ms);
        Ok(Self {
            post_id: &record.post_id,
            model: &record.model_version,
            revision: record.revision,
            meta: Meta::new(record.label, record.certain, record.lang.as_deref(), record.event_time_ms.is_some()),
            time_ms: record.event_time_ms.map_or(labelled_at_ms, |time_ms| time_ms.min(now_ms)),
            labelled_at_ms,
            vectors,
        })
    }
}

fn check_name(what: &'static str, name: &str, max_bytes: usize) -> Result<(), IndexError> {
    let bytes = name.len();
    if (1..=max_bytes).contains(&bytes) { Ok(()) } else { Err(IndexError::Name { what, bytes, max_bytes }) }
}

fn unpacked(kind: VectorKind, vector: &Vector) -> Result<UnitVector, IndexError> {
    // Before anything is made of it.
    let dimensions = (vector.dimensions as usize).max(vector.f16_le.len() / 2);
    if dimensions > MAX_DIMENSIONS {
        return Err(IndexError::TooLong { kind, dimensions, max: MAX_DIMENSIONS });
    }
    unit(kind, &vector.unpack().map_err(|source| IndexError::Vector { kind, source })?)
}

/// Direction and length of a vector of 1 to [`MAX_DIMENSIONS`] finite components that are not all 0.
pub(crate) fn unit(kind: VectorKind, values: &[f32]) -> Result<UnitVector, IndexError> {
    let (exact, norm) = direction(kind, values)?;
    let components = exact.map(f16::from_f64).collect();
    Ok(UnitVector { components, norm: norm as f32 })
}

/// As [`unit`], for a question: components in f32.
pub(crate) fn unit_f32(kind: VectorKind, values: &[f32]) -> Result<Vec<f32>, IndexError> {
    Ok(direction(kind, values)?.0.map(|value| value as f32).collect())
}

fn direction(kind: VectorKind, values: &[f32]) -> Result<(impl Iterator<Item = f64>, f64), IndexError> {
    if values.len() > MAX_DIMENSIONS {
        return Err(IndexError::TooLong { kind, dimensions: values.len(), max: MAX_DIMENSIONS });
    }
    let refused = |source| Err(IndexError::Vector { kind, source });
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return refused(VectorError::NotFinite { index });
    }
    // The square of the smallest f32 is an f64 above 0, and that of the largest is finite.
    let norm = values.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
    if norm == 0.0 {
        return refused(VectorError::ZeroNorm);
    }
    Ok((values.iter().map(move |value| f64::from(*value) / norm), norm))
}
