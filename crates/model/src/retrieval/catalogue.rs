//! A catalogue: the songs that a picture is held against, with the vectors that the song tower gave them, in one file.
//!
//! The file is in the safetensors format: `vectors` `[songs, embedding]` f32, rows of length 1, and `songs`, UTF-8 JSON of a
//! list of [`CatalogueSong`], as bytes. Its metadata name the format, the towers and the encoder checkpoint.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::checkpoint::RetrievalCheckpoint;
use super::error::RetrievalError;
use crate::checkpoint::replace;
use crate::error::ModelError;

/// Most songs of a catalogue: a query costs a product with each.
pub const MAX_SONGS: usize = 200_000;
/// Longest id or title in bytes.
pub const MAX_NAME_BYTES: usize = 512;
/// Largest file that is read: what [`MAX_SONGS`] songs with the longest names and vectors of 512 values come to.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Name and version of the format, in the file's metadata.
const FORMAT: &str = "jtav-songs-1";

/// A song as a catalogue knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueSong {
    /// Identity; no two songs of a catalogue have the same.
    pub id: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Whether its vector was made with its lyrics; else these stood at the mean of the training data.
    pub has_lyrics: bool,
}

/// Songs and their vectors, in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct SongCatalogue {
    model: String,
    encoder: String,
    songs: Vec<CatalogueSong>,
    /// `[songs, embedding]`.
    vectors: Vec<f32>,
    embedding: usize,
}

impl SongCatalogue {
    /// Songs with the vectors that the checkpoint's [`SongTower`](super::SongTower) gave them.
    ///
    /// # Errors
    /// [`RetrievalError::Song`] for an id that is empty, too long, taken or holds control characters, for such a title, and
    /// for a vector that is none; [`RetrievalError::TooManySongs`].
    pub fn new(
        checkpoint: &RetrievalCheckpoint,
        songs: impl IntoIterator<Item = (CatalogueSong, Vec<f32>)>,
    ) -> Result<Self, RetrievalError> {
        let embedding = checkpoint.manifest().widths.embedding;
        let (mut kept, mut vectors) = (Vec::new(), Vec::new());
        for (song, vector) in songs {
            if vector.len() != embedding {
                let reason = format!("a vector of {} values, expected {embedding}", vector.len());
                return Err(RetrievalError::Song { id: song.id, reason });
            }
            vectors.extend(vector);
            kept.push(song);
        }
        let encoder = checkpoint.manifest().encoder.clone();
        let catalogue = Self { model: checkpoint.version(), encoder, songs: kept, vectors, embedding };
        catalogue.check()?;
        Ok(catalogue)
    }

