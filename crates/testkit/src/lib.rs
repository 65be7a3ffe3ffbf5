//! What tests of the whole system need: a real broker, a real store, workers that can be killed, and an oracle that
//! knows what must come out.
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

pub use binary::jtav_binary;
pub use book::{Book, Counts, Expected, Latency, Seen, Tally, hash};
pub use group::is_through;
pub use hostile::{HostileProducer, HostileRecord};
pub use http::{http_get, metric};
pub use kafka::RealKafka;
pub use oracle::{Finding, Harm, Labels, Oracle, Progress};
pub use produce::produce;
pub use redis::RealRedis;
pub use require::require_real;
pub use root::workspace_root;
pub use schema::Schema;
pub use topics::Topics;
pub use worker::{Worker, resident_bytes};
pub use worker_config::WorkerConfig;
