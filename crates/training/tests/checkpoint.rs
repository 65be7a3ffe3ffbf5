//! A checkpoint survives the disk, and nothing else does.

mod common;

use std::path::Path;

use jtav_model::{Checkpoint, FusionNetwork, ModelError, parity_probe};

#[test]
fn a_checkpoint_reads_back_whole_and_answers_its_own_probe() {
    let folder = tempfile::tempdir().unwrap();
    let written = common::checkpoint(folder.path());
    let read = Checkpoint::load(folder.path()).unwrap();
    assert_eq!(read.manifest(), written.manifest());
    assert_eq!(read.vocabulary(), written.vocabulary());
    assert_eq!(read.model_version(), written.model_version());
    assert!(read.model_version().starts_with("jtav-modern-") && read.model_version().len() == 24);
    let report = parity_probe(&read, common::device()).unwrap();
    assert!(report.text_cosine > 0.9999 && report.audio_cosine > 0.9999, "{report:?}");
    assert!(report.image_cosine > 0.999 && report.probability_difference < 0.02, "{report:?}");
}

#[test]
fn saving_to_another_folder_keeps_the_version() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let written = common::checkpoint(first.path());
    written.save(&second.path().join("new/folder")).unwrap();
    let read = Checkpoint::load(&second.path().join("new/folder")).unwrap();
    assert_eq!(read.model_version(), written.model_version());
}

#[test]
fn one_flipped_bit_in_any_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    common::checkpoint(folder.path());
    for name in ["weights.safetensors", "vocabulary.json"] {
        let path = folder.path().join(name);
        let sound = std::fs::read(&path).unwrap();
        let mut broken = sound.clone();
        let middle = broken.len() / 2;
        broken[middle] ^= 1;
        std::fs::write(&path, &broken).unwrap();
        let error = Checkpoint::load(folder.path()).unwrap_err();
        assert!(matches!(error, ModelError::HashMismatch { .. }) && error.to_string().contains(name), "{error}");
        std::fs::write(&path, &sound[..middle]).unwrap();
        assert!(Checkpoint::load(folder.path()).is_err(), "half of {name} was accepted");
        std::fs::remove_file(&path).unwrap();
        let error = Checkpoint::load(folder.path()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        std::fs::write(&path, &sound).unwrap();
    }
    Checkpoint::load(folder.path()).unwrap();
}

/// Rewrites the weights with one change and a manifest that vouches for them.
fn rewrite(folder: &Path, change: impl Fn(&mut Vec<(String, safetensors::tensor::TensorView<'_>)>)) -> ModelError {
    let path = folder.join("weights.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let stored = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = stored.tensors();
    change(&mut tensors);
    let changed = safetensors::serialize(tensors, None).unwrap();
    std::fs::write(&path, &changed).unwrap();
    let manifest_path = folder.join("manifest.json");
    let manifest = std::fs::read(&manifest_path).unwrap();
    let mut edited: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    edited["files"]["weights.safetensors"] = sha256(&changed).into();
    std::fs::write(&manifest_path, edited.to_string()).unwrap();
    let error = Checkpoint::load(folder).unwrap_err();
    std::fs::write(&path, &bytes).unwrap();
    std::fs::write(&manifest_path, &manifest).unwrap();
    Checkpoint::load(folder).unwrap();
    error
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(bytes))
}

#[test]
fn weights_that_lack_change_or_add_a_tensor_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    common::checkpoint(folder.path());
    let name = "image.features.denseblock3.denselayer7.conv2.weight";
    let missing = rewrite(folder.path(), |tensors| tensors.retain(|(tensor, _)| tensor != name));
    assert!(matches!(&missing, ModelError::MissingTensor { name: found } if found == name), "{missing}");

    let bias = "text.dense.bias";
    let misshaped = rewrite(folder.path(), |tensors| {
        let other =
            tensors.iter().find(|(tensor, _)| tensor == "text.norm.bias").map(|(_, view)| view.clone()).unwrap();
        tensors.iter_mut().find(|(tensor, _)| tensor == bias).unwrap().1 = other;
    });
    assert!(matches!(&misshaped, ModelError::Misshaped { name, .. } if name == bias), "{misshaped}");

    let unexpected = rewrite(folder.path(), |tensors| {
        let copy = tensors[0].1.clone();
        tensors.push(("text.extra".to_owned(), copy));
    });
    assert!(matches!(&unexpected, ModelError::UnexpectedTensor { name } if name == "text.extra"), "{unexpected}");

    let nan = f32::NAN.to_le_bytes().repeat(98);
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![98], &nan).unwrap();
    let path = folder.path().join("weights.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let stored = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensors = stored.tensors().into_iter().map(|(n, v)| if n == bias { (n, view.clone()) } else { (n, v) });
    let changed = safetensors::serialize(tensors, None).unwrap();
    std::fs::write(&path, &changed).unwrap();
    let manifest_path = folder.path().join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest_path).unwrap()).unwrap();
    manifest["files"]["weights.safetensors"] = sha256(&changed).into();
    std::fs::write(&manifest_path, manifest.to_string()).unwrap();
    let not_finite = Checkpoint::load(folder.path()).unwrap_err();
    assert!(matches!(&not_finite, ModelError::NotFinite { name } if name == bias), "{not_finite}");
}

#[test]
fn a_manifest_that_is_strange_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    common::checkpoint(folder.path());
    let path = folder.path().join("manifest.json");
    let sound = std::fs::read(&path).unwrap();
    let edits: [(&str, serde_json::Value, &str); 8] = [
        ("/profile", "paper".into(), "paper"),
        ("/format", 9.into(), "format 9"),
        ("/format", 1.into(), "train again"),
        ("/dimensions/ngram_buckets", 0.into(), "ngram_buckets"),
        ("/dimensions/embedding_rows", 1_000_000_000_000_i64.into(), "embedding_rows"),
        ("/dimensions/vector", 0.into(), "vector"),
        ("/standardisation/std/3", 0.into(), "standardisation"),
        ("/moods", serde_json::json!(["Q1"]), "moods"),
    ];
    for (pointer, value, reason) in edits {
        let mut manifest: serde_json::Value = serde_json::from_slice(&sound).unwrap();
        *manifest.pointer_mut(pointer).unwrap() = value;
        std::fs::write(&path, manifest.to_string()).unwrap();
        let error = Checkpoint::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("manifest.json") && error.contains(reason), "{pointer}: {error}");
    }
    std::fs::write(&path, b"{").unwrap();
    assert!(matches!(Checkpoint::load(folder.path()), Err(ModelError::Malformed { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(Checkpoint::load(folder.path()), Err(ModelError::Io { .. })));
}

#[test]
fn a_wrong_probe_is_a_parity_error() {
    let folder = tempfile::tempdir().unwrap();
    common::checkpoint(folder.path());
    let path = folder.path().join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["probe"]["probability"]["text+image"] = 2.0.into();
    std::fs::write(&path, manifest.to_string()).unwrap();
    let checkpoint = Checkpoint::load(folder.path()).unwrap();
    assert!(matches!(parity_probe(&checkpoint, common::device()), Err(ModelError::Parity(_))));
}

#[test]
fn networks_may_move_to_the_thread_that_owns_them() {
    fn is_send<T: Send>() {}
    is_send::<jtav_model::TextNetwork>();
    is_send::<jtav_model::AudioNetwork>();
    is_send::<jtav_model::ImageNetwork>();
    is_send::<FusionNetwork>();
    is_send::<jtav_training::TextTrainer>();
    fn is_sync<T: Sync + Send>() {}
    is_sync::<Checkpoint>();
    is_sync::<ModelError>();
}
