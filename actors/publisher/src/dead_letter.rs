use bytes::Bytes;
use jtav_kafka::OutboundRecord;
use jtav_pipeline::{DeadLetterRequest, InboundRecord};
use jtav_schemas::DeadLetterHeaders as Names;

/// Longest message in a header, in characters: the headers must stay small beside a record of the largest size.
const MAX_MESSAGE_CHARS: usize = 1_000;

/// The dead letter of a record: key, value and headers untouched, ours added after them. Kafka keeps repeated names
/// and readers take the last, so headers that a stranger named like ours do no harm.
pub fn dead_letter_record(
    topic: &str,
    request: &DeadLetterRequest,
    failed_at_ms: i64,
    model_version: &str,
    pipeline_version: &str,
) -> OutboundRecord {
    let record = request.record.as_ref();
    let source = &record.source;
    let mut dead = OutboundRecord {
        topic: topic.to_owned(),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
        ..OutboundRecord::default()
    };
    let mut add = |name: &str, value: String| dead.headers.push((name.to_owned(), Some(Bytes::from(value))));
    add(Names::REASON, request.reason.to_string());
    add(Names::STAGE, request.stage.to_string());
    add(Names::MESSAGE, request.message.chars().take(MAX_MESSAGE_CHARS).collect());
    add(Names::SOURCE_TOPIC, source.topic.clone());
    add(Names::SOURCE_PARTITION, source.partition.to_string());
    add(Names::SOURCE_OFFSET, source.offset.to_string());
    if let Some(timestamp_ms) = source.timestamp_ms {
        add(Names::SOURCE_TIMESTAMP_MS, timestamp_ms.to_string());
    }
    add(Names::ATTEMPTS, request.attempts.to_string());
    add(Names::REPLAY_COUNT, replay_count(record).to_string());
    add(Names::FAILED_AT_MS, failed_at_ms.to_string());
    if !model_version.is_empty() {
        add(Names::MODEL_VERSION, model_version.to_owned());
    }
    add(Names::PIPELINE_VERSION, pipeline_version.to_owned());
    if let Some(Ok(modalities)) = request.modalities.as_ref().map(serde_json::to_string) {
        add(Names::MODALITIES, modalities);
    }
    dead
}

/// A record that was replayed carries its count; anything that is no number counts as never.
fn replay_count(record: &InboundRecord) -> u32 {
    let last = record.headers.iter().rev().find(|(name, _)| name == Names::REPLAY_COUNT);
    last.and_then(|(_, value)| std::str::from_utf8(value.as_deref()?).ok()?.parse().ok()).unwrap_or(0)
}
