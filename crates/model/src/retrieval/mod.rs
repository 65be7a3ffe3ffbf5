//! image2song as it serves: which of the songs of a catalogue go with a picture (docs/networks.md, "Retrieval").
//!
//! ```text
//! audio and lyrics of each song ─► SongTower ─► SongCatalogue, a file: a unit vector for each song
//! a picture's vector, and its caption's where there is one ─► query tower ─► cosine with every song ─► the best k
//! ```
//!
//! The vectors that the towers read are those of one encoder checkpoint; those of another mean something else, and are
//! refused, as is a catalogue of other towers. A song is read once, when the catalogue is made. A query costs one pass of
//! a small tower and a product of `songs × embedding`, both on the thread that asks.
//!
//! What is not there stands at the mean of the training data: a picture without a caption, as in training, where many had
//! none, and a song without lyrics, which training never saw; how well either does is measured and stands in the manifest.
//!
//! ```no_run
//! use jtav_model::retrieval::{BUNDLED_RETRIEVAL, BUNDLED_SONGS, SongRetriever};
//!
//! # fn main() -> Result<(), jtav_model::retrieval::RetrievalError> {
//! # let (model_version, image_vector) = ("jtav-modern-f694cbb8a651", vec![0.0; 100]);
//! let retriever = SongRetriever::open(BUNDLED_RETRIEVAL.as_ref(), BUNDLED_SONGS.as_ref())?;
//! retriever.check_encoder(model_version)?;
//! for song in retriever.rank(&image_vector, None, 10)? {
//!     println!("{} {} {:.3}", song.rank, song.id, song.score);
//! }
//! # Ok(())
//! # }
//! ```

mod catalogue;
mod checkpoint;
mod error;
mod manifest;
mod retriever;
mod scales;
#[cfg(test)]
mod tests;

pub use catalogue::{CatalogueSong, MAX_NAME_BYTES, MAX_SONGS, SongCatalogue};
pub use checkpoint::{RetrievalCheckpoint, SongParts, SongTower};
pub use error::RetrievalError;
pub use manifest::{AboveChance, Protocol, RetrievalManifest};
pub use retriever::{RankedSong, SongRetriever};
pub use scales::{LARGEST_DEVIATION, VectorScale, VectorScales};

/// The folder of the checkpoint that the program ships, by its path in the repository.
pub const BUNDLED_RETRIEVAL: &str = "models/image2song";
/// The catalogue of the sample feed's clips that the program ships, by its path in the repository.
pub const BUNDLED_SONGS: &str = "models/image2song/sample-feed.songs";
