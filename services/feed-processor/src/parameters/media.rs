use std::time::Duration;

use anyhow::Context as _;
use jtav_media::{
    AddressPolicy, DecodeParams, DecodePool, FetchLimits, FetchParams, Fetcher, HostRules, Isolation, MediaSources,
    ProcessParams,
};
use jtav_media_codecs::DecodeLimits;
use jtav_settings::{Media, MediaSource, Settings};

use super::fit::fit;

/// The first rest of a host that failed; it doubles up to `media.circuit_max_open_ms`.
const HOST_REST: Duration = Duration::from_secs(5);
/// A host that gives no sign of life for so long while all its slots are busy rests, too.
const HOST_STALL: Duration = Duration::from_secs(2);
/// From the request to the head of the response, connecting included.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two pieces of a body.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Upper end of the first wait before another try.
const FETCH_BACKOFF: Duration = Duration::from_millis(200);

/// What the settings allow a download.
///
/// # Errors
/// A size that no file can have.
pub(super) fn fetch_limits(media: &Media) -> anyhow::Result<FetchLimits> {
    Ok(FetchLimits {
        max_image_bytes: fit("media.max_image_bytes", media.max_image_bytes)?,
        max_audio_bytes: fit("media.max_audio_bytes", media.max_audio_bytes)?,
        budget_bytes: fit("media.byte_budget_bytes", media.byte_budget_bytes)?,
        max_downloads: media.max_downloads,
        max_per_host: media.per_host_concurrency,
        max_idle_connections: media.max_idle_connections,
        max_redirects: media.max_redirects,
        max_attempts: media.attempts,
        connect_timeout: media.connect_timeout(),
        first_byte_timeout: FIRST_BYTE_TIMEOUT,
        idle_timeout: IDLE_TIMEOUT,
        total_timeout: media.total_timeout(),
        backoff: FETCH_BACKOFF,
        host_failures: media.circuit_failures,
        host_stall: HOST_STALL,
        host_rest: HOST_REST.min(media.circuit_max_open()),
        max_host_rest: media.circuit_max_open(),
    })
}

/// Downloads as the settings allow them.
///
/// # Errors
/// An HTTP client that cannot be made.
pub fn fetcher(settings: &Settings) -> anyhow::Result<Fetcher> {
    let media = &settings.media;
    let hosts = |names: &[String]| names.iter().map(|name| name.parse()).collect::<Result<_, _>>();
    let hosts = HostRules {
        allow: hosts(&media.allow_hosts).context("media.allow_hosts")?,
        deny: hosts(&media.deny_hosts).context("media.deny_hosts")?,
    };
    let nat64_prefixes = media.nat64_prefixes.iter().map(|prefix| prefix.parse()).collect::<Result<_, _>>();
    let nat64_prefixes = nat64_prefixes.context("media.nat64_prefixes")?;
    let params = FetchParams {
        policy: AddressPolicy { allow: media.allow.clone(), hosts, nat64_prefixes, ..AddressPolicy::default() },
        limits: fetch_limits(media)?,
        user_agent: media.user_agent.clone(),
        sources: sources(media)?,
        extra_authorities_pem: Vec::new(),
    };
    Fetcher::new(params).context("media downloads")
}

fn sources(media: &Media) -> anyhow::Result<MediaSources> {
    let has = |source| media.sources.contains(&source);
    let endpoint = media.s3_endpoint.as_deref().filter(|_| has(MediaSource::S3));
    Ok(MediaSources {
        data: has(MediaSource::Data),
        file_roots: if has(MediaSource::File) { media.file_roots.clone() } else { Vec::new() },
        s3: endpoint.map(str::parse).transpose().context("media.s3_endpoint")?,
    })
}

/// What the settings allow a decoder.
pub fn decode_limits(settings: &Settings) -> DecodeLimits {
    let (media, seconds) = (&settings.media, |seconds| Duration::from_secs(u64::from(seconds)));
    DecodeLimits::new(media.max_pixels, seconds(media.max_decoded_audio_seconds), seconds(media.analysed_audio_seconds))
}

/// What the settings allow a decoder of the pipeline: where the networks run on a GPU, sound is resampled there.
fn pipeline_limits(settings: &Settings) -> DecodeLimits {
    let on_gpu = settings.model.runs_on_gpu();
    let left_rates_hz = if on_gpu { jtav_signal::DEVICE_RATES_HZ.to_vec() } else { Vec::new() };
    DecodeLimits { left_rates_hz, ..decode_limits(settings) }
}

/// Decodes as the settings say, in processes of `program` or in threads. Blocks for some tenths of a second.
///
/// # Errors
/// No thread, no process.
pub fn decoders(settings: &Settings, program: ProcessParams) -> anyhow::Result<DecodePool> {
    let params = DecodeParams {
        limits: pipeline_limits(settings),
        workers: settings.media.decode_worker_count(),
        max_queued: settings.ingest.max_in_flight_posts.saturating_mul(2),
        isolation: match settings.media.decode_processes {
            true => Isolation::Processes(program),
            false => Isolation::Threads,
        },
    };
    DecodePool::start(&params).context("decode workers; media.decode_processes = false does without processes")
}

/// The program that runs now as decode worker, within the limits of the settings. It must be `jtav`.
pub fn this_program(settings: &Settings) -> ProcessParams {
    let media = &settings.media;
    ProcessParams::this_program(media.decode_memory_bytes, media.decode_cpu(), media.decode_wall())
}
