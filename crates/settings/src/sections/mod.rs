//! The sections as types. Each field's comment states unit, consequence and default; tests hold the defaults stated
//! here against `config/default.toml`, and the schema carries both.

#![warn(missing_docs)]

mod durations;
mod input;
mod output;
mod reading;
mod values;
mod work;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use input::{Ingest, Kafka, Router};
pub use output::{Admin, Log, Publish, Shutdown, Store};
pub use reading::{Index, Serve};
pub use values::{
    AssignmentStrategy, CpuEngine, CpuPrecision, Device, IndexBackend, LogFormat, MediaSource, ParseDeviceError,
    StoreKind,
};
pub use work::{Cache, Media, Model};

/// Everything that can be set. [`Settings::default`] is the built-in `config/default.toml`. Serialising masks secrets,
/// so what was serialised is for people and not for loading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Broker, consumer group, topics.
    pub kafka: Kafka,
    /// What is let in, and when offsets are committed.
    pub ingest: Ingest,
    /// The posts' tasks.
    pub router: Router,
    /// Fetching and decoding what strangers point at.
    pub media: Media,
    /// The networks.
    pub model: Model,
    /// Encoder outputs by content hash.
    pub cache: Cache,
    /// Where labels and vectors are read from.
    pub store: Store,
    /// Retries of writes.
    pub publish: Publish,
    /// HTTP for operators.
    pub admin: Admin,
    /// The readers' side: `jtav serve`.
    pub serve: Serve,
    /// Nearest neighbours.
    pub index: Index,
    /// Leaving.
    pub shutdown: Shutdown,
    /// Logs.
    pub log: Log,
}
