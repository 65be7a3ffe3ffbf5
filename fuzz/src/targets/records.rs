//! Records as they come from topics.

use bytes::Bytes;
use jtav_dead_letters::{Chains, Letter, ReplayRules, Scanned, decide, show, show_json};
use jtav_ingest::parse_record;
use jtav_kafka::Record;
use jtav_pipeline::{InboundRecord, PostEvent};
use jtav_schemas::{
    DatasetPostV1, DeadLetterHeaders, DeadLetterV1, DeliveredFrom, EmbeddingV1, ErasureV1, PostV1, SentimentV1,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The value of a record of the input topic, under its own id and without a key.
pub fn post_json(bytes: &[u8]) {
    let record = |key: Option<String>| InboundRecord {
        source: DeliveredFrom { topic: "posts".into(), partition: 0, offset: 1, timestamp_ms: None },
        key: key.map(Bytes::from),
        value: Some(Bytes::copy_from_slice(bytes)),
        headers: Vec::new(),
        cut: None,
    };
    let max_record_bytes = 1 << 20;
    assert!(parse_record(&record(None), max_record_bytes).is_err(), "a post without a key");
    let id = serde_json::from_slice::<serde_json::Value>(bytes).ok();
    let id = id.and_then(|value| value["id"].as_str().map(str::to_owned));
    match parse_record(&record(id.clone()), max_record_bytes) {
        Ok(PostEvent::Upsert(post)) => {
            assert_eq!(Some(&post.id), id.as_ref(), "the key is the id");
            assert!(!post.deleted, "a tombstone is no post");
            written_and_read::<PostV1>(&post);
        }
        Ok(PostEvent::Tombstone { post_id, .. }) => assert_eq!(Some(post_id), id, "the key is the id"),
        Err(rejection) => assert!(rejection.message.len() < 400, "a message is one line: {}", rejection.message),
    }
}

/// The first byte chooses the record, the rest is its JSON: what can be read can be written and read again.
pub fn schema_round_trip(bytes: &[u8]) {
    let Some((which, json)) = bytes.split_first() else { return };
    match which % 6 {
        0 => read_written_and_read::<PostV1>(json),
        1 => read_written_and_read::<DatasetPostV1>(json),
        2 => read_written_and_read::<SentimentV1>(json),
        3 => {
            read_written_and_read::<EmbeddingV1>(json);
            if let Ok(record) = serde_json::from_slice::<EmbeddingV1>(json)
                && let Ok(packed) = record.fused.packed()
            {
                assert_eq!(packed.len(), 2 * record.fused.dimensions as usize, "two bytes a component");
                let values = record.fused.unpack().expect("Invariant: packed bytes of the stated length unpack");
                assert_eq!(values.len(), record.fused.dimensions as usize, "a number for each component");
            }
        }
        4 => read_written_and_read::<DeadLetterV1>(json),
        _ => read_written_and_read::<ErasureV1>(json),
    }
}

fn read_written_and_read<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(json: &[u8]) {
    if let Ok(record) = serde_json::from_slice::<T>(json) {
        written_and_read(&record);
    }
}

fn written_and_read<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(record: &T) {
    let text = serde_json::to_string(record).expect("Invariant: a record that was read can be written");
    let back: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(&back, record, "written and read again: {text}");
}

/// A record of the dead-letter topic with any headers, key and value.
pub fn dead_letter_reader(bytes: &[u8]) {
    let record = record(bytes);
    let scanned = match Letter::read(&record) {
        Ok(letter) => {
            assert_eq!((&letter.key, &letter.value), (&record.key, &record.value), "the original is untouched");
            assert!(letter.headers.len() < record.headers.len(), "headers of ours are not the original's");
            let rules = ReplayRules { input_topic: "posts".into(), max_replays: 3, rekey: true };
            if let Ok(replay) = decide(&letter, &Chains::new(4), &rules, false) {
                assert_eq!(replay.value, record.value, "a replay brings the bytes back");
            }
            Scanned::Letter(Box::new(letter))
        }
        Err(error) => Scanned::Unreadable { record: Box::new(record), error },
    };
    let shown = show(&scanned);
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "a terminal would obey: {shown:?}");
    show_json(&scanned).expect("Invariant: what was read can be written as JSON");
}

/// Number of headers; each with the length of its name (from 240 on a name of ours), the name, the length of the value (255:
/// none) and the value; the length of the key (255: none) and the key; the rest is the value.
fn record(bytes: &[u8]) -> Record {
    let mut rest = bytes;
    let headers = (0..byte(&mut rest).unwrap_or(0) % 32)
        .map(|_| {
            let name = match byte(&mut rest).unwrap_or(0) {
                ours @ 240.. => OURS[usize::from(ours - 240) % OURS.len()].to_owned(),
                length => String::from_utf8_lossy(&take(&mut rest, length)).into_owned(),
            };
            (name, optional(&mut rest))
        })
        .collect();
    let key = optional(&mut rest);
    let value = (!rest.is_empty()).then(|| Bytes::copy_from_slice(rest));
    Record { topic: "dead-letters".into(), partition: 0, offset: 7, timestamp_ms: None, key, value, headers, cut: None }
}

const OURS: [&str; 15] = [
    DeadLetterHeaders::REASON,
    DeadLetterHeaders::STAGE,
    DeadLetterHeaders::MESSAGE,
    DeadLetterHeaders::SOURCE_TOPIC,
    DeadLetterHeaders::SOURCE_PARTITION,
    DeadLetterHeaders::SOURCE_OFFSET,
    DeadLetterHeaders::SOURCE_TIMESTAMP_MS,
    DeadLetterHeaders::ATTEMPTS,
    DeadLetterHeaders::REPLAY_COUNT,
    DeadLetterHeaders::FAILED_AT_MS,
    DeadLetterHeaders::MODEL_VERSION,
    DeadLetterHeaders::PIPELINE_VERSION,
    DeadLetterHeaders::MODALITIES,
    DeadLetterHeaders::ORIGIN,
    DeadLetterHeaders::TRUNCATED,
];

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, others) = rest.split_first()?;
    *rest = others;
    Some(*first)
}

fn take(rest: &mut &[u8], length: u8) -> Vec<u8> {
    let (taken, others) = rest.split_at(usize::from(length).min(rest.len()));
    *rest = others;
    taken.to_vec()
}

fn optional(rest: &mut &[u8]) -> Option<Bytes> {
    match byte(rest)? {
        255 => None,
        length => Some(take(rest, length).into()),
    }
}
