use bytes::Bytes;
use jtav_kafka::{HeaderRoom, OutboundRecord, RECORD_FRAME_BYTES, Shares, header_bytes};
use jtav_pipeline::{DeadLetterRequest, InboundRecord};
use jtav_schemas::{DeadLetterHeaders as Names, Truncation, Whole};

/// Longest message in a header, in characters: the headers must stay small beside a record of the largest size.
const MAX_MESSAGE_CHARS: usize = 1_000;
/// Bytes of the [`Truncation`] as JSON, at most: two lengths, two hashes, two counts.
const TRUNCATION_BYTES: usize = 400;

type Header = (String, Option<Bytes>);

/// What is the same for every dead letter of a worker.
#[derive(Debug, Clone, Copy)]
pub struct LetterParams<'a> {
    /// The dead-letter topic.
    pub topic: &'a str,
    /// Bytes that a record of it may have, as [`OutboundRecord::size`] counts them.
    pub max_bytes: u64,
    /// Model that serves; empty while none is loaded.
    pub model_version: &'a str,
    /// Version of the program.
    pub pipeline_version: &'a str,
}

/// The dead letter of a record: key, value and headers untouched, ours added after them. Kafka keeps repeated names
/// and readers take the last, so headers that a stranger named like ours do no harm.
///
/// Of a record that does not fit it carries the first bytes of key and value, the headers that fit, and a
/// [`Truncation`]. Only our own headers are never cut: with a limit below them the letter is larger than the limit.
pub fn dead_letter_record(request: &DeadLetterRequest, failed_at_ms: i64, params: LetterParams<'_>) -> OutboundRecord {
    let record = request.record.as_ref();
    let mut own = own_headers(request, failed_at_ms, params);
    let whole = OutboundRecord {
        topic: params.topic.to_owned(),
        key: record.key.clone(),
        value: record.value.clone(),
        ..OutboundRecord::default()
    };
    if record.cut.is_none() && whole.size() + bytes_of(&record.headers) + bytes_of(&own) <= params.max_bytes {
        let headers = record.headers.iter().cloned().chain(own).collect();
        return OutboundRecord { headers, ..whole };
    }
    let taken = RECORD_FRAME_BYTES + bytes_of(&own) + header_bytes(Names::TRUNCATED.len(), Some(TRUNCATION_BYTES));
    let (mut cut, truncation) = cut_down(record, params.max_bytes.saturating_sub(taken));
    // Numbers and hashes can always be written. Last, where no stranger's header stands.
    own.push(ours(Names::TRUNCATED, serde_json::to_string(&truncation).unwrap_or_default()));
    cut.headers.extend(own);
    OutboundRecord { key: cut.key, value: cut.value, headers: cut.headers, ..whole }
}

/// As much of a record as has room, and what is missing.
fn cut_down(record: &InboundRecord, room: u64) -> (InboundRecord, Truncation) {
    let earlier = record.cut.as_deref().cloned().unwrap_or_default();
    let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len) as u64;
    let shares = Shares::of(room, len(&record.key), bytes_of(&record.headers), len(&record.value));
    let first = |bytes: &Option<Bytes>, share: u64| {
        bytes.as_ref().map(|bytes| bytes.slice(..bytes.len().min(usize::try_from(share).unwrap_or(usize::MAX))))
    };
    let whole = |earlier: Option<Whole>, bytes: &Option<Bytes>| earlier.or_else(|| Some(Whole::of(bytes.as_deref()?)));
    let mut header_room = HeaderRoom::new(shares.headers, usize::MAX);
    let mut headers: Vec<Header> = record
        .headers
        .iter()
        .rev()
        .filter(|(name, value)| header_room.takes(name.len(), value.as_ref().map(Bytes::len)))
        .cloned()
        .collect();
    headers.reverse();
    let kept = InboundRecord {
        key: first(&record.key, shares.key),
        value: first(&record.value, shares.value),
        headers,
        ..InboundRecord::default()
    };
    let truncation = Truncation {
        key: whole(earlier.key, &record.key),
        value: whole(earlier.value, &record.value),
        headers_left_out: earlier.headers_left_out + header_room.left_out,
        header_bytes_left_out: earlier.header_bytes_left_out + header_room.left_out_bytes,
    };
    (kept, truncation)
}

fn own_headers(request: &DeadLetterRequest, failed_at_ms: i64, params: LetterParams<'_>) -> Vec<Header> {
    let record = request.record.as_ref();
    let source = &record.source;
    let mut own = vec![
        // First: readers take it for the place where the original's headers end.
        ours(Names::REASON, request.reason.to_string()),
        ours(Names::STAGE, request.stage.to_string()),
        ours(Names::MESSAGE, request.message.chars().take(MAX_MESSAGE_CHARS).collect()),
        ours(Names::SOURCE_TOPIC, source.topic.clone()),
        ours(Names::SOURCE_PARTITION, source.partition.to_string()),
        ours(Names::SOURCE_OFFSET, source.offset.to_string()),
    ];
    if let Some(timestamp_ms) = source.timestamp_ms {
        own.push(ours(Names::SOURCE_TIMESTAMP_MS, timestamp_ms.to_string()));
    }
    own.push(ours(Names::ATTEMPTS, request.attempts.to_string()));
    own.push(ours(Names::REPLAY_COUNT, replay_count(record).to_string()));
    own.push(ours(Names::FAILED_AT_MS, failed_at_ms.to_string()));
    if !params.model_version.is_empty() {
        own.push(ours(Names::MODEL_VERSION, params.model_version.to_owned()));
    }
    own.push(ours(Names::PIPELINE_VERSION, params.pipeline_version.to_owned()));
    if let Some(Ok(modalities)) = request.modalities.as_ref().map(serde_json::to_string) {
        own.push(ours(Names::MODALITIES, modalities));
    }
    own
}

fn ours(name: &str, value: String) -> Header {
    (name.to_owned(), Some(Bytes::from(value)))
}

fn bytes_of(headers: &[Header]) -> u64 {
    headers.iter().map(|(name, value)| header_bytes(name.len(), value.as_ref().map(Bytes::len))).sum()
}

/// A record that was replayed carries its count; anything that is no number counts as never.
fn replay_count(record: &InboundRecord) -> u32 {
    let last = record.headers.iter().rev().find(|(name, _)| name == Names::REPLAY_COUNT);
    last.and_then(|(_, value)| std::str::from_utf8(value.as_deref()?).ok()?.parse().ok()).unwrap_or(0)
}
