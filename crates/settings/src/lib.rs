//! Typed configuration of the worker, the rules between its values, and where each value came from.
//!
//! `config/default.toml` is built in and is the only home of the defaults. Later layers win: a file, then variables
//! `JTAV__SECTION__KEY` (or `…_FILE`, which names a file that holds the value), then flags. Each value keeps its
//! [`Origin`]. A key that is not in the defaults is an error wherever it comes from, and names the nearest key.
//!
//! ```
//! use jtav_settings::Loader;
//!
//! let loaded = Loader::new().set("kafka.brokers=broker:9092").load()?;
//! assert_eq!(loaded.settings.kafka.brokers, "broker:9092");
//! assert_eq!(loaded.origin("kafka.brokers").unwrap().to_string(), "flag --set");
//! assert_eq!(loaded.origin("kafka.group_id").unwrap().to_string(), "default");
//! # Ok::<(), jtav_settings::SettingsError>(())
//! ```

mod bundled;
mod defaults;
mod descriptors;
mod error;
mod layer;
mod load;
mod memory;
mod memory_of_serving;
mod nearest;
mod origin;
mod rules;
pub mod schema;
mod secret;
mod sections;
mod show;

pub use bundled::{NotBundled, bundled, existing_or_bundled};
pub use defaults::DEFAULT_TOML;
pub use error::{Problem, SettingsError, Violation};
pub use load::{Loaded, Loader};
pub use memory::MemoryCeiling;
pub use origin::Origin;
pub use secret::{MASK, Passthrough, SecretUrl, is_secret_property};
pub use sections::{
    Admin, AssignmentStrategy, Cache, CpuEngine, CpuPrecision, Device, Index, IndexBackend, Ingest, Kafka, Log,
    LogFormat, Media, MediaSource, Model, ParseDeviceError, Publish, Router, Settings, Shutdown, Store, StoreKind,
};
