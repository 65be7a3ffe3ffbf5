//! Audio and image networks of an earlier checkpoint, for a training that leaves them as they are.

use std::collections::BTreeMap;
use std::path::Path;

use jtav_model::checkpoint::{MANIFEST, StoredWeights, WEIGHTS, read, sha256};
use jtav_model::{ModelError, Standardisation, before_it_was_written};
use serde::Deserialize;

/// The weights of a checkpoint's folder, of any format: only the tensors that a trainer asks for are looked at, and
/// they must have the names and shapes of this version. Matrices were rounded to f16 when the folder was written; they
/// are written back as the same f16 values.
#[derive(Debug, Clone)]
pub struct Kept {
    weights: Vec<u8>,
    header: Header,
    version: String,
}

/// What is read of the manifest; the rest may belong to another version.
#[derive(Debug, Clone, Deserialize)]
struct Header {
    profile: String,
    dimensions: KeptDimensions,
    standardisation: Standardisation,
    #[serde(default = "before_it_was_written")]
    max_audio_seconds: u32,
    data: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
    #[serde(default)]
    metrics: serde_json::Value,
}

#[derive(Debug, Clone, Deserialize)]
struct KeptDimensions {
    image_resolution: usize,
}

impl Kept {
    /// Reads the manifest and the weights of `folder`. An error when one is missing or malformed, or when the weights
    /// do not have the hash that the manifest names.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(MANIFEST);
        let header: Header =
            serde_json::from_slice(&read(&path)?).map_err(|reason| ModelError::malformed(&path, reason))?;
        header.standardisation.check()?;
        let expected = header.files.get(WEIGHTS).cloned();
        let expected = expected.ok_or_else(|| ModelError::malformed(&path, format!("`files` lacks `{WEIGHTS}`")))?;
        let path = folder.join(WEIGHTS);
        let weights = read(&path)?;
        let found = sha256(&weights);
        if found != expected {
            return Err(ModelError::HashMismatch { path, expected, found });
        }
        StoredWeights::parse(&weights).map_err(|reason| ModelError::malformed(&path, reason))?;
        let version = format!("jtav-{}-{}", header.profile, &found[..12]);
        Ok(Self { weights, header, version })
    }

    /// Seconds of a clip that the audio network was trained on at most.
    pub fn max_audio_seconds(&self) -> u32 {
        self.header.max_audio_seconds
    }

    /// The version that labels of that checkpoint carry.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Statistics that its audio network expects its input in.
    pub fn standardisation(&self) -> &Standardisation {
        &self.header.standardisation
    }

    /// Side in pixels at which its image network looks at pictures.
    pub fn image_resolution(&self) -> usize {
        self.header.dimensions.image_resolution
    }

    /// SHA-256 of the data it was trained on, by name.
    pub fn data(&self) -> &BTreeMap<String, String> {
        &self.header.data
    }

    /// What its trainer measured; null where that is unknown.
    pub fn metrics(&self) -> &serde_json::Value {
        &self.header.metrics
    }

    pub(crate) fn stored(&self) -> Result<StoredWeights<'_>, ModelError> {
        StoredWeights::parse(&self.weights).map_err(|reason| ModelError::malformed(Path::new(WEIGHTS), reason))
    }
}
