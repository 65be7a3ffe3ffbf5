//! From trained networks to one folder.

use std::path::Path;

use crate::tensors::Tensors;
use jtav_model::{Bases, Checkpoint, Manifest, ModelError, record_probe};

/// Writes the networks to `folder` and returns the checkpoint as it reads back.
///
/// `tensors` are those of all trainers together, by the names of the checkpoint. Of `manifest`, the file hashes and the probe
/// are computed; the rest is the caller's. The probe runs on the weights as stored, so that later differences are the
/// machine's and not those of f16.
///
/// # Errors
/// A tensor that is missing or that no network reads, a base that is missing, a folder that cannot be written.
pub fn assemble_checkpoint(
    tensors: &Tensors,
    mut manifest: Manifest,
    bases: &Bases,
    folder: &Path,
) -> Result<Checkpoint, ModelError> {
    let weights = tensors.encode()?;
    let unproved = Checkpoint::from_parts(manifest.clone(), bases.clone(), weights, folder)?;
    manifest.probe = Some(record_probe(&unproved)?);
    unproved.with_manifest(manifest).save(folder)?;
    Checkpoint::load(folder)
}
