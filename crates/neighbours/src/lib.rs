//! The nearest neighbours of a post among recent ones: an exact scan of vectors in memory. Pure: no clock, no I/O.
//!
//! ```text
//! model version ─► hours ─► segments (≤ 8,192 posts) ─► columns: ids, labels, times … and a matrix for each kind of vector
//!              └─► tables: post id ─► segment, row
//! ```
//!
//! **A set** is a model version and a kind; vectors of two sets are never compared. A post's id, label and times stand once for all of
//! its kinds. Vectors are unit vectors in f16 with their length beside them, so that a search is one dot product a vector, by
//! AVX2, FMA and F16C where the processor has them.
//!
//! **Who waits for whom.** A search holds the lock of one segment at a time, for reading: as long as 8,192 products take. A
//! writer changes one segment at a time and holds its lock for microseconds; the locks of the standard library let a waiting writer
//! go first. So a writer waits for the segments that searches are in, and a search for one write. Segments whose dead have
//! become an eighth are copied without them and exchanged; searches that are in the old one end there.
//!
//! **Bounds.** Hours older than the window are dropped whole, the oldest first also where [`IndexSettings::max_bytes`] is reached. Ids
//! have at most 256 characters and are hashed with a random seed; vectors have at most [`MAX_DIMENSIONS`] components; at most
//! [`MAX_MODELS`] models are kept and [`MAX_K`] neighbours given. A search costs at most one product for each vector of its set. A post takes its
//! vectors, its id and at most 48 bytes, and 15 % more, where hours have some hundred posts.
//!
//! **Erased posts.** An erasure takes effect before [`NeighbourIndex::erase`] returns. It is not remembered: the caller follows a topic on
//! which the record that erases comes after what it erases.

mod error;
mod index;
mod kernel;
mod kind;
mod matrix;
mod meta;
mod model_set;
mod posts;
mod record;
mod search;
mod segment;
mod stats;

pub use error::IndexError;
pub use index::{Applied, IndexSettings, MAX_MODELS, NeighbourIndex};
pub use kind::VectorKind;
pub use record::MAX_DIMENSIONS;
pub use search::{Found, Hit, MAX_K, Query};
pub use stats::{KindStats, ModelStats};
