use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::durations::durations;
use super::values::{IndexBackend, empty_as_none, exact_address, none_as_empty};

/// The readers' side: `jtav serve`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Serve {
    /// Address of the API and the page. One that others can reach is refused without `serve.keys_file`. Port 0: any free
    /// one, logged. Default: `127.0.0.1:9700`.
    #[serde(deserialize_with = "exact_address")]
    pub listen: SocketAddr,
    /// TOML file of hashed keys with their scopes, as `jtav serve --new-key NAME` prints them; read again when it changes.
    /// Empty: no keys, on a loopback address only. Default: empty.
    #[serde(deserialize_with = "empty_as_none", serialize_with = "none_as_empty")]
    #[schemars(with = "String")]
    pub keys_file: Option<PathBuf>,
    /// PEM file of the certificate chain; with `serve.tls_key_file` the server speaks TLS itself. Empty: plain HTTP, for
    /// loopback or behind a proxy that speaks TLS. Default: empty.
    #[serde(deserialize_with = "empty_as_none", serialize_with = "none_as_empty")]
    #[schemars(with = "String")]
    pub tls_certificate_file: Option<PathBuf>,
    /// PEM file of its private key. Default: empty.
    #[serde(deserialize_with = "empty_as_none", serialize_with = "none_as_empty")]
    #[schemars(with = "String")]
    pub tls_key_file: Option<PathBuf>,
    /// Names under which it may be asked, beside its address and those of this machine's loopback: a page of somebody else
    /// whose name was pointed here is refused. Default: empty.
    pub hosts: Vec<String>,
    /// Origins of other pages whose scripts may read answers (CORS), such as `https://moderation.example`. Default: empty.
    pub allow_origins: Vec<String>,
    /// Threads that answer requests. 0: one for each CPU core. Default: `0`.
    pub threads: usize,
    /// Connections at once; more wait to be accepted. Default: `4096`.
    pub max_connections: usize,
    /// Bytes of the largest body of JSON. Default: `1048576`.
    pub max_body_bytes: usize,
    /// Bytes of bodies that are being sent and worked on at once, in all; whoever sends beyond is told to come again.
    /// Default: `134217728`.
    pub max_bodies_bytes: usize,
    /// Milliseconds from a request's first byte to the begin of its answer; streams go on. Default: `15000`.
    pub request_timeout_ms: u64,
    /// Requests a second of one key, or of one address where there are no keys; twice as many at a time. Default: `1000`.
    pub requests_per_second: u32,
    /// Streams at once. Default: `1024`.
    pub max_streams: usize,
    /// Streams at once of one key, or of one address where there are no keys. Default: `64`.
    pub max_streams_per_reader: usize,
    /// Labels and erasures kept in memory for readers that come, come back or are slow; one that falls further behind is
    /// dropped and told where to go on. Default: `10000`.
    pub recent_events: usize,
    /// Loads the networks, for `POST /v1/label` and image2song: 0.5 GB of memory. Default: `true`.
    pub networks: bool,
    /// Posts that are labelled at once for those who ask; more are told to come again. Default: `4`.
    pub max_label_posts: usize,
    /// Media that are fetched and decoded at once for those who look at a post; more are told to come again. Default: `4`.
    pub max_media: usize,
    /// Song catalogue of image2song, as `jtav index songs` writes it. Empty: the bundled one of the sample feed.
    /// Default: empty.
    #[serde(deserialize_with = "empty_as_none", serialize_with = "none_as_empty")]
    #[schemars(with = "String")]
    pub songs_file: Option<PathBuf>,
}

durations!(Serve { request_timeout: from_millis(request_timeout_ms) });

impl Serve {
    /// `threads`, with 0 resolved to the number of CPU cores.
    pub fn thread_count(&self) -> usize {
        super::values::or_cores(self.threads)
    }
}

/// Nearest neighbours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// `memory`: each server keeps vectors of its own, filled from the embeddings topic, and searches them exactly. `redis`: workers
    /// write them into vector sets of the store's Redis, 8 or newer and no Cluster; set it for workers and servers alike.
    /// Default: `memory`.
    pub backend: IndexBackend,
    /// Bytes of vectors, ids and filters held; the oldest hour gives way. 0: no index. Default: `536870912`.
    pub max_bytes: u64,
    /// Hours back that posts can be found as neighbours. Default: `168`.
    pub window_hours: u64,
}
