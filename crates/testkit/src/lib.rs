//! What tests of the whole system need: a real broker, a real store, workers that can be killed, and an oracle that
//! knows what must come out.
//!
//! Everything is a process of its own in a temporary folder, on loopback or a unix socket, and ends with its value.

mod binary;
mod group;
mod hostile;
mod kafka;
mod oracle;
mod process;
mod produce;
mod redis;
mod require;
mod schema;
mod worker;

pub use binary::jtav_binary;
pub use group::is_through;
pub use hostile::{HostileProducer, HostileRecord};
pub use kafka::RealKafka;
pub use oracle::{Finding, Harm, Labels, Oracle, Progress};
pub use produce::produce;
pub use redis::RealRedis;
pub use require::require_real;
pub use schema::Schema;
pub use worker::{Worker, resident_bytes};

use std::path::{Path, PathBuf};

pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}
