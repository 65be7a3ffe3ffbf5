//! From four trained networks to one folder.

use std::collections::BTreeMap;
use std::path::Path;

use super::{AudioTrainer, FusionTrainer, ImageTrainer, TextTrainer};
use crate::checkpoint::{Checkpoint, Manifest, Precision, encode_weights};
use crate::{ModelError, Vocabulary, probe};

/// Writes the trained networks to `folder` and returns the checkpoint as it reads back.
///
/// Of `manifest`, the standardisation, the image resolution and the height of the embedding table are taken from the
/// trainers and the vocabulary, the file hashes and the probe are computed; the rest is the caller's. The probe runs
/// on the weights as stored, so that later differences are the machine's and not those of f16.
pub fn assemble_checkpoint(
    text: &TextTrainer,
    vocabulary: &Vocabulary,
    audio: &AudioTrainer,
    image: &ImageTrainer,
    fusion: &FusionTrainer,
    mut manifest: Manifest,
    folder: &Path,
) -> Result<Checkpoint, ModelError> {
    let mut tensors = BTreeMap::new();
    for learner in [&text.learner, &audio.learner, &image.learner, &fusion.learner] {
        let copies = learner.parameters.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        tensors.extend(copies);
    }
    manifest.standardisation = audio.standardisation().clone();
    manifest.dimensions.embedding_rows = vocabulary.rows_total() as i64;
    manifest.dimensions.image_resolution = image.serve_resolution() as i64;
    let weights = encode_weights(&tensors, Precision::Half, None)?;
    let unproved = Checkpoint::from_parts(manifest.clone(), vocabulary.clone(), weights, folder)?;
    manifest.probe = Some(probe::record(&unproved)?);
    unproved.with_manifest(manifest).save(folder)?;
    Checkpoint::load(folder)
}
