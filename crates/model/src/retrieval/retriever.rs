//! A picture is held against every song of a catalogue.

use std::path::Path;

use super::catalogue::SongCatalogue;
use super::checkpoint::{RetrievalCheckpoint, Towers};
use super::error::RetrievalError;

/// A song in a ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedSong {
    /// As in the catalogue.
    pub id: String,
    /// For people.
    pub title: Option<String>,
    /// Cosine of the picture's and the song's vector, -1 to 1.
    pub score: f32,
    /// From 1; of equal scores the song that stands first in the catalogue comes first.
    pub rank: usize,
}

/// Ranks the songs of a catalogue for pictures. `Send` and `Sync`; a call computes on the thread that makes it, a pass of
/// the tower and a product with each song, and blocks it for so long.
pub struct SongRetriever {
    checkpoint: RetrievalCheckpoint,
    towers: Towers,
    catalogue: SongCatalogue,
    note: String,
}

impl SongRetriever {
    /// The towers of a checkpoint's folder and a catalogue that was made with them. Hold
    /// [`encoder_model_version`](Self::encoder_model_version) against that of the networks whose vectors you will give
    /// ([`check_encoder`](Self::check_encoder)).
    ///
    /// # Errors
    /// A folder that is no checkpoint of image2song, a file that is no catalogue, or is one of other towers.
    pub fn open(checkpoint: &Path, catalogue: &Path) -> Result<Self, RetrievalError> {
        let checkpoint = RetrievalCheckpoint::load(checkpoint)?;
        let catalogue = SongCatalogue::open(catalogue, &checkpoint)?;
        Self::new(checkpoint, catalogue)
    }

    /// The same of what is in memory.
    ///
    /// # Errors
    /// [`RetrievalError::OtherTowers`] for a catalogue of other towers.
    pub fn new(checkpoint: RetrievalCheckpoint, catalogue: SongCatalogue) -> Result<Self, RetrievalError> {
        let (expected, found) = (checkpoint.version(), catalogue.model().to_owned());
        if expected != found {
            return Err(RetrievalError::OtherTowers { expected, found });
        }
        let towers = checkpoint.towers()?;
        let note = note(&checkpoint, &catalogue);
        Ok(Self { checkpoint, towers, catalogue, note })
    }

    /// The best `k` songs for a picture, best first; fewer where the catalogue has fewer.
    ///
    /// `image_vector` is the vector that the image network of the encoder checkpoint gives (not standardised);
    /// `caption_vector` that of its text network for the caption alone. Without a caption the query is what it was in
    /// training for pictures that had none.
    ///
    /// # Errors
    /// [`ModelError::Input`](crate::ModelError::Input) for a vector of another length or with a value that is not finite.
    pub fn rank(
        &self,
        image_vector: &[f32],
        caption_vector: Option<&[f32]>,
        k: usize,
    ) -> Result<Vec<RankedSong>, RetrievalError> {
        let query = self.towers.query(image_vector, caption_vector)?;
        let mut scored: Vec<(f32, usize)> =
            self.catalogue.entries().map(|(_, vector)| cosine(&query, vector)).zip(0..).collect();
        let order = |a: &(f32, usize), b: &(f32, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if k < scored.len() {
            if k > 0 {
                scored.select_nth_unstable_by(k - 1, order);
            }
            scored.truncate(k);
        }
        scored.sort_unstable_by(order);
        let songs = self.catalogue.songs();
        let ranked = scored.into_iter().zip(1..).filter_map(|((score, at), rank)| {
            let song = songs.get(at)?;
            Some(RankedSong { id: song.id.clone(), title: song.title.clone(), score, rank })
        });
        Ok(ranked.collect())
    }

    /// Whether rankings like this one were told from chance on the test: of pictures with or without a caption, among songs as those
    /// of this catalogue are, with lyrics or (some of them) without. Where not, show it.
    pub fn above_chance(&self, has_caption: bool) -> bool {
        let measured = self.checkpoint.manifest().above_chance;
        let is_sung = self.catalogue.songs().iter().all(|song| song.has_lyrics);
        match (has_caption, is_sung) {
            (true, true) => measured.with_captions,
            (false, true) => measured.pictures_alone,
            (_, false) => measured.pictures_and_sounds_alone,
        }
    }

    /// What whoever reads a ranking has to know, in plain sentences; never empty for a checkpoint that `jtav train` wrote.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Songs that are ranked.
    pub fn len(&self) -> usize {
        self.catalogue.songs().len()
    }

    /// Whether there is no song.
    pub fn is_empty(&self) -> bool {
        self.catalogue.songs().is_empty()
    }

    /// `model_version` of the checkpoint whose vectors the towers read.
    pub fn encoder_model_version(&self) -> &str {
        &self.checkpoint.manifest().encoder
    }

    /// Refuses vectors of other networks.
    ///
    /// # Errors
    /// [`RetrievalError::OtherEncoder`].
    pub fn check_encoder(&self, model_version: &str) -> Result<(), RetrievalError> {
        self.checkpoint.check_encoder(model_version)
    }

    /// Name of the towers: `image2song-` and 12 digits.
    pub fn model(&self) -> String {
        self.checkpoint.version()
    }
}

/// Of two vectors of length 1.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The manifest's note, and what holds of this catalogue.
fn note(checkpoint: &RetrievalCheckpoint, catalogue: &SongCatalogue) -> String {
    let mut note = checkpoint.manifest().note.clone();
    let songs = catalogue.songs();
    let silent = songs.iter().filter(|song| !song.has_lyrics).count();
    if silent > 0 && checkpoint.manifest().widths.lyrics > 0 {
        note.push_str(&format!(
            " {silent} of {} songs are here without lyrics, as no song was in training; for them the sound alone decides.",
            songs.len()
        ));
    }
    note.trim().to_owned()
}
