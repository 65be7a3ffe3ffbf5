//! Limits. Sizes in bytes, times as durations. What serves has them from the settings; there are no defaults here.

use std::path::PathBuf;
use std::time::Duration;

use jtav_schemas::Modality;
use serde::{Deserialize, Serialize};

use crate::policy::AddressPolicy;
use crate::sources::MediaSources;

/// Everything that the fetcher can be told.
#[derive(Debug, Clone)]
pub struct FetchParams {
    /// Where media may come from.
    pub policy: AddressPolicy,
    /// How much and how long.
    pub limits: FetchLimits,
    /// Sent with every request, so that a host can see who asks.
    pub user_agent: String,
    /// Media that lie elsewhere than on the web; none.
    pub sources: MediaSources,
    /// Certificate authorities that are trusted besides the system's, each PEM; none.
    pub extra_authorities_pem: Vec<Vec<u8>>,
}

impl FetchParams {
    /// Of tests and fuzzers.
    pub fn for_tests() -> Self {
        Self {
            policy: AddressPolicy::default(),
            limits: FetchLimits::for_tests(),
            user_agent: concat!("jtav/", env!("CARGO_PKG_VERSION")).to_owned(),
            sources: MediaSources::default(),
            extra_authorities_pem: Vec::new(),
        }
    }
}

/// Limits of downloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchLimits {
    /// Largest image file.
    pub max_image_bytes: u32,
    /// Largest audio file.
    pub max_audio_bytes: u32,
    /// Bytes of all media that are downloaded and not yet decoded (design D3); at least the largest file.
    pub budget_bytes: u32,
    /// Concurrent downloads, all hosts together. While others wait, they are shared out by site and by network; one of
    /// these never has the last quarter.
    pub max_downloads: usize,
    /// Concurrent downloads from one host and port, so that a hanging host cannot hold every slot.
    pub max_per_host: usize,
    /// Connections that are kept for the next request, all hosts together.
    pub max_idle_connections: usize,
    /// Redirects that are followed.
    pub max_redirects: u32,
    /// Tries of one download, the first included.
    pub max_attempts: u32,
    /// DNS, TCP and TLS.
    pub connect_timeout: Duration,
    /// From the request to the head of the response, connecting included.
    pub first_byte_timeout: Duration,
    /// Between two pieces of a body.
    pub idle_timeout: Duration,
    /// From the request to the last byte of the body; a slow trickle ends here.
    pub total_timeout: Duration,
    /// The n-th wait between tries lasts a random part of `backoff · 2^(n−1)` (full jitter).
    pub backoff: Duration,
    /// Failures of a host in a row after which its media are absent at once for a while; 0: never.
    pub host_failures: u32,
    /// So long without a sign of life while all its slots are busy has the same effect.
    pub host_stall: Duration,
    /// The first such while; it doubles with every probe that fails.
    pub host_rest: Duration,
    /// The longest.
    pub max_host_rest: Duration,
}

impl FetchLimits {
    /// Of tests.
    pub fn for_tests() -> Self {
        Self {
            max_image_bytes: 20_000_000,
            max_audio_bytes: 30_000_000,
            budget_bytes: 256 << 20,
            max_downloads: 96,
            max_per_host: 8,
            max_idle_connections: 64,
            max_redirects: 5,
            max_attempts: 3,
            connect_timeout: Duration::from_secs(3),
            first_byte_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(15),
            backoff: Duration::from_millis(200),
            host_failures: 5,
            host_stall: Duration::from_secs(2),
            host_rest: Duration::from_secs(5),
            max_host_rest: Duration::from_secs(60),
        }
    }
}

impl FetchLimits {
    /// Largest file of a modality; text is never fetched.
    pub fn max_bytes(&self, modality: Modality) -> u32 {
        match modality {
            Modality::Text => 0,
            Modality::Audio => self.max_audio_bytes,
            Modality::Image => self.max_image_bytes,
        }
    }
}

