//! Limits of downloads. Sizes in bytes, times as durations. What serves has them from the settings; there are no defaults here.

use std::time::Duration;

use jtav_schemas::Modality;

use super::address::AddressPolicy;
use super::sources::MediaSources;

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
    /// Bytes of all media that are downloaded and not yet decoded (ADR 24); at least the largest file.
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
    /// Largest file of any modality.
    pub(super) fn largest_bytes(&self) -> u32 {
        self.max_image_bytes.max(self.max_audio_bytes)
    }

    /// Largest file of a modality; text is never fetched.
    pub fn max_bytes(&self, modality: Modality) -> u32 {
        match modality {
            Modality::Text => 0,
            Modality::Audio => self.max_audio_bytes,
            Modality::Image => self.max_image_bytes,
        }
    }
}
