//! What tests of the whole system need: a real broker, a real store, workers that can be killed and their configuration,
//! and two judges of what must come out: the [`Oracle`] of a log that has come to its end, which looks into every record,
//! and the [`Book`] of a feed that goes on, which keeps little of each.
//!
//! Everything is a process of its own in a temporary folder, on loopback or a unix socket, and ends with its value.

mod binary;
mod book;
mod group;
mod hostile;
mod http;
mod kafka;
mod oracle;
mod process;
mod produce;
mod redis;
mod require;
mod root;
mod schema;
mod topics;
mod worker;
mod worker_config;
mod written;

pub use binary::jtav_binary;
pub use book::sums::{Counts, Latency, Tally};
pub use book::{Book, Expected, Seen, hash};
pub use group::is_through;
pub use hostile::{HostileProducer, HostileRecord};
pub use http::{http_get, metric};
pub use kafka::RealKafka;
pub use oracle::finding::{Finding, Harm};
pub use oracle::progress::Progress;
pub use oracle::{Labels, Oracle};
pub use produce::produce;
pub use redis::RealRedis;
pub use require::{require_browser, require_real, require_redis8};
pub use root::workspace_root;
pub use schema::Schema;
pub use topics::Topics;
pub use worker::{Worker, resident_bytes};
pub use worker_config::WorkerConfig;
pub use written::{embedding_of, sentiment_of, write_of};
