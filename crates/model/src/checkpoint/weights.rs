//! Named tensors in the safetensors format.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, View};
use tch::{Kind, Tensor};

use crate::bases::Base;
use crate::error::ModelError;
use crate::parameters::{Parameters, Stored, to_vec};

/// A parsed view of a weights file.
pub struct StoredWeights<'a>(SafeTensors<'a>);

impl<'a> StoredWeights<'a> {
    /// Reads the header; tensors are read when they are asked for.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        SafeTensors::deserialize(bytes).map(Self).map_err(|e| e.to_string())
    }

    /// The same of a base's bytes.
    ///
    /// # Errors
    /// [`ModelError`] that names the base's file.
    pub fn of_base(base: &Base, bytes: &'a [u8]) -> Result<Self, ModelError> {
        Self::parse(bytes).map_err(|reason| ModelError::malformed(base.file.as_ref(), reason))
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name)
    }

    /// Refuses a file that holds a tensor none of these was read from, and one with a value that is not finite.
    pub(crate) fn check_all_read(&self, parameters: &Parameters) -> Result<(), ModelError> {
        if let Some(name) = self.names().find(|name| !parameters.tensors.contains_key(*name)) {
            return Err(ModelError::UnexpectedTensor { name: name.to_owned() });
        }
        for (name, tensor) in &parameters.tensors {
            if tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
                return Err(ModelError::NotFinite { name: name.clone() });
            }
        }
        Ok(())
    }
}

impl Stored for StoredWeights<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, ModelError> {
        let view = self.0.tensor(name).map_err(|_| ModelError::MissingTensor { name: name.to_owned() })?;
        let found: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
        if found != shape {
            return Err(ModelError::Misshaped { name: name.to_owned(), expected: shape.to_vec(), found });
        }
        let kind = match view.dtype() {
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::F32 => Kind::Float,
            other => return Err(ModelError::Torch(format!("tensor `{name}` is stored as {other:?}"))),
        };
        Ok(Tensor::f_from_data_size(view.data(), shape, kind)?.f_to_kind(Kind::Float)?)
    }
}

/// Precision of a written file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Tensors of two and more dimensions as f16, vectors as f32.
    Half,
    /// All f32, for states that training goes on from.
    Full,
}

struct Owned {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for &Owned {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The bytes of a safetensors file; a value that f16 cannot hold is an error that names its tensor.
pub fn encode_weights(
    tensors: &BTreeMap<String, Tensor>,
    precision: Precision,
    metadata: Option<HashMap<String, String>>,
) -> Result<Vec<u8>, ModelError> {
    let mut owned = BTreeMap::new();
    for (name, tensor) in tensors {
        let values = to_vec(tensor)?;
        if !values.iter().all(|value| value.is_finite()) {
            return Err(ModelError::NotFinite { name: name.clone() });
        }
        let shape: Vec<usize> = tensor.size().iter().map(|&size| size as usize).collect();
        let encoded = if precision == Precision::Half && shape.len() >= 2 {
            let halves: Vec<f16> = values.iter().map(|&value| f16::from_f32(value)).collect();
            if halves.iter().any(|half| half.is_infinite()) {
                return Err(ModelError::NotFinite { name: name.clone() });
            }
            Owned { dtype: Dtype::F16, shape, bytes: bytemuck::cast_slice(&halves).to_vec() }
        } else {
            Owned { dtype: Dtype::F32, shape, bytes: bytemuck::cast_slice(&values).to_vec() }
        };
        owned.insert(name.as_str(), encoded);
    }
    safetensors::serialize(owned.iter().map(|(name, tensor)| (*name, tensor)), metadata)
        .map_err(|e| ModelError::Torch(e.to_string()))
}

/// The bytes of a file, or an error that names it.
pub fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(|e| ModelError::io(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_are_halved_and_vectors_are_not() {
        let tensors = BTreeMap::from([
            ("matrix".to_owned(), Tensor::from_slice(&[0.1_f32, 2.0, -3.0, 4.5]).view([2, 2])),
            ("vector".to_owned(), Tensor::from_slice(&[1e-8_f32])),
        ]);
        let bytes = encode_weights(&tensors, Precision::Half, None).unwrap();
        let stored = StoredWeights::parse(&bytes).unwrap();
        let matrix = to_vec(&stored.tensor("matrix", &[2, 2]).unwrap()).unwrap();
        assert_eq!(matrix, [f16::from_f32(0.1).to_f32(), 2.0, -3.0, 4.5]);
        assert_eq!(to_vec(&stored.tensor("vector", &[1]).unwrap()).unwrap(), [1e-8]);
        assert!(matches!(stored.tensor("vector", &[2]), Err(ModelError::Misshaped { .. })));
        assert!(matches!(stored.tensor("other", &[2]), Err(ModelError::MissingTensor { .. })));
    }

    #[test]
    fn a_value_beyond_f16_is_refused_by_name() {
        let tensors = BTreeMap::from([("big".to_owned(), Tensor::from_slice(&[1e6_f32, 0.0]).view([1, 2]))]);
        let error = encode_weights(&tensors, Precision::Half, None).unwrap_err();
        assert!(error.to_string().contains("`big`"), "{error}");
        assert!(encode_weights(&tensors, Precision::Full, None).is_ok());
    }
}
