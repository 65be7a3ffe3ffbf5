//! A checkpoint is a folder: `manifest.json`, `weights.safetensors`, `vocabulary.json` (ADR 42).
//!
//! Matrices and kernels are stored as f16; vectors (biases, norms, running statistics) stay f32: they are 1 % of the
//! bytes, and a running variance of 1e-8 has no f16.

mod weights;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tch::Device;

pub use weights::{Precision, StoredWeights, encode_weights};

use crate::error::ModelError;
use crate::manifest::{Dimensions, Manifest};
use crate::networks::{AttBiGru, Dcrnn, DcrnnConfig, ImageModel, Joint};
use crate::parameters::Builder;
use crate::text::Vocabulary;

/// Name of the manifest in a checkpoint's folder.
pub const MANIFEST: &str = "manifest.json";
/// Name of the weights in a checkpoint's folder.
pub const WEIGHTS: &str = "weights.safetensors";
const VOCABULARY: &str = "vocabulary.json";
/// A model card may lie beside the three files and is not hashed.
const NEEDED: [&str; 2] = [WEIGHTS, VOCABULARY];

/// A verified checkpoint in memory; cheap to clone, no device involved.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    manifest: Arc<Manifest>,
    vocabulary: Arc<Vocabulary>,
    weights: Arc<Vec<u8>>,
    weights_sha256: String,
}

impl Checkpoint {
    /// Reads and checks the manifest of a folder and nothing else of it.
    pub fn read_manifest(folder: &Path) -> Result<Manifest, ModelError> {
        let path = folder.join(MANIFEST);
        Manifest::from_json(&read(&path)?).map_err(|reason| ModelError::malformed(&path, reason))
    }

    /// Reads a folder. Every file must have the hash that the manifest names, the weights must hold every tensor of
    /// the profile in its shape, finite, and no other.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let manifest = Self::read_manifest(folder)?;
        let mut files = BTreeMap::new();
        for name in NEEDED {
            let expected = manifest
                .files
                .get(name)
                .ok_or_else(|| ModelError::malformed(&folder.join(MANIFEST), format!("`files` lacks `{name}`")))?;
            let path = folder.join(name);
            let bytes = read(&path)?;
            let found = sha256(&bytes);
            if found != *expected {
                return Err(ModelError::HashMismatch { path, expected: expected.clone(), found });
            }
            files.insert(name, bytes);
        }
        let vocabulary = Vocabulary::from_json(&files[VOCABULARY])
            .map_err(|reason| ModelError::malformed(&folder.join(VOCABULARY), reason))?;
        let weights = files.remove(WEIGHTS).unwrap_or_default();
        Self::from_parts(manifest, vocabulary, weights, &folder.join(WEIGHTS))
    }

    /// Verifies parts as [`load`](Self::load) does and holds them together; `origin` names the weights in errors.
    pub fn from_parts(
        manifest: Manifest,
        vocabulary: Vocabulary,
        weights: Vec<u8>,
        origin: &Path,
    ) -> Result<Self, ModelError> {
        if vocabulary.rows_total() as i64 != manifest.dimensions.embedding_rows {
            return Err(ModelError::Configuration(format!(
                "the vocabulary has {} rows, the manifest's embedding_rows is {}",
                vocabulary.rows_total(),
                manifest.dimensions.embedding_rows
            )));
        }
        let stored = StoredWeights::parse(&weights).map_err(|reason| ModelError::malformed(origin, reason))?;
        verify(&stored, &manifest.dimensions)?;
        let weights_sha256 = sha256(&weights);
        Ok(Self {
            manifest: Arc::new(manifest),
            vocabulary: Arc::new(vocabulary),
            weights: Arc::new(weights),
            weights_sha256,
        })
    }

    /// Writes the folder, creating it. The manifest comes last and by rename, so that a folder whose writing was cut
    /// short does not load; an existing checkpoint there is replaced.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        std::fs::create_dir_all(folder).map_err(|e| ModelError::io(folder, e))?;
        let vocabulary = self.vocabulary.to_json().into_bytes();
        let mut manifest = (*self.manifest).clone();
        manifest.files = BTreeMap::from([
            (WEIGHTS.to_owned(), self.weights_sha256.clone()),
            (VOCABULARY.to_owned(), sha256(&vocabulary)),
        ]);
        let mut text = serde_json::to_vec_pretty(&manifest)
            .map_err(|reason| ModelError::malformed(&folder.join(MANIFEST), reason))?;
        text.push(b'\n');
        write(&folder.join(WEIGHTS), &self.weights)?;
        write(&folder.join(VOCABULARY), &vocabulary)?;
        write(&folder.join(MANIFEST), &text)
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The vocabulary, for [`TextInput::from_parts`](crate::TextInput::from_parts).
    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// `jtav-modern-` and the first 12 digits of the weights' SHA-256: published with every label.
    pub fn model_version(&self) -> String {
        format!("jtav-{}-{}", self.manifest.profile, &self.weights_sha256[..12])
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

/// Builds every network once on the CPU: that is the list of names and shapes.
fn verify(stored: &StoredWeights, dimensions: &Dimensions) -> Result<(), ModelError> {
    let builder = Builder::stored(stored, Device::Cpu);
    AttBiGru::new(&builder.scope("text"), dimensions, 0.0)?;
    Dcrnn::new(&builder.scope("audio"), &DcrnnConfig::modern(dimensions), 0.0)?;
    ImageModel::new(&builder.scope("image"), dimensions, 0.0)?;
    Joint::new(&builder.scope("fusion"), dimensions, 0.0)?;
    let parameters = builder.finish();
    if let Some(name) = stored.names().find(|name| !parameters.tensors.contains_key(*name)) {
        return Err(ModelError::UnexpectedTensor { name: name.to_owned() });
    }
    for (name, tensor) in &parameters.tensors {
        if tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
            return Err(ModelError::NotFinite { name: name.clone() });
        }
    }
    Ok(())
}

/// The bytes of a file, or an error that names it.
pub fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(|e| ModelError::io(path, e))
}

/// Writes beside the target and renames over it.
fn write(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
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
