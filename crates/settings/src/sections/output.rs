use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::durations::durations;
use super::values::{LogFormat, StoreKind, exact_address};
use crate::SecretUrl;

/// Where labels and vectors are read from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// `redis`, or `embedded`: in this process's memory, gone with it; for demos and tests. Default: `redis`.
    pub kind: StoreKind,
    /// `redis://`, `rediss://` (TLS) or `redis+unix://`; a password in it is a secret: give it through
    /// `JTAV__STORE__URL_FILE`. Default: `redis://127.0.0.1:6379/0`.
    pub url: SecretUrl,
    /// Seconds a label and its vectors are kept after the last write. Default: `604800`.
    pub ttl_seconds: u64,
    /// Seconds that an erased post stays blocked: longer than the input and dead-letter topics keep records, or a
    /// replay would bring it back. Default: `3456000`.
    pub erased_ttl_seconds: u64,
    /// Milliseconds for one command, connecting included; then the write is tried again. Default: `2000`.
    pub command_timeout_ms: u64,
    /// Replicas that must have an erasure before it is acknowledged; an erasure that they do not take in time is tried
    /// again and then abandoned. 0 waits for none. Default: `0`.
    pub erasure_replicas: u32,
    /// Milliseconds that one try of an erasure waits for its replicas. Default: `1000`.
    pub erasure_wait_ms: u64,
    /// Seconds back from which erasures are carried out again when another server answers than before: after a failover or
    /// a restart it may lack the last ones. 0: never. Default: `3600`.
    pub erasure_repair_seconds: u64,
}

durations!(Store {
    ttl: from_secs(ttl_seconds),
    erased_ttl: from_secs(erased_ttl_seconds),
    command_timeout: from_millis(command_timeout_ms),
    erasure_wait: from_millis(erasure_wait_ms),
    erasure_repair: from_secs(erasure_repair_seconds),
});

/// Retries of writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Tries of one write to the store or a topic, the first included. Default: `5`.
    pub attempts: u32,
    /// Milliseconds before the second try; doubles with each, with full jitter. Default: `50`.
    pub base_delay_ms: u64,
    /// Milliseconds for all tries of one post together; then it is abandoned and read again later. Default: `10000`.
    pub deadline_ms: u64,
}

durations!(Publish { base_delay: from_millis(base_delay_ms), deadline: from_millis(deadline_ms) });

/// HTTP for operators.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address of `/metrics`, `/healthz`, `/readyz` and `/describe`; no secrets there, but keep it inside the cluster.
    /// The default is for this machine alone; a container whose probes come from outside needs `0.0.0.0:9600`.
    /// Port 0: any free one, logged. Default: `127.0.0.1:9600`.
    #[serde(deserialize_with = "exact_address")]
    pub listen: SocketAddr,
    /// Milliseconds that a box may go without progress (a batch that runs, a thread of actors that does not answer) until
    /// `/healthz` says 503 with its name; after twice that the process ends by itself. Default: `60000`.
    pub hung_after_ms: u64,
}

durations!(Admin { hung_after: from_millis(hung_after_ms) });

/// Leaving.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// Milliseconds from SIGTERM until the worker exits whatever is unfinished; Kubernetes must grant 15 s more.
    /// Default: `20000`.
    pub shutdown_timeout_ms: u64,
}

durations!(Shutdown { shutdown_timeout: from_millis(shutdown_timeout_ms) });

/// Logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `pretty` for people, `json` for machines: one object a line, on stderr. Default: `pretty`.
    pub format: LogFormat,
    /// What is logged, in the syntax of `RUST_LOG`, which wins where it is set. Default: `info`.
    pub filter: String,
}