    /// Reads a file; refuses one of other towers or of another encoder checkpoint.
    ///
    /// # Errors
    /// [`RetrievalError::OtherModel`]; [`RetrievalError::NoCatalogue`] for a file that is none, or is cut or damaged.
    pub fn open(file: &Path, checkpoint: &RetrievalCheckpoint) -> Result<Self, RetrievalError> {
        let bytes = read_bounded(file)?;
        let none = |reason: String| RetrievalError::no_catalogue(file, reason);
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| none(e.to_string()))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let stated = |key: &str| metadata.get(key).cloned().unwrap_or_default();
        if stated("format") != FORMAT {
            let found = stated("format");
            return Err(none(format!("its format is {found:?}, expected {FORMAT:?} (jtav index songs writes it)")));
        }
        let (expected, encoder) = (checkpoint.version(), checkpoint.manifest().encoder.clone());
        let found = (stated("model"), stated("encoder"));
        if (&found.0, &found.1) != (&expected, &encoder) {
            let [expected, found] =
                [(expected, encoder), found].map(|(towers, encoder)| format!("{towers} on {encoder}"));
            return Err(RetrievalError::OtherModel { path: file.to_owned(), expected, found });
        }
        let embedding = checkpoint.manifest().widths.embedding;
        let (songs, vectors) = contents(&bytes, embedding).map_err(none)?;
        let catalogue = Self { model: expected, encoder, songs, vectors, embedding };
        catalogue.check().map_err(|error| none(error.to_string()))?;
        Ok(catalogue)
    }

    /// Writes the file, by rename.
    ///
    /// # Errors
    /// Of the file system.
    pub fn save(&self, file: &Path) -> Result<(), RetrievalError> {
        let none = |reason: String| RetrievalError::no_catalogue(file, reason);
        let songs = serde_json::to_vec(&self.songs).map_err(|e| none(e.to_string()))?;
        let vectors: Cow<'_, [u8]> = Cow::Borrowed(bytemuck::cast_slice(&self.vectors));
        let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).map_err(|e| none(e.to_string()));
        let tensors = [
            ("songs", view(Dtype::U8, vec![songs.len()], &songs)?),
            ("vectors", view(Dtype::F32, vec![self.songs.len(), self.embedding], &vectors)?),
        ];
        let metadata = [("format", FORMAT), ("model", &self.model), ("encoder", &self.encoder)];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let bytes = safetensors::serialize(tensors, Some(HashMap::from(metadata))).map_err(|e| none(e.to_string()))?;
        Ok(replace(file, &bytes)?)
    }

    /// In the order of their vectors.
    pub fn songs(&self) -> &[CatalogueSong] {
        &self.songs
    }

    /// Each song with its vector.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&CatalogueSong, &[f32])> {
        self.songs.iter().zip(self.vectors.chunks_exact(self.embedding.max(1)))
    }

    /// The towers that made it.
    pub fn model(&self) -> &str {
        &self.model
    }

    fn check(&self) -> Result<(), RetrievalError> {
        if self.songs.len() > MAX_SONGS {
            return Err(RetrievalError::TooManySongs(MAX_SONGS));
        }
        let mut ids = HashSet::with_capacity(self.songs.len());
        for (song, vector) in self.entries() {
            let refused = |reason: &str| Err(RetrievalError::Song { id: shown(&song.id), reason: reason.to_owned() });
            if song.id.is_empty() || !is_name(&song.id) || !song.title.as_deref().is_none_or(is_name) {
                return refused("an id or a title that is empty, too long or holds control characters");
            }
            if !ids.insert(song.id.as_str()) {
                return refused("another song has this id");
            }
            let square: f32 = vector.iter().map(|value| value * value).sum();
            // NaN is not near 1 either.
            if square.is_nan() || (square - 1.0).abs() >= 1e-3 {
                return refused("its vector has not the length 1");
            }
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control)
}

/// An id in an error, which may end on a terminal.
fn shown(id: &str) -> String {
    id.chars().take(80).flat_map(char::escape_debug).collect()
}

/// A file whose size was looked at before; what is no regular file may never end.
fn read_bounded(file: &Path) -> Result<Vec<u8>, RetrievalError> {
    let io = |error| RetrievalError::from(ModelError::io(file, error));
    let facts = std::fs::metadata(file).map_err(io)?;
    if !facts.is_file() || facts.len() > MAX_FILE_BYTES {
        let reason = format!("it is no regular file of {MAX_FILE_BYTES} bytes at most");
        return Err(RetrievalError::no_catalogue(file, reason));
    }
    let mut bytes = Vec::with_capacity(facts.len() as usize);
    std::fs::File::open(file).and_then(|open| open.take(facts.len()).read_to_end(&mut bytes)).map_err(io)?;
    Ok(bytes)
}

/// Songs and the values of their vectors, as many of the one as of the other.
fn contents(bytes: &[u8], embedding: usize) -> Result<(Vec<CatalogueSong>, Vec<f32>), String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let tensor = |name: &str| tensors.tensor(name).map_err(|e| e.to_string());
    let songs: Vec<CatalogueSong> = serde_json::from_slice(tensor("songs")?.data()).map_err(|e| e.to_string())?;
    let vectors = tensor("vectors")?;
    if vectors.dtype() != Dtype::F32 || vectors.shape() != [songs.len(), embedding] {
        let (dtype, shape) = (vectors.dtype(), vectors.shape());
        return Err(format!("vectors are {dtype:?} {shape:?}, expected F32 [{}, {embedding}]", songs.len()));
    }
    // By the value: the bytes need not lie where an f32 may.
    let values = vectors.data().chunks_exact(4).map(|of| of.try_into().map_or(f32::NAN, f32::from_le_bytes));
    Ok((songs, values.collect()))
}