/// Limits of decoding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecodeLimits {
    /// Width × height, read from the header before anything is allocated.
    pub max_pixels: u64,
    /// Bytes of the decoded picture before it is reduced.
    pub max_image_bytes: u64,
    /// The same with what the decoder needs beside it (coefficients of a progressive JPEG, planes of a WebP).
    pub max_image_working_bytes: u64,
    /// What decoding a picture may cost in CPU time, by what its header says (`picture/price.rs`).
    pub max_picture_price: Duration,
    /// Shorter side after resizing, in pixels.
    pub shorter_side_px: u32,
    /// Side of the central square that is encoded, in pixels; at most `shorter_side_px`.
    pub crop_px: u32,
    /// Longest sound that is decoded, whatever is listened to: a longer clip is cut off.
    pub max_audio: Duration,
    /// Decoding stops after this much sound, so that what a clip costs does not grow with its length.
    pub analysed_audio: Duration,
    /// Clips of these rates keep theirs, because who listens resamples: a GPU does it beside what it does anyway. Others
    /// come at [`crate::SAMPLE_RATE_HZ`].
    pub left_rates_hz: Vec<u32>,
    /// Lowest sample rate.
    pub min_sample_rate_hz: u32,
    /// Highest sample rate.
    pub max_sample_rate_hz: u32,
    /// Most channels.
    pub max_channels: usize,
    /// CPU time that the audio of one file may take, looked at between packets and between reads of the file: a clip that is
    /// made to be searched through ends here. An honest one of a minute takes a tenth.
    pub max_audio_cpu: Duration,
}

impl DecodeLimits {
    /// With the limits that are set; the others are what the decoders here are made for.
    pub fn new(max_pixels: u64, max_audio: Duration, analysed_audio: Duration) -> Self {
        Self {
            max_pixels,
            max_image_bytes: 128 << 20,
            max_image_working_bytes: 256 << 20,
            max_picture_price: Duration::from_secs(1),
            shorter_side_px: 256,
            crop_px: 224,
            max_audio,
            analysed_audio,
            left_rates_hz: Vec::new(),
            min_sample_rate_hz: 8_000,
            max_sample_rate_hz: 192_000,
            max_channels: 8,
            max_audio_cpu: Duration::from_secs(1),
        }
    }

    /// Of tests, benchmarks and fuzzers.
    pub fn for_tests() -> Self {
        Self::new(40_000_000, Duration::from_secs(600), Duration::from_secs(60))
    }
}

/// Everything that the decode workers can be told.
#[derive(Debug, Clone)]
pub struct DecodeParams {
    /// What is decoded.
    pub limits: DecodeLimits,
    /// Workers; one picture or clip each.
    pub workers: usize,
    /// Media that may wait for a worker. The permits of the pipeline bound how many can come, two for each post.
    pub max_queued: usize,
    /// Where decoding happens.
    pub isolation: Isolation,
}

impl DecodeParams {
    /// Of tests.
    pub fn for_tests() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { limits: DecodeLimits::for_tests(), workers: cores, max_queued: 1024, isolation: Isolation::Threads }
    }
}

/// Where decoding happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Isolation {
    /// In threads of this process. A decoder's panic is caught; its crash, or an allocation that fails, ends the process.
    Threads,
    /// In processes of their own, which cost one medium each when they end.
    Processes(ProcessParams),
}

/// How decode workers are started and what they may take.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessParams {
    /// A program that calls [`crate::serve_decode_workers`] when it is started with `arguments`.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Memory that one medium may take, bytes: the file, the decoder and what it decodes to.
    pub max_memory_bytes: u64,
    /// CPU time that one medium may take.
    pub max_cpu: Duration,
    /// Wall time that one medium may take: ends a decoder that waits for ever. A busy machine makes it long.
    pub max_wall: Duration,
}

impl ProcessParams {
    /// With the program that runs now, which must serve as `jtav decode-worker` does.
    pub fn this_program(max_memory_bytes: u64, max_cpu: Duration, max_wall: Duration) -> Self {
        Self {
            // Also where the file was replaced by a new version meanwhile.
            program: PathBuf::from("/proc/self/exe"),
            arguments: vec!["decode-worker".to_owned()],
            max_memory_bytes,
            max_cpu,
            max_wall,
        }
    }

    /// Of tests: a program that serves as `jtav decode-worker` does.
    pub fn for_tests(program: impl Into<PathBuf>) -> Self {
        let limits = Self::this_program(128 << 20, Duration::from_secs(2), Duration::from_secs(10));
        Self { program: program.into(), ..limits }
    }
}
