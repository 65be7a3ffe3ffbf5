use std::sync::Arc;

use jtav_kafka::{Producer, ProducerSettings};
use jtav_pipeline::RetryPolicy;
use jtav_publisher::{OutputTopics, PublisherParams, Reach};
use jtav_settings::Settings;

use super::PipelineParams;
use super::fit::fit;
use crate::rereading::Rereading;

/// The producer of everything that the worker writes.
///
/// # Errors
/// A deadline that librdkafka cannot be told.
pub(crate) fn producer_settings(settings: &Settings) -> anyhow::Result<ProducerSettings> {
    let delivery_timeout_ms = fit("publish.deadline_ms", settings.publish.deadline_ms)?;
    Ok(ProducerSettings { delivery_timeout_ms, ..ProducerSettings::default() })
}

/// What the publisher works with.
pub(crate) fn publisher_params(params: &PipelineParams, producer: &Producer) -> PublisherParams {
    let settings = &params.boxes.settings;
    PublisherParams {
        store: Arc::clone(&params.store),
        sink: Arc::new(producer.clone()),
        topics: OutputTopics {
            sentiment: settings.kafka.sentiment_topic.clone(),
            embeddings: settings.kafka.embeddings_topic.clone(),
            dead_letters: settings.kafka.dead_letters_topic.clone(),
            erasures: settings.kafka.erasures_topic.clone(),
        },
        reach: match &params.rereading {
            Some(Rereading { publish: false, .. }) => Reach::Store,
            _ => Reach::Topics,
        },
        retry: RetryPolicy {
            max_attempts: settings.publish.attempts,
            base_delay: settings.publish.base_delay(),
            deadline: settings.publish.deadline(),
            ..RetryPolicy::default()
        },
        label_ttl: settings.store.ttl(),
        erased_ttl: settings.store.erased_ttl(),
        model_version: params.boxes.networks.model_version.to_string(),
        pipeline_version: env!("CARGO_PKG_VERSION").to_owned(),
        way_out: Arc::clone(&params.way_out),
    }
}
