//! Published weights of a backbone.

use std::path::Path;

use tch::Tensor;

use super::Backbone;
use crate::ModelError;
use crate::checkpoint::{StoredWeights, sha256};
use crate::networks::zoo::is_classifier;
use crate::parameters::{Parameters, Stored};

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
