//! A checkpoint is a folder: `manifest.json` and `weights.safetensors` (ADR 42). What its networks stand on lies elsewhere
//! ([`Bases`]), or beside the two in a packed one.
//!
//! Matrices and kernels are stored as f16; vectors (biases, norms, running statistics) stay f32: they are 1 % of the
//! bytes, and a running variance of 1e-8 has no f16.

pub(crate) mod weights;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tch::Device;

pub use weights::{Precision, StoredWeights, encode_weights, read};

use crate::bases::Bases;
use crate::error::ModelError;
use crate::manifest::{ImageBackbone, Manifest};
use crate::networks::{AttBiGru, AudioModel, ImageHead, ImageModel, Joint, SemanticSpace, TextDropout};
use crate::parameters::Builder;

/// Name of the manifest in a checkpoint's folder.
pub const MANIFEST: &str = "manifest.json";
/// Name of the weights in a checkpoint's folder.
pub const WEIGHTS: &str = "weights.safetensors";

/// A verified checkpoint in memory; cheap to clone, no device involved.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    manifest: Arc<Manifest>,
    bases: Arc<Bases>,
    weights: Arc<Vec<u8>>,
    weights_sha256: String,
}

impl Checkpoint {
    /// Reads and checks the manifest of a folder and nothing else of it.
    pub fn read_manifest(folder: &Path) -> Result<Manifest, ModelError> {
        let path = folder.join(MANIFEST);
        Manifest::from_json(&read(&path)?).map_err(|reason| ModelError::malformed(&path, reason))
    }

    /// Reads a folder. The weights must have the hash that the manifest names and hold every tensor of the profile in its
    /// shape, finite, and no other. Bases are looked for in the usual places ([`Bases::new`]) when a network is built.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        Self::load_with(folder, None)
    }

    /// The same, with a folder of base weights that is looked at before the usual places.
    pub fn load_with(folder: &Path, weights: Option<&Path>) -> Result<Self, ModelError> {
        let (manifest, bytes) = Self::read_verified(folder)?;
        Self::from_parts(manifest, Bases::new(Some(folder), weights), bytes, &folder.join(WEIGHTS))
    }

    /// Manifest and weights of a folder, whose hash is the one that the manifest names. No network is built, and so nobody
    /// has looked whether the weights are those of one.
    pub fn read_verified(folder: &Path) -> Result<(Manifest, Vec<u8>), ModelError> {
        let manifest = Self::read_manifest(folder)?;
        let path = folder.join(WEIGHTS);
        let expected = manifest.files.get(WEIGHTS);
        let expected = expected
            .ok_or_else(|| ModelError::malformed(&folder.join(MANIFEST), format!("`files` lacks `{WEIGHTS}`")))?;
        let bytes = read(&path)?;
        let found = sha256(&bytes);
        if found != *expected {
            return Err(ModelError::HashMismatch { path, expected: expected.clone(), found });
        }
        Ok((manifest, bytes))
    }

    /// Verifies parts as [`load`](Self::load) does and holds them together; `origin` names the weights in errors.
    pub fn from_parts(manifest: Manifest, bases: Bases, weights: Vec<u8>, origin: &Path) -> Result<Self, ModelError> {
        let stored = StoredWeights::parse(&weights).map_err(|reason| ModelError::malformed(origin, reason))?;
        verify(&stored, &manifest)?;
        let weights_sha256 = sha256(&weights);
        Ok(Self { manifest: Arc::new(manifest), bases: Arc::new(bases), weights: Arc::new(weights), weights_sha256 })
    }

    /// Writes the folder, creating it. The manifest comes last and by rename, so that a folder whose writing was cut
    /// short does not load; an existing checkpoint there is replaced.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        std::fs::create_dir_all(folder).map_err(|e| ModelError::io(folder, e))?;
        let mut manifest = (*self.manifest).clone();
        manifest.files = BTreeMap::from([(WEIGHTS.to_owned(), self.weights_sha256.clone())]);
        let mut text = serde_json::to_vec_pretty(&manifest)
            .map_err(|reason| ModelError::malformed(&folder.join(MANIFEST), reason))?;
        text.push(b'\n');
        replace(&folder.join(WEIGHTS), &self.weights)?;
        replace(&folder.join(MANIFEST), &text)
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where the base weights that the manifest names are looked for.
    pub fn bases(&self) -> &Bases {
        &self.bases
    }

    /// `jtav-`, the profile, `-` and the first 12 digits of the weights' SHA-256: published with every label.
    pub fn model_version(&self) -> String {
        version(&self.manifest.profile, &self.weights_sha256)
    }

    /// Bytes of the weights file.
    pub fn weights_bytes(&self) -> usize {
        self.weights.len()
    }

    pub(crate) fn stored(&self) -> Result<StoredWeights<'_>, ModelError> {
        StoredWeights::parse(&self.weights).map_err(|reason| ModelError::malformed(Path::new(WEIGHTS), reason))
    }

    /// The same checkpoint with another manifest (a probe, metrics).
    #[must_use]
    pub fn with_manifest(&self, manifest: Manifest) -> Self {
        Self { manifest: Arc::new(manifest), ..self.clone() }
    }
}

/// The version that a checkpoint of a profile with such weights puts on its labels.
pub fn version(profile: &str, weights_sha256: &str) -> String {
    format!("jtav-{profile}-{}", weights_sha256.get(..12).unwrap_or(weights_sha256))
}

/// Builds every network once on the CPU: that is the list of names and shapes.
fn verify(stored: &StoredWeights, manifest: &Manifest) -> Result<(), ModelError> {
    let dimensions = &manifest.dimensions;
    let builder = Builder::stored(stored, Device::Cpu);
    AttBiGru::new(&builder.scope("text"), dimensions, TextDropout::default())?;
    SemanticSpace::new(&builder.scope("text.semantic"), dimensions)?;
    AudioModel::new(&builder.scope("audio"), dimensions)?;
    let (image, backbone) = (builder.scope("image"), manifest.image_backbone);
    match backbone {
        ImageBackbone::EfficientNetLite0 => ImageHead::new(&image, backbone.channels(), dimensions.vector).map(drop)?,
        ImageBackbone::DenseNet121 => ImageModel::with_backbone(&image, backbone, dimensions).map(drop)?,
    }
    Joint::of_manifest(&builder.scope("fusion"), manifest)?;
    stored.check_all_read(&builder.finish())
}

/// Writes beside the target and renames over it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    std::fs::write(&beside, bytes).map_err(|e| ModelError::io(&beside, e))?;
    std::fs::rename(&beside, path).map_err(|e| ModelError::io(path, e))
}

/// SHA-256 in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
