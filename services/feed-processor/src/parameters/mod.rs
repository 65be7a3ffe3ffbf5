//! From settings to what each box is told. The settings are where a limit has its value; a limit that nobody sets has it
//! in the file of its box here, and nowhere a second time.

mod fit;
mod ingest;
mod media;
mod publisher;
mod router;

use std::collections::BTreeMap;
use std::sync::Arc;

use jtav_delivery::{PostBounds, PostPermits};
use jtav_kafka::ClientSettings;
use jtav_media::DecodePool;
use jtav_pipeline::{Observer, StageFlow};
use jtav_publisher::WayOut;
use jtav_router::{EncodingCache, SharedEncodings};
use jtav_settings::Settings;
use jtav_store::Store;
use jtav_telemetry::Conservation;

use crate::networks::Networks;
use crate::rereading::Rereading;

pub(crate) use ingest::{consumer_settings, ingest_settings};
pub use media::{decode_limits, decoders, fetcher, this_program};
pub(crate) use publisher::{producer_settings, publisher_params};
pub(crate) use router::router_params;

/// What the boxes between ingest and publisher are made of.
#[derive(Clone)]
pub struct BoxesParams {
    /// Every setting.
    pub settings: Arc<Settings>,
    /// Device threads.
    pub networks: Networks,
    /// Decode media.
    pub decoders: DecodePool,
    /// Encodings that are known.
    pub cache: EncodingCache,
    /// Watches outcomes.
    pub observer: Arc<dyn Observer>,
    /// Counts what passes the stages, over all generations.
    pub flow: StageFlow,
}

/// What a pipeline is made of; lives longer than any generation of it.
#[derive(Clone)]
pub struct PipelineParams {
    /// Of the boxes in the middle.
    pub boxes: BoxesParams,
    /// How to reach Kafka.
    pub client: ClientSettings,
    /// Where labels are kept.
    pub store: Arc<dyn Store>,
    /// Leave to be inside, over all generations.
    pub permits: PostPermits,
    /// Counts over all generations.
    pub conservation: Arc<Conservation>,
    /// Is told whether the dead-letter topic takes what it is given.
    pub way_out: Arc<WayOut>,
    /// A part of the topic to read again in place of the live feed.
    pub rereading: Option<Rereading>,
}

/// Leave to be inside, as the settings say.
pub fn permits(settings: &Settings) -> PostPermits {
    let ingest = &settings.ingest;
    PostPermits::with_bounds(PostBounds {
        posts: ingest.max_in_flight_posts,
        // Those of parked posts have a bound of their own besides.
        record_bytes: ingest.max_in_flight_bytes.saturating_add(ingest.max_parked_bytes),
        media_posts: ingest.media_post_count(),
        parked_posts: ingest.max_parked_posts,
        parked_bytes: ingest.max_parked_bytes,
    })
}

/// The Kafka client that the settings describe.
pub fn client_settings(settings: &Settings) -> ClientSettings {
    let mut client = ClientSettings::new(&settings.kafka.brokers, &settings.kafka.client_id);
    client.librdkafka = settings.kafka.librdkafka.to_map().into_iter().collect::<BTreeMap<_, _>>();
    client
}

/// The worker's encodings, shared with other workers where the settings say so.
pub(crate) fn encodings(settings: &Settings, store: &dyn Store, networks: &Networks) -> EncodingCache {
    let cache = EncodingCache::new(settings.cache.max_bytes, &networks.model_version);
    let ttl = settings.cache.shared_ttl();
    match store.shared_cache().filter(|_| settings.cache.shared) {
        Some(shared) => {
            let (most, dimensions) = (settings.cache.shared_max_items, networks.vector_dimensions);
            cache.sharing(SharedEncodings::new(shared, ttl, most, dimensions))
        }
        None => cache,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = Settings::default();
        change(&mut settings);
        settings
    }

    /// 2^32 would be 0, and the largest file would be none.
    #[test]
    fn a_setting_that_does_not_fit_is_named_and_never_wraps() {
        let most = u64::from(u32::MAX);
        let message = |result: anyhow::Result<()>| result.unwrap_err().to_string();
        let media = |settings: &Settings| message(media::fetch_limits(&settings.media).map(drop));
        assert!(
            media(&with(|s| s.media.max_image_bytes = most + 1)).starts_with("media.max_image_bytes is 4294967296")
        );
        assert!(media(&with(|s| s.media.max_audio_bytes = u64::MAX)).starts_with("media.max_audio_bytes is "));
        assert!(media(&with(|s| s.media.byte_budget_bytes = most + 1)).starts_with("media.byte_budget_bytes is "));
        let settings = with(|s| s.publish.deadline_ms = most + 1);
        assert!(message(producer_settings(&settings).map(drop)).starts_with("publish.deadline_ms is "));
        let consumer = |settings: &Settings| message(consumer_settings(settings, None).map(drop));
        assert!(consumer(&with(|s| s.ingest.session_timeout_ms = most + 1)).starts_with("ingest.session_timeout_ms"));
        assert!(consumer(&with(|s| s.ingest.max_poll_interval_ms = most + 1)).starts_with("ingest.max_poll_interval"));
        assert!(consumer(&with(|s| s.ingest.prefetch_max_bytes = usize::MAX)).starts_with("ingest.prefetch_max_bytes"));
        let fits = with(|s| (s.media.max_image_bytes, s.media.byte_budget_bytes) = (most, most));
        assert_eq!(media::fetch_limits(&fits.media).unwrap().budget_bytes, u32::MAX);
    }

    #[test]
    fn the_built_in_settings_fit() {
        let settings = Settings::default();
        media::fetch_limits(&settings.media).unwrap();
        producer_settings(&settings).unwrap();
        let consumer = consumer_settings(&settings, None).unwrap();
        assert_eq!((consumer.session_timeout_ms, consumer.heartbeat_interval_ms), (45_000, 3_000));
        assert_eq!((consumer.queued_max_messages_kbytes, consumer.max_kept_bytes), (1_024, 1 << 20));
        assert!(ingest_settings(&settings, None).check(&consumer).is_ok());
    }
}
