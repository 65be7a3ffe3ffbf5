//! Parts of a checkpoint on their way into one: tensors by their names there, for callers that know nothing of libtorch.

use std::collections::BTreeMap;
use std::path::Path;

use jtav_model::ModelError;
use jtav_model::checkpoint::{Precision, StoredWeights, encode_weights};
use jtav_model::parameters::Stored as _;
use safetensors::SafeTensors;
use tch::Tensor;

/// Tensors by name. Copies share their values.
#[derive(Debug, Default)]
pub struct Tensors(BTreeMap<String, Tensor>);

impl Tensors {
    /// Adds those of another part; of two with one name its own stays out.
    pub fn add(&mut self, other: &Self) {
        self.0.extend(other.0.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())));
    }

    #[cfg(test)]
    pub(crate) fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Adds what a text's semantic vector is made with: `[width]` and `[dimensions, width]`, rows of zeros where fewer were
    /// fitted.
    ///
    /// # Errors
    /// A device fault.
    pub fn add_semantic(&mut self, mean: &[f32], matrix: &[f32], dimensions: usize) -> Result<(), ModelError> {
        let mut rows = matrix.to_vec();
        rows.resize(dimensions * mean.len(), 0.0);
        let matrix = Tensor::f_from_slice(&rows)?.f_view([dimensions as i64, mean.len() as i64])?;
        self.0.insert("text.semantic.mean".to_owned(), Tensor::f_from_slice(mean)?);
        self.0.insert("text.semantic.matrix".to_owned(), matrix);
        Ok(())
    }

    /// As a checkpoint stores them: matrices in f16.
    ///
    /// # Errors
    /// A tensor that cannot be read.
    pub fn encode(&self) -> Result<Vec<u8>, ModelError> {
        encode_weights(&self.0, Precision::Half, None)
    }

    /// Writes them in f32 to a safetensors file.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        std::fs::write(path, encode_weights(&self.0, Precision::Full, None)?).map_err(|e| ModelError::io(path, e))
    }

    /// Reads [`save`](Self::save)'s file.
    ///
    /// # Errors
    /// A file that is missing or is no such file.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(|e| ModelError::io(path, e))?;
        let malformed = |reason: String| ModelError::malformed(path, reason);
        let stored = StoredWeights::parse(&bytes).map_err(|reason| ModelError::malformed(path, reason))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|reason| malformed(reason.to_string()))?;
        let tensor = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
            let shape: Vec<i64> = view.shape().iter().map(|&side| side as i64).collect();
            let tensor = stored.tensor(&name, &shape)?;
            Ok((name, tensor))
        };
        file.tensors().into_iter().map(tensor).collect::<Result<_, ModelError>>().map(Self)
    }
}

impl From<BTreeMap<String, Tensor>> for Tensors {
    fn from(tensors: BTreeMap<String, Tensor>) -> Self {
        Self(tensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_read_again_and_a_part_adds_to_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.safetensors");
        let mut one = Tensors::from(BTreeMap::from([("a.b".to_owned(), Tensor::from_slice(&[1.0_f32, -0.1]))]));
        one.add_semantic(&[0.5, 0.25], &[1.0, 2.0], 3).unwrap();
        one.save(&path).unwrap();
        let mut other = Tensors::default();
        other.add(&Tensors::load(&path).unwrap());
        assert_eq!(other.0.keys().collect::<Vec<_>>(), ["a.b", "text.semantic.matrix", "text.semantic.mean"]);
        let values = Vec::<f32>::try_from(&other.0["text.semantic.matrix"].view([-1])).unwrap();
        assert_eq!(values, [1.0, 2.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(Tensors::load(&folder.path().join("none")).is_err());
    }
}
