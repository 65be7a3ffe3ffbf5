//! From four trained networks to one folder.

use std::collections::BTreeMap;
use std::path::Path;

use jtav_model::checkpoint::{Precision, encode_weights};
use jtav_model::{Checkpoint, Manifest, ModelError, Vocabulary, record_probe};

use crate::audio::AudioTrainer;
use crate::fusion::FusionTrainer;
use crate::image::ImageTrainer;
use crate::text::TextTrainer;

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
    manifest.probe = Some(record_probe(&unproved)?);
    unproved.with_manifest(manifest).save(folder)?;
    Checkpoint::load(folder)
}
