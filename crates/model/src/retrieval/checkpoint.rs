//! A checkpoint of image2song is a folder: `manifest.json` and `weights.safetensors`, which holds the scales of the vectors
//! beside the towers.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use safetensors::SafeTensors;
use tch::{Device, Tensor};

use super::error::RetrievalError;
use super::manifest::RetrievalManifest;
use super::scales::{VectorScale, VectorScales};
use crate::checkpoint::{MANIFEST, Precision, StoredWeights, WEIGHTS, encode_weights, read, replace, sha256};
use crate::error::ModelError;
use crate::networks::{TowerWidths, TwoTower};
use crate::parameters::{Builder, to_rows};

/// Begins the names of the towers' tensors.
const SCOPE: &str = "towers";
/// Under this name the scales stand in the metadata of the weights, so that one hash covers both.
const SCALES: &str = "scales";

/// Verified towers in memory; cheap to clone, no device involved.
#[derive(Debug, Clone)]
pub struct RetrievalCheckpoint {
    manifest: Arc<RetrievalManifest>,
    scales: Arc<VectorScales>,
    weights: Arc<Vec<u8>>,
    weights_sha256: String,
}

impl RetrievalCheckpoint {
    /// What a training ended with: the towers' tensors by name (they begin with `towers`), kept in f32, and the scales of
    /// the vectors that they were trained on.
    ///
    /// # Errors
    /// Tensors that are not those of towers of the manifest's widths, or are not finite; scales of other widths.
    pub fn new(
        manifest: RetrievalManifest,
        scales: &VectorScales,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<Self, RetrievalError> {
        let scales = serde_json::to_string(scales).map_err(|e| ModelError::Configuration(e.to_string()))?;
        let metadata = HashMap::from([(SCALES.to_owned(), scales)]);
        let weights = encode_weights(tensors, Precision::Full, Some(metadata))?;
        Self::verified(manifest, weights, Path::new(WEIGHTS))
    }

    /// Reads a folder. The weights must have the hash that the manifest names and hold every tensor of the towers in its
    /// shape, finite, and no other.
    ///
    /// # Errors
    /// A folder that is none of these.
    pub fn load(folder: &Path) -> Result<Self, RetrievalError> {
        let path = folder.join(MANIFEST);
        let manifest = RetrievalManifest::from_json(&read(&path)?);
        let manifest = manifest.map_err(|reason| ModelError::malformed(&path, reason))?;
        let expected = manifest.files.get(WEIGHTS).cloned();
        let expected = expected.ok_or_else(|| ModelError::malformed(&path, format!("`files` lacks `{WEIGHTS}`")))?;
        let path = folder.join(WEIGHTS);
        let weights = read(&path)?;
        let found = sha256(&weights);
        if found != expected {
            return Err(ModelError::HashMismatch { path, expected, found }.into());
        }
        Self::verified(manifest, weights, &path)
    }

    fn verified(manifest: RetrievalManifest, weights: Vec<u8>, origin: &Path) -> Result<Self, RetrievalError> {
        let malformed = |reason: String| ModelError::malformed(origin, reason);
        manifest.widths.check().map_err(malformed)?;
        let (_, header) = SafeTensors::read_metadata(&weights).map_err(|e| malformed(e.to_string()))?;
        let scales = header.metadata().as_ref().and_then(|metadata| metadata.get(SCALES));
        let scales = scales.ok_or_else(|| malformed(format!("its metadata lack `{SCALES}`")))?;
        let scales: VectorScales = serde_json::from_str(scales).map_err(|e| malformed(e.to_string()))?;
        scales.check(&manifest.widths).map_err(malformed)?;
        let stored = StoredWeights::parse(&weights).map_err(malformed)?;
        let builder = Builder::stored(&stored, Device::Cpu);
        TwoTower::new(&builder.scope(SCOPE), manifest.widths, 0.0)?;
        stored.check_all_read(&builder.finish())?;
        let weights_sha256 = sha256(&weights);
        Ok(Self { manifest: Arc::new(manifest), scales: Arc::new(scales), weights: Arc::new(weights), weights_sha256 })
    }

    /// Writes the folder, creating it; the manifest comes last and by rename.
    ///
    /// # Errors
    /// Of the file system.
    pub fn save(&self, folder: &Path) -> Result<(), RetrievalError> {
        std::fs::create_dir_all(folder).map_err(|e| ModelError::io(folder, e))?;
        let mut manifest = (*self.manifest).clone();
        manifest.files = BTreeMap::from([(WEIGHTS.to_owned(), self.weights_sha256.clone())]);
        let mut text =
            serde_json::to_vec_pretty(&manifest).map_err(|e| ModelError::malformed(&folder.join(MANIFEST), e))?;
        text.push(b'\n');
        replace(&folder.join(WEIGHTS), &self.weights)?;
        Ok(replace(&folder.join(MANIFEST), &text)?)
    }

    pub fn manifest(&self) -> &RetrievalManifest {
        &self.manifest
    }

    /// The same towers with another manifest (what was measured of them).
    #[must_use]
    pub fn with_manifest(&self, manifest: RetrievalManifest) -> Self {
        Self { manifest: Arc::new(manifest), ..self.clone() }
    }

    /// `image2song-` and the first 12 digits of the weights' SHA-256.
    pub fn version(&self) -> String {
        format!("{}-{}", super::manifest::TASK, self.weights_sha256.get(..12).unwrap_or(&self.weights_sha256))
    }

    /// Refuses vectors of other networks than the towers were trained on; `model_version` names whose there are.
    ///
    /// # Errors
    /// [`RetrievalError::OtherEncoder`].
    pub fn check_encoder(&self, model_version: &str) -> Result<(), RetrievalError> {
        match self.manifest.encoder == model_version {
            true => Ok(()),
            false => Err(RetrievalError::OtherEncoder {
                model: self.version(),
                expected: self.manifest.encoder.clone(),
                found: model_version.to_owned(),
            }),
        }
    }

    /// What reads the songs of a catalogue.
    ///
    /// # Errors
    /// Of libtorch.
    pub fn song_tower(&self) -> Result<SongTower, RetrievalError> {
        Ok(SongTower { towers: self.towers()? })
    }

    pub(super) fn towers(&self) -> Result<Towers, RetrievalError> {
        let stored = StoredWeights::parse(&self.weights).map_err(|e| ModelError::malformed(Path::new(WEIGHTS), e))?;
        let network = TwoTower::new(&Builder::stored(&stored, Device::Cpu).scope(SCOPE), self.manifest.widths, 0.0)?;
        Ok(Towers { network: Mutex::new(network), scales: Arc::clone(&self.scales), widths: self.manifest.widths })
    }
}

/// The towers with their scales, on the CPU: they are too small for anything else. While one passes
/// the others wait; libtorch's tensors may be read by one thread at a time.
pub(super) struct Towers {
    network: Mutex<TwoTower>,
    scales: Arc<VectorScales>,
    widths: TowerWidths,
}

impl Towers {
    fn run(&self, pass: impl FnOnce(&TwoTower) -> Result<Tensor, ModelError>) -> Result<Vec<Vec<f32>>, RetrievalError> {
        let _guard = tch::no_grad_guard();
        let network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(to_rows(&pass(&network)?)?)
    }

