use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::durations::durations;
use super::values::{
    CpuEngine, CpuPrecision, Device, MediaSource, empty_as_none, exact_addresses, none_as_empty, or_cores,
};

/// Fetching and decoding what strangers point at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Media {
    /// Exact `address:port` pairs that may be fetched although they are not public. Anything here can be reached by
    /// anyone who can post. Default: empty.
    #[serde(deserialize_with = "exact_addresses")]
    pub allow: Vec<SocketAddr>,
    /// Hosts that media may come from and no other: names, `*.` and a name for all below it, or addresses; checked for
    /// every redirect too. Default: empty.
    pub allow_hosts: Vec<String>,
    /// Hosts that no medium comes from, written in the same way; wins over `allow_hosts`. Default: empty.
    pub deny_hosts: Vec<String>,
    /// IPv6 prefixes behind which this network leads on to IPv4 (NAT64, RFC 6052): the IPv4 address inside is judged. Name your
    /// own, or what stands behind it can be reached by anyone who can post. Default: empty.
    pub nat64_prefixes: Vec<String>,
    /// Sources besides http and https: `data` for media inside their URL, `file` for files below `file_roots`, `s3` for
    /// objects behind `s3_endpoint`. Default: empty.
    pub sources: Vec<MediaSource>,
    /// Absolute folders whose files anyone who can post may have read, with the source `file`. Default: empty.
    pub file_roots: Vec<PathBuf>,
    /// Where the object of `s3://bucket/key` is downloaded, unsigned, with the source `s3`: an https address with
    /// `{bucket}` and `{key}` in it. Default: empty.
    #[serde(deserialize_with = "empty_as_none", serialize_with = "none_as_empty")]
    #[schemars(with = "String")]
    pub s3_endpoint: Option<String>,
    /// Bytes of the largest image file; a larger one is absent with reason `too_large`. Default: `20971520`.
    pub max_image_bytes: u64,
    /// Bytes of the largest audio file; a larger one is absent with reason `too_large`. Default: `31457280`.
    pub max_audio_bytes: u64,
    /// Bytes of fetched media in memory at once, all posts together, taken as they come; a fetch waits when it is used up.
    /// Default: `134217728`.
    pub byte_budget_bytes: u64,
    /// Pixels of the largest image, checked before decoding: three bytes of memory each. Default: `40000000`.
    pub max_pixels: u64,
    /// Seconds of sound that are decoded at most; the rest is cut off. Default: `600`.
    pub max_decoded_audio_seconds: u32,
    /// Seconds from the start of the clip that the network hears, at most those that it was trained on; each costs about 3 ms of
    /// a CPU core. Default: `30`.
    pub analysed_audio_seconds: u32,
    /// Milliseconds to open a connection, TLS included. Default: `3000`.
    pub connect_timeout_ms: u64,
    /// Milliseconds for one try of one medium, from the request to the last byte: ends a server that sends one byte a
    /// second. Default: `10000`.
    pub total_timeout_ms: u64,
    /// Redirects that are followed, at most 5; each hop is checked like the first address. Default: `5`.
    pub max_redirects: u32,
    /// Tries of one medium, the first included; only time-outs, 429 and 5xx are tried again. Default: `3`.
    pub attempts: u32,
    /// Fetches at once, all hosts together; shared out by site and by network while others wait. Default: `96`.
    pub max_downloads: usize,
    /// Fetches from one host at once: politeness, and a hanging host cannot hold more posts than this. Default: `8`.
    pub per_host_concurrency: usize,
    /// Connections to media hosts that are kept for the next request, all hosts together; each takes a descriptor and some
    /// 60 kB. Default: `64`.
    pub max_idle_connections: usize,
    /// Failures of a host in a row (time-outs, broken connections, 429, 5xx) after which its media are absent at once for
    /// a while instead of being waited for. 0: never. Default: `5`.
    pub circuit_failures: u32,
    /// Milliseconds until such a host is tried again with one request: 5 s at first, doubling up to this.
    /// Default: `60000`.
    pub circuit_max_open_ms: u64,
    /// Media that are decoded at once. 0: one for each CPU core. Default: `0`.
    pub decode_workers: usize,
    /// Media that are being decoded, or are decoded and wait for their network, at once; a bound for memory. Default: `64`.
    pub max_decoded: usize,
    /// Whether media are decoded in processes of their own, with limits on memory, CPU time and system calls, so that a
    /// decoder that breaks costs one medium. `false`: in threads, where it ends the worker. Default: `true`.
    pub decode_processes: bool,
    /// Bytes that one medium may take in a decode process: file, decoder and what it decodes to. Default: `134217728`.
    pub decode_memory_bytes: u64,
    /// Milliseconds of CPU time that one medium may take in a decode process. Default: `2000`.
    pub decode_cpu_ms: u64,
    /// Milliseconds of wall time that one medium may take in a decode process; a busy machine makes it long.
    /// Default: `10000`.
    pub decode_wall_ms: u64,
    /// What media hosts see as the user agent. Default: `jtav`.
    pub user_agent: String,
}

