//! DenseNet-121 out of a file of torchvision's weights, which whoever owns one may bring.
//!
//! `torch.save`d weights become such a file with `safetensors.torch.save_file(model.state_dict(), path)`.

use std::path::Path;

use tch::{Device, Tensor};

use super::densenet::{DenseNet, DenseNetConfig};
use crate::checkpoint::weights::{StoredWeights, read};
use crate::error::ModelError;
use crate::parameters::{Builder, Parameters, Stored};

/// What torchvision's file holds beside the backbone: the classifier of ImageNet's thousand classes, and how many batches
/// each normalisation has seen.
fn is_beside(name: &str) -> bool {
    name.starts_with("classifier.") || name.ends_with(".num_batches_tracked")
}

/// The name that the downloads of 2017 have for it: `norm.1` for `norm1`, in dense layers alone.
fn earlier_name(name: &str) -> String {
    let mut parts: Vec<String> = name.split('.').map(str::to_owned).collect();
    let of_layer = parts.iter().position(|part| part.starts_with("denselayer")).map(|at| at + 1);
    if let Some(part) = of_layer.and_then(|at| parts.get_mut(at)) {
        part.insert(part.len().saturating_sub(1), '.');
    }
    parts.join(".")
}

/// Weights under either of their names.
struct Torchvision<'a>(StoredWeights<'a>);

impl Stored for Torchvision<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, ModelError> {
        match self.0.tensor(name, shape) {
            Err(missing @ ModelError::MissingTensor { .. }) => match self.0.tensor(&earlier_name(name), shape) {
                Err(ModelError::MissingTensor { .. }) => Err(missing),
                found => found,
            },
            found => found,
        }
    }
}

impl Torchvision<'_> {
    /// Refuses a tensor that belongs to another network, and a value that is not finite.
    fn check(&self, parameters: &Parameters) -> Result<(), ModelError> {
        let ours = |name: &str| {
            parameters.tensors.contains_key(name) || parameters.tensors.keys().any(|ours| earlier_name(ours) == name)
        };
        if let Some(name) = self.0.names().find(|name| !is_beside(name) && !ours(name)) {
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

/// The backbone and its tensors by torchvision's names (`features...`), from a safetensors file; `classifier` and
/// `num_batches_tracked` are not read.
///
/// # Errors
/// A file that cannot be read or parsed; for another network's weights one that names the file and the tensor.
pub fn densenet_of_torchvision(path: &Path, device: Device) -> Result<(DenseNet, Parameters), ModelError> {
    let bytes = read(path)?;
    let stored = StoredWeights::parse(&bytes).map_err(|reason| ModelError::malformed(path, reason))?;
    let stored = Torchvision(stored);
    let build = || {
        let builder = Builder::stored(&stored, device);
        let network = DenseNet::new(&builder.scope(""), DenseNetConfig::DENSENET_121)?;
        let parameters = builder.finish();
        stored.check(&parameters)?;
        Ok((network, parameters))
    };
    build().map_err(|error: ModelError| match error.is_fatal() {
        true => error,
        false => ModelError::malformed(path, error),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::checkpoint::weights::{Precision, encode_weights};
    use crate::networks::formula::wave;
    use crate::parameters::to_vec;

    fn drawn() -> (DenseNet, BTreeMap<String, Tensor>) {
        let builder = Builder::fresh(5, Device::Cpu);
        let network = DenseNet::new(&builder.scope(""), DenseNetConfig::DENSENET_121).unwrap();
        (network, builder.finish().tensors)
    }

    /// As torchvision writes it: with a classifier, and a count of batches beside each normalisation.
    fn with_the_rest(mut tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
        let norms: Vec<String> =
            tensors.keys().filter_map(|name| name.strip_suffix("running_var")).map(str::to_owned).collect();
        tensors.extend(norms.into_iter().map(|norm| (format!("{norm}num_batches_tracked"), wave(&[1], 0.1))));
        tensors.insert("classifier.weight".to_owned(), wave(&[1000, 1024], 0.1));
        tensors.insert("classifier.bias".to_owned(), wave(&[1000], 0.1));
        tensors
    }

    fn written(folder: &Path, tensors: &BTreeMap<String, Tensor>) -> std::path::PathBuf {
        let path = folder.join("densenet121.safetensors");
        std::fs::write(&path, encode_weights(tensors, Precision::Full, None).unwrap()).unwrap();
        path
    }

    #[test]
    fn a_file_of_torchvision_gives_the_network_it_was_written_from() {
        let _guard = tch::no_grad_guard();
        let (network, tensors) = drawn();
        let folder = tempfile::tempdir().unwrap();
        let earlier = tensors.iter().map(|(name, tensor)| (earlier_name(name), tensor.shallow_clone())).collect();
        let x = wave(&[1, 3, 64, 64], 0.13);
        let expected = to_vec(&network.forward(&x, false).unwrap()).unwrap();
        let names: Vec<String> = tensors.keys().cloned().collect();
        for tensors in [tensors, earlier] {
            let path = written(folder.path(), &with_the_rest(tensors));
            let (network, parameters) = densenet_of_torchvision(&path, Device::Cpu).unwrap();
            assert_eq!(to_vec(&network.forward(&x, false).unwrap()).unwrap(), expected);
            assert_eq!(parameters.tensors.keys().cloned().collect::<Vec<_>>(), names);
        }
    }

    #[test]
    fn a_file_of_another_network_is_refused_by_the_name_of_a_tensor() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |change: &dyn Fn(&mut BTreeMap<String, Tensor>), tensor: &str| {
            let mut tensors = with_the_rest(drawn().1);
            change(&mut tensors);
            let path = written(folder.path(), &tensors);
            let error = densenet_of_torchvision(&path, Device::Cpu).err().unwrap().to_string();
            assert!(error.contains(&format!("`{tensor}`")) && error.contains("densenet121.safetensors"), "{error}");
        };
        // DenseNet-169 has more layers, DenseNet-161 wider ones, a ResNet none of this.
        let more = "features.denseblock3.denselayer25.norm1.weight";
        refused(&|tensors| drop(tensors.insert(more.to_owned(), wave(&[1024], 0.1))), more);
        let stem = "features.conv0.weight";
        refused(&|tensors| drop(tensors.insert(stem.to_owned(), wave(&[96, 3, 7, 7], 0.1))), stem);
        refused(&|tensors| drop(tensors.remove(stem)), stem);
        refused(&|tensors| *tensors = BTreeMap::from([("layer1.weight".to_owned(), wave(&[2], 0.1))]), stem);
    }

    #[test]
    fn names_of_2017_have_a_dot_before_the_number_in_dense_layers_alone() {
        let earlier = earlier_name("features.denseblock1.denselayer12.conv2.weight");
        assert_eq!(earlier, "features.denseblock1.denselayer12.conv.2.weight");
        for name in ["features.norm0.weight", "features.transition1.norm.weight", "features.norm5.bias", ""] {
            assert_eq!(earlier_name(name), name);
        }
    }
}
