use tch::Tensor;

use super::*;
use crate::inference::drawn;
use crate::manifest::{LIGHT, MODERN};
use crate::parameters::Stored as _;

fn copy(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
}

#[test]
fn a_folder_of_either_profile_reads_back_and_holds_nothing_of_its_bases() {
    for profile in [MODERN, LIGHT] {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = drawn::checkpoint(drawn::manifest(profile)).unwrap();
        checkpoint.save(folder.path()).unwrap();
        let loaded = Checkpoint::load(folder.path()).unwrap();
        assert_eq!(loaded.model_version(), checkpoint.model_version());
        assert_eq!(loaded.manifest().bases, checkpoint.manifest().bases);
        let stored = loaded.stored().unwrap();
        assert!(!stored.names().any(|name| name.contains("embeddings") || name.starts_with("image.features")));
        assert_eq!(stored.names().any(|name| name == "text.bag.weight"), profile == LIGHT);
        assert_eq!(stored.names().any(|name| name == "text.semantic.matrix"), profile == MODERN);
    }
}

#[test]
fn weights_with_a_tensor_too_many_too_few_or_of_another_profile_are_refused_by_name() {
    let checkpoint = drawn::checkpoint(drawn::manifest(LIGHT)).unwrap();
    let stored = checkpoint.stored().unwrap();
    let shapes = safetensors::SafeTensors::deserialize(&checkpoint.weights).unwrap();
    let tensor = |name: &str| {
        let shape: Vec<i64> = shapes.tensor(name).unwrap().shape().iter().map(|&size| size as i64).collect();
        stored.tensor(name, &shape).unwrap()
    };
    let tensors: BTreeMap<String, Tensor> = stored.names().map(|name| (name.to_owned(), tensor(name))).collect();
    let refused = |tensors: &BTreeMap<String, Tensor>, manifest: Manifest| {
        let weights = encode_weights(tensors, Precision::Half, None).unwrap();
        Checkpoint::from_parts(manifest, Bases::new(None, None), weights, Path::new("drawn")).unwrap_err()
    };
    let manifest = || checkpoint.manifest().clone();
    let mut fewer = copy(&tensors);
    assert!(fewer.remove("text.counted").is_some());
    let error = refused(&fewer, manifest());
    assert!(matches!(&error, ModelError::MissingTensor { name } if name == "text.counted"), "{error}");
    // What the text network of an earlier format had.
    let mut more = copy(&tensors);
    more.insert("text.embedding.weight".to_owned(), Tensor::from_slice(&[0.0_f32]));
    let error = refused(&more, manifest());
    assert!(matches!(&error, ModelError::UnexpectedTensor { name } if name == "text.embedding.weight"), "{error}");
    let error = refused(&tensors, drawn::manifest(MODERN));
    assert!(matches!(error, ModelError::Misshaped { .. }), "{error}");
}

#[test]
fn a_folder_of_an_earlier_format_says_to_train_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(MANIFEST), r#"{"format": 2, "profile": "modern"}"#).unwrap();
    let error = Checkpoint::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("format 2") && error.contains("train again"), "{error}");
}

#[test]
fn weights_that_were_changed_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    drawn::checkpoint(drawn::manifest(LIGHT)).unwrap().save(folder.path()).unwrap();
    let path = folder.path().join(WEIGHTS);
    let mut bytes = read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(Checkpoint::load(folder.path()), Err(ModelError::HashMismatch { .. })));
}