    /// The unit vector of a query.
    pub fn query(&self, image: &[f32], caption: Option<&[f32]>) -> Result<Vec<f32>, RetrievalError> {
        let image = table(&[Some(image)], "image", self.widths.image, &self.scales.image)?;
        let present =
            Tensor::f_from_slice(&[if caption.is_some() { 1.0_f32 } else { 0.0 }]).map_err(ModelError::from)?;
        let present = present.f_view([1, 1]).map_err(ModelError::from)?;
        let caption = match self.widths.caption {
            0 => None,
            width => Some(table(&[caption], "caption", width, &self.scales.caption)?),
        };
        let rows = self.run(|network| network.queries(&image, caption.as_ref().map(|of| (of, &present)), false))?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }
}

/// The vectors of a song, as the encoder checkpoint gives them.
#[derive(Debug, Clone, Copy)]
pub struct SongParts<'a> {
    /// Of its sound.
    pub audio: &'a [f32],
    /// Of its lyrics; without them it stands where the mean of all lyrics does.
    pub lyrics: Option<&'a [f32]>,
}

/// Reads songs for a catalogue. `Send` and `Sync`.
pub struct SongTower {
    towers: Towers,
}

impl SongTower {
    /// A unit vector for each song, in order.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a vector of another length, or with a value that is not finite.
    pub fn vectors(&self, songs: &[SongParts]) -> Result<Vec<Vec<f32>>, RetrievalError> {
        if songs.is_empty() {
            return Ok(Vec::new());
        }
        let Towers { widths, scales, .. } = &self.towers;
        let part = |name: &str, width: usize, scale: &VectorScale, rows: Vec<Option<&[f32]>>| match width {
            0 => Ok(None),
            width => table(&rows, name, width, scale).map(Some),
        };
        let lyrics = songs.iter().map(|song| song.lyrics).collect();
        let lyrics = part("lyrics", widths.lyrics, &scales.lyrics, lyrics)?;
        let audio = songs.iter().map(|song| Some(song.audio)).collect();
        let audio = part("audio", widths.audio, &scales.audio, audio)?;
        self.towers.run(|network| network.songs(lyrics.as_ref(), audio.as_ref(), false))
    }
}

/// `[rows, width]`, standardised; a row that is not there is 0, the mean.
fn table(rows: &[Option<&[f32]>], name: &str, width: usize, scale: &VectorScale) -> Result<Tensor, ModelError> {
    let mut values = vec![0.0_f32; rows.len() * width];
    for (row, place) in rows.iter().zip(values.chunks_exact_mut(width)) {
        let Some(row) = row else { continue };
        if row.len() != width || !row.iter().all(|value| value.is_finite()) {
            let found = row.len();
            return Err(ModelError::Input(format!(
                "the {name} vector has {found} values, expected {width} finite ones"
            )));
        }
        place.copy_from_slice(row);
        scale.apply(place);
    }
    Ok(Tensor::f_from_slice(&values)?.f_view([rows.len() as i64, width as i64])?)
}