durations!(Media {
    connect_timeout: from_millis(connect_timeout_ms),
    total_timeout: from_millis(total_timeout_ms),
    circuit_max_open: from_millis(circuit_max_open_ms),
    decode_cpu: from_millis(decode_cpu_ms),
    decode_wall: from_millis(decode_wall_ms),
});

impl Media {
    /// `decode_workers`, with 0 resolved to the number of CPU cores.
    pub fn decode_worker_count(&self) -> usize {
        or_cores(self.decode_workers)
    }
}

/// The networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Folder of the checkpoint: absolute, or relative to the working folder, or shipped with the program.
    /// Default: `models/jtav-modern`.
    pub path: PathBuf,
    /// Folder of base weights, which checkpoints name by their hash and stand on. Looked at before the usual places and after
    /// the checkpoint's own folder; the usual ones are JTAV_WEIGHTS_DIR and what `scripts/setup-weights.sh` made. Empty is
    /// none. Default: empty.
    #[serde(deserialize_with = "empty_as_none", serialize_with = "none_as_empty")]
    #[schemars(with = "String")]
    pub weights: Option<PathBuf>,
    /// `auto` takes the first GPU that works and else the CPU; `cpu`; `cuda:0`. Default: `auto`.
    pub device: Device,
    /// What computes on a CPU: `auto`, for each network the fastest of OpenVINO and libtorch by a measurement at the start, libtorch
    /// alone where OpenVINO is not installed; `libtorch`; `openvino`, and failing without it. Default: `auto`.
    pub cpu_engine: CpuEngine,
    /// In which numbers a CPU multiplies: `auto`, bf16 where the processor has it (AVX-512 BF16) and the answers are near those in f32,
    /// in about half the time; `f32`, and processors differ by its rounding alone. On libtorch bf16 is not held against f32. Default: `auto`.
    pub cpu_precision: CpuPrecision,
    /// Image networks side by side, each with one thread and its own copy of the weights. 0: one for each CPU core,
    /// and one on a GPU. Default: `0`.
    pub image_streams: usize,
    /// Text networks side by side, likewise. Default: `0`.
    pub text_streams: usize,
    /// Texts in one forward pass: larger raises throughput on a GPU and the wait of the first item. Default: `32`.
    pub text_max_batch_items: usize,
    /// Clips in one forward pass; a clip of 30 s is three segments. Default: `8`.
    pub audio_max_batch_items: usize,
    /// Images in one forward pass. Default: `16`.
    pub image_max_batch_items: usize,
    /// Posts in one fusion pass on a GPU; on a CPU each is fused by itself. Default: `64`.
    pub fusion_max_batch_items: usize,
    /// Milliseconds to wait for a batch to fill. 0: a batch is what arrived while the last one ran; waiting costs
    /// latency when idle. Default: `0`.
    pub max_wait_ms: u64,
    /// Replaces the networks by a fixed function of the input: measures everything but the networks. Its labels mean
    /// nothing. Default: `false`.
    pub stub: bool,
}

durations!(Model { max_wait: from_millis(max_wait_ms) });

impl Model {
    /// Whether the networks run on a GPU that is named; `auto` is none until somebody has looked.
    pub fn runs_on_gpu(&self) -> bool {
        matches!(self.device, Device::Cuda(_)) && !self.stub
    }

    /// `image_streams`, with 0 resolved: one on a GPU, else one for each CPU core.
    pub fn image_stream_count(&self) -> usize {
        self.stream_count(self.image_streams)
    }

    /// `text_streams`, likewise.
    pub fn text_stream_count(&self) -> usize {
        self.stream_count(self.text_streams)
    }

    fn stream_count(&self, set: usize) -> usize {
        if set == 0 && self.runs_on_gpu() { 1 } else { or_cores(set) }
    }
}

/// Encoder outputs by content hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Bytes of encoder outputs kept, so that a viral picture is encoded once. 0: off. Default: `67108864`.
    pub max_bytes: u64,
    /// Shares encoder outputs among the workers through the store's Redis. Its failures cost a computation and never a
    /// post. Default: `false`.
    pub shared: bool,
    /// Seconds that a shared output is kept; by then those of an erased post are gone everywhere. Default: `3600`.
    pub shared_ttl_seconds: u64,
    /// Shared outputs kept at most, the oldest give way; each takes a kilobyte or two. Default: `50000`.
    pub shared_max_items: u64,
}

durations!(Cache { shared_ttl: from_secs(shared_ttl_seconds) });
