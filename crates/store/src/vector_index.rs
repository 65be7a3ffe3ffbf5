//! Neighbours of posts, beyond the memory of one machine.

use std::time::Duration;

use futures::future::BoxFuture;
use jtav_neighbours::{Found, Query};

use crate::{LabelWrite, StoreError};

/// What became of a post's vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Indexed {
    /// They are there; those of an older record of it are not.
    Written,
    /// They were there: a redelivery.
    Same,
    /// The label that the store holds is of another record, or has lapsed. Nothing was changed.
    Stale,
    /// The post is erased. Nothing was changed.
    Erased,
    /// The post is older than the window. Nothing was changed.
    TooOld,
    /// The post was changed more often than any index keeps apart; it has no vectors until they lapse.
    TooManyEdits,
}

/// How a vector index in Redis is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorIndexSettings {
    /// Posts older than this are not found.
    pub window: Duration,
    /// Stretch of time that shares a vector set and lapses with it. A search asks each of those in the window.
    pub bucket: Duration,
    /// `EF` of a search: nodes of the graph that are kept in view. More finds more and takes longer.
    pub search_effort: u32,
    /// `EF` of an insertion.
    pub build_effort: u32,
    /// `FILTER-EF`: nodes that are looked at before a search gives up finding ones that pass the filter.
    pub filter_effort: u32,
    /// Components in 8 bits instead of 32: a quarter of the memory, and of the nearest ten of 20,000 vectors 0.963 instead of 0.998 are found.
    pub quantized: bool,
}

impl Default for VectorIndexSettings {
    /// A week in stretches of six hours.
    fn default() -> Self {
        Self {
            window: Duration::from_secs(7 * 24 * 3_600),
            bucket: Duration::from_secs(6 * 3_600),
            search_effort: 200,
            build_effort: 200,
            filter_effort: 5_000,
            quantized: false,
        }
    }
}

/// Vectors by post, model and kind, searched by cosine.
///
/// A future that is dropped gives up the answer, not the effect; repeating a call is safe.
pub trait VectorIndex: Send + Sync {
    /// Takes the vectors of a label that the store has accepted, in place of those of an older record of the post.
    fn add(&self, write: &LabelWrite, event_time_ms: Option<i64>) -> BoxFuture<'static, Result<Indexed, StoreError>>;

    /// Takes a post's vectors out of every answer; called after the store has erased the post. Gives how many there were.
    fn erase(&self, post_id: &str) -> BoxFuture<'static, Result<u32, StoreError>>;

    /// Neighbours, nearly all of the nearest: [`Found::searched`] counts the vectors within reach, those that were taken out included.
    fn search(&self, query: &Query<'_>) -> BoxFuture<'static, Result<Found, StoreError>>;
}
