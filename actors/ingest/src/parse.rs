//! Record to post: what [`jtav_pipeline::read_post`] reads of the value, held against the key.

use jtav_kafka::Record;
use jtav_pipeline::{InboundRecord, PostEvent, ReadRules, Rejection, check_post_id, read_post};
use jtav_schemas::{DeadLetterReason, DeliveredFrom};

/// A record as it came from Kafka, for the boxes behind ingest.
pub fn inbound(record: Record) -> InboundRecord {
    let Record { topic, partition, offset, timestamp_ms, key, value, headers, cut } = record;
    InboundRecord { source: DeliveredFrom { topic, partition, offset, timestamp_ms }, key, value, headers, cut }
}

/// Reads a record of the input topic: a `post.v1`, or a tombstone (null value, or `deleted`).
///
/// The key must be the post's id: records of a post share a partition through it, and their order and erasure hang on
/// that.
///
/// # Errors
/// As [`read_post`], and a key that is not the post's id.
pub fn parse_record(record: &InboundRecord, max_record_bytes: usize) -> Result<PostEvent, Rejection> {
    let key = record.key.as_deref();
    let Some(value) = record.value.as_deref() else {
        let post_id = key_of_tombstone(key)?;
        return Ok(PostEvent::Tombstone { post_id, revision: 0 });
    };
    let value_bytes = record.value_bytes();
    let event = match read_post(value, &ReadRules::feed(max_record_bytes)) {
        // Of a larger one there may be no more than the first bytes, of which nothing but a deletion counts.
        Ok(PostEvent::Upsert(_)) if value_bytes > value.len() as u64 => {
            return too_large(value_bytes, max_record_bytes);
        }
        Err(_) if value_bytes > max_record_bytes as u64 => return too_large(value_bytes, max_record_bytes),
        read => read?,
    };
    match key {
        None => mismatch("record without a key; it must be the post's id".to_owned()),
        Some(key) if key != event.post_id().as_bytes() => mismatch("the key is not the post's id".to_owned()),
        Some(_) => Ok(event),
    }
}

fn key_of_tombstone(key: Option<&[u8]>) -> Result<String, Rejection> {
    let Some(key) = key else {
        return mismatch("null value without a key: nobody can tell which post to erase".to_owned());
    };
    let Ok(id) = std::str::from_utf8(key) else {
        return mismatch("null value with a key that is not UTF-8".to_owned());
    };
    match check_post_id(id) {
        Ok(()) => Ok(id.to_owned()),
        Err(what) => mismatch(format!("null value with a key that {what}")),
    }
}

fn too_large(value_bytes: u64, max_record_bytes: usize) -> Result<PostEvent, Rejection> {
    let message = format!("value of {value_bytes} bytes; at most {max_record_bytes} are read");
    Err(Rejection { reason: DeadLetterReason::RecordTooLarge, message })
}

fn mismatch<T>(message: String) -> Result<T, Rejection> {
    Err(Rejection { reason: DeadLetterReason::KeyMismatch, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn record(key: Option<&[u8]>, value: Option<&[u8]>) -> InboundRecord {
        InboundRecord {
            source: DeliveredFrom { topic: "posts".into(), partition: 0, offset: 0, timestamp_ms: None },
            key: key.map(Bytes::copy_from_slice),
            value: value.map(Bytes::copy_from_slice),
            headers: Vec::new(),
            cut: None,
        }
    }

    fn reason(key: &str, value: &str) -> DeadLetterReason {
        parse_record(&record(Some(key.as_bytes()), Some(value.as_bytes())), 1 << 20).unwrap_err().reason
    }

    #[test]
    fn a_null_value_erases_the_post_that_the_key_names() {
        let null = parse_record(&record(Some(b"p1"), None), 10).unwrap();
        assert_eq!(null, PostEvent::Tombstone { post_id: "p1".into(), revision: 0 });
        for key in [None, Some(&b""[..]), Some(&b"\xff"[..]), Some(&b"}p"[..])] {
            assert_eq!(parse_record(&record(key, None), 100).unwrap_err().reason, DeadLetterReason::KeyMismatch);
        }
    }

    #[test]
    fn the_key_must_be_the_id() {
        assert_eq!(reason("p2", r#"{"id":"p1"}"#), DeadLetterReason::KeyMismatch);
        assert_eq!(reason("p2", r#"{"id":"p1","deleted":true}"#), DeadLetterReason::KeyMismatch);
        assert_eq!(reason("p2", r#"{"id":"p1","deleted":true,"texts":7}"#), DeadLetterReason::KeyMismatch);
        let no_key = parse_record(&record(None, Some(br#"{"id":"p1"}"#)), 100).unwrap_err();
        assert_eq!(no_key.reason, DeadLetterReason::KeyMismatch);
        let found = parse_record(&record(Some("p\u{FFFD}".as_bytes()), Some(br#"{"id":"p\ud83d"}"#)), 100).unwrap();
        assert_eq!(found.post_id(), "p\u{FFFD}", "what a JavaScript producer makes of half an emoji in a key");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_bytes_make_it_panic(key in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
                                  value in prop::option::of(prop::collection::vec(any::<u8>(), 0..200))) {
            let _ = parse_record(&record(key.as_deref(), value.as_deref()), 150);
        }
    }
}
