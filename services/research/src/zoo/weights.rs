//! Published weights of a backbone.

use std::path::Path;

use jtav_model::ModelError;
use jtav_model::checkpoint::{StoredWeights, sha256};
use jtav_model::parameters::{Parameters, Stored};
use tch::Tensor;

use crate::zoo::architecture::Backbone;
use crate::zoo::networks::is_classifier;

/// Copies a file into the tensors whose names start with `prefix`; see [`Trainer::load_backbone`].
///
/// [`Trainer::load_backbone`]: super::Trainer::load_backbone
pub(super) fn load(
    parameters: &mut Parameters,
    prefix: &str,
    backbone: Backbone,
    path: &Path,
    expected: &str,
) -> Result<(), ModelError> {
    let bytes = std::fs::read(path).map_err(|e| ModelError::io(path, e))?;
    let found = sha256(&bytes);
    if !found.eq_ignore_ascii_case(expected) {
        return Err(ModelError::HashMismatch { path: path.to_owned(), expected: expected.to_owned(), found });
    }
    let stored = StoredWeights::parse(&bytes).map_err(|reason| ModelError::malformed(path, reason))?;
    for name in stored.names() {
        let counter = name.strip_suffix("num_batches_tracked").map(|layer| format!("{prefix}{layer}running_mean"));
        let known = parameters.tensors.contains_key(&format!("{prefix}{name}"))
            || counter.is_some_and(|mean| parameters.tensors.contains_key(&mean))
            || is_classifier(backbone, name);
        if !known {
            return Err(ModelError::UnexpectedTensor { name: name.to_owned() });
        }
    }
    let mut values: Vec<(&mut Tensor, Tensor)> = Vec::new();
    for (name, tensor) in &mut parameters.tensors {
        let Some(name) = name.strip_prefix(prefix) else { continue };
        let value = stored.tensor(name, &tensor.size())?;
        if value.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
            return Err(ModelError::NotFinite { name: name.to_owned() });
        }
        values.push((tensor, value));
    }
    let _guard = tch::no_grad_guard();
    for (tensor, value) in values {
        tensor.f_copy_(&value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::networks::ImageEncoder;
    use jtav_model::checkpoint::{Precision, encode_weights};
    use jtav_model::parameters::Builder;
    use std::collections::BTreeMap;
    use tch::{Device, Kind};

    const BACKBONE: Backbone = Backbone::DenseNet121;

    fn parameters(seed: u64) -> Parameters {
        let builder = Builder::fresh(seed, Device::Cpu);
        ImageEncoder::new(&builder.scope("n"), BACKBONE, 10).unwrap();
        builder.finish()
    }

    fn total(parameters: &Parameters, prefix: &str) -> f64 {
        let named = parameters.tensors.iter().filter(|(name, _)| name.starts_with(prefix));
        named.map(|(_, tensor)| tensor.abs().sum(Kind::Double).double_value(&[])).sum()
    }

    /// What torchvision writes, with the layer of 1000 classes and the counters of batches.
    fn published(parameters: &Parameters) -> BTreeMap<String, Tensor> {
        let backbone = parameters
            .tensors
            .iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix("n.backbone.")?.to_owned(), tensor.shallow_clone())));
        let mut tensors: BTreeMap<String, Tensor> = backbone.collect();
        tensors.insert("classifier.weight".to_owned(), Tensor::zeros([1000, 1024], (Kind::Float, Device::Cpu)));
        tensors.insert("features.norm0.num_batches_tracked".to_owned(), Tensor::from_slice(&[0.0_f32]));
        tensors
    }

    /// Loads a file of these tensors; when it is refused, no weight may have changed.
    fn loaded(tensors: &BTreeMap<String, Tensor>, into: &mut Parameters) -> Result<(), ModelError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        let bytes = encode_weights(tensors, Precision::Full, None).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let before = total(into, "n.");
        let result = load(into, "n.backbone.", BACKBONE, &path, &sha256(&bytes).to_uppercase());
        assert!(result.is_ok() || total(into, "n.") == before, "a refused file changed the weights");
        result
    }

    #[test]
    fn a_file_with_torchvisions_names_fills_the_backbone_and_nothing_else() {
        let (source, mut target) = (parameters(1), parameters(2));
        let head = total(&target, "n.dense");
        assert_ne!(total(&source, "n.backbone."), total(&target, "n.backbone."));
        loaded(&published(&source), &mut target).unwrap();
        assert_eq!(total(&source, "n.backbone."), total(&target, "n.backbone."));
        assert_eq!(total(&target, "n.dense"), head);
    }

    #[test]
    fn partial_superfluous_and_altered_files_are_refused() {
        let (source, mut target) = (parameters(1), parameters(2));
        let mut partial = published(&source);
        partial.remove("features.denseblock2.denselayer3.norm1.bias");
        assert!(
            matches!(loaded(&partial, &mut target), Err(ModelError::MissingTensor { name }) if name.contains("denselayer3"))
        );
        for name in ["features.norm0.extra", "fc.weight", "features.other.num_batches_tracked"] {
            let mut more = published(&source);
            more.insert(name.to_owned(), Tensor::from_slice(&[0.0_f32]));
            assert!(
                matches!(loaded(&more, &mut target), Err(ModelError::UnexpectedTensor { name: found }) if found == name)
            );
        }
        let mut misshaped = published(&source);
        misshaped.insert("features.norm5.bias".to_owned(), Tensor::from_slice(&[0.0_f32]));
        assert!(matches!(loaded(&misshaped, &mut target), Err(ModelError::Misshaped { .. })));

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        std::fs::write(&path, b"other bytes").unwrap();
        let refused = load(&mut target, "n.backbone.", BACKBONE, &path, &sha256(b"the bytes"));
        assert!(matches!(refused, Err(ModelError::HashMismatch { .. })));
        let refused = load(&mut target, "n.backbone.", BACKBONE, &path, &sha256(b"other bytes"));
        assert!(matches!(refused, Err(ModelError::Malformed { .. })));
    }
}
