use bytes::Bytes;
use half::f16;
use half::vec::HalfFloatVecExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Label, PerModality};

/// A vector as it is stored: half-precision, little-endian, base64 in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Vector {
    /// Number of components.
    pub dimensions: u32,
    /// Euclidean length before rounding to f16.
    pub l2_norm: f32,
    /// `2 × dimensions` bytes, IEEE 754 binary16, little-endian, base64 with padding (RFC 4648 section 4).
    #[serde(rename = "f16_le_base64", with = "in_base64")]
    #[schemars(with = "String")]
    pub f16_le: Bytes,
}

/// Why a vector is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VectorError {
    /// NaN or infinite, before or after rounding to f16.
    #[error("component {index} is not finite")]
    NotFinite {
        /// Index of the first such component.
        index: usize,
    },
    /// No component, or all of them zero.
    #[error("vector is empty or has no length")]
    ZeroNorm,
    /// Bytes that are no such vector.
    #[error("vector bytes: {0}")]
    Malformed(String),
}

impl VectorError {
    /// Never: the same vector is refused again.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

impl Vector {
    /// Checks and packs a vector: finite after rounding, and not zero.
    pub fn pack(values: &[f32]) -> Result<Vector, VectorError> {
        let bytes = f16_le_bytes(values)?;
        let l2_norm = values.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt() as f32;
        if l2_norm == 0.0 {
            return Err(VectorError::ZeroNorm);
        }
        Ok(Vector { dimensions: values.len() as u32, l2_norm, f16_le: bytes.into() })
    }

    /// Wraps bytes that are packed already, as the Redis keys hold them; the length is measured after the rounding,
    /// because the numbers before it are gone.
    pub fn from_f16_le(bytes: &[u8]) -> Result<Vector, VectorError> {
        Vector::pack(&f32_from_f16_le(bytes)?)
    }

    /// The components, `[dimensions]`.
    pub fn unpack(&self) -> Result<Vec<f32>, VectorError> {
        f32_from_f16_le(&self.packed()?)
    }

    /// The packed bytes, `2 × dimensions` of them, as the Redis keys hold them.
    pub fn packed(&self) -> Result<Bytes, VectorError> {
        if self.f16_le.len() != self.dimensions as usize * 2 {
            return Err(VectorError::Malformed(format!(
                "{} bytes where {} components are declared",
                self.f16_le.len(),
                self.dimensions
            )));
        }
        Ok(self.f16_le.clone())
    }
}

/// Bytes that are text in JSON.
mod in_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(Bytes::from).map_err(D::Error::custom)
    }
}

/// `embedding.v1`: the vectors of one revision of a post by one model. The Kafka key is the post id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "embedding.v1")]
pub struct EmbeddingV1 {
    /// The same id as the `sentiment.v1` record's.
    pub event_id: String,
    /// The post.
    pub post_id: String,
    /// Its revision.
    pub revision: u64,
    /// The fused vector `u` (paper, equation 3).
    pub fused: Vector,
    /// The vector of each modality that took part.
    pub modalities: PerModality<Option<Vector>>,
    /// What the text is about, for recommenders: a second vector of the text, made for comparison by cosine. Absent
    /// without text, and from a model that makes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semantic: Option<Vector>,
    /// As in the `sentiment.v1` record, to filter by.
    pub label: Label,
    /// As in the `sentiment.v1` record.
    pub certain: bool,
    /// As in the `sentiment.v1` record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z]{2,3}$"))]
    pub lang: Option<String>,
    /// Name and weights of the model.
    pub model_version: String,
    /// Timestamp of the input record, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time_ms: Option<i64>,
    /// When the vectors were made, milliseconds since 1970.
    pub labelled_at_ms: i64,
}

/// Packs `[n]` f32 as `2 n` bytes of little-endian f16; refuses what is not finite in f16.
pub fn f16_le_bytes(values: &[f32]) -> Result<Vec<u8>, VectorError> {
    // All at once: the processor converts eight in one step.
    let halves = Vec::<f16>::from_f32_slice(values);
    if let Some(index) = halves.iter().position(|half| !half.is_finite()) {
        return Err(VectorError::NotFinite { index });
    }
    let mut bytes = Vec::with_capacity(values.len() * 2);
    bytes.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
    if bytes.is_empty() { Err(VectorError::ZeroNorm) } else { Ok(bytes) }
}

/// Reads little-endian f16 bytes back.
pub fn f32_from_f16_le(bytes: &[u8]) -> Result<Vec<f32>, VectorError> {
    if !bytes.len().is_multiple_of(2) {
        return Err(VectorError::Malformed(format!("{} bytes is no whole number of f16", bytes.len())));
    }
    Ok(bytes.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_packed_vector_unpacks_to_the_same_numbers_within_half_precision(values in prop::collection::vec(-100f32..100.0, 1..200)) {
            prop_assume!(values.iter().any(|v| v.abs() > 1e-3));
            let packed = Vector::pack(&values).unwrap();
            let back = packed.unpack().unwrap();
            for (a, b) in values.iter().zip(&back) {
                prop_assert!((a - b).abs() <= a.abs() * 1e-3 + 1e-6);
            }
        }
    }

    #[test]
    fn a_vector_that_is_not_finite_or_has_no_length_is_refused() {
        assert_eq!(Vector::pack(&[1.0, f32::NAN]), Err(VectorError::NotFinite { index: 1 }));
        assert_eq!(Vector::pack(&[f32::INFINITY]), Err(VectorError::NotFinite { index: 0 }));
        assert_eq!(Vector::pack(&[1e30]), Err(VectorError::NotFinite { index: 0 }));
        assert_eq!(Vector::pack(&[0.0, 0.0]), Err(VectorError::ZeroNorm));
        assert_eq!(Vector::pack(&[]), Err(VectorError::ZeroNorm));
    }
}
