//! Record to post. Pure, total, and silent about what the post says: messages name a place and an expectation.

use jtav_kafka::Record;
use jtav_pipeline::{InboundRecord, PostEvent, Rejection};
use jtav_schemas::{DeadLetterReason, DeliveredFrom, PostV1};
use serde_json::error::Category;
use std::sync::Arc;

/// Longest id, in characters.
const MAX_ID_CHARS: usize = 256;

/// A record as it came from Kafka, for the boxes behind ingest.
pub fn inbound(record: Record) -> InboundRecord {
    let Record { topic, partition, offset, timestamp_ms, key, value, headers } = record;
    InboundRecord { source: DeliveredFrom { topic, partition, offset, timestamp_ms }, key, value, headers }
}

/// Reads a record of the input topic: a `post.v1`, or a tombstone (null value, or `deleted`).
///
/// The key must be the post's id: records of a post share a partition through it, and their order and erasure hang on
/// that. Nesting deeper than 128 levels is refused by the JSON reader.
pub fn parse_record(record: &InboundRecord, max_record_bytes: usize) -> Result<PostEvent, Rejection> {
    let key = record.key.as_deref();
    let Some(value) = record.value.as_deref() else {
        let post_id = key_of_tombstone(key)?;
        return Ok(PostEvent::Tombstone { post_id, revision: 0 });
    };
    if value.len() > max_record_bytes {
        return reject(
            DeadLetterReason::RecordTooLarge,
            format!("value of {} bytes; at most {max_record_bytes} are read", value.len()),
        );
    }
    let text = std::str::from_utf8(value).map_err(|error| {
        rejection(DeadLetterReason::InvalidJson, format!("not UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    let post: PostV1 = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
    check_id(&post.id).map_err(|what| rejection(DeadLetterReason::InvalidPost, format!("field `id` {what}")))?;
    match key {
        None => return reject(DeadLetterReason::KeyMismatch, "record without a key; it must be the post's id".into()),
        Some(key) if key != post.id.as_bytes() => {
            return reject(DeadLetterReason::KeyMismatch, "the key is not the post's id".into());
        }
        Some(_) => {}
    }
    if post.deleted {
        return Ok(PostEvent::Tombstone { post_id: post.id, revision: post.revision });
    }
    Ok(PostEvent::Upsert(Arc::new(post)))
}

fn key_of_tombstone(key: Option<&[u8]>) -> Result<String, Rejection> {
    let key = key.ok_or_else(|| {
        rejection(DeadLetterReason::KeyMismatch, "null value without a key: nobody can tell which post to erase".into())
    })?;
    let id = std::str::from_utf8(key)
        .map_err(|_| rejection(DeadLetterReason::KeyMismatch, "null value with a key that is not UTF-8".into()))?;
    check_id(id)
        .map_err(|what| rejection(DeadLetterReason::KeyMismatch, format!("null value with a key that {what}")))?;
    Ok(id.to_owned())
}

fn check_id(id: &str) -> Result<(), String> {
    match id.chars().count() {
        0 => Err("is empty".to_owned()),
        count if count > MAX_ID_CHARS => Err(format!("has {count} characters; at most {MAX_ID_CHARS} are allowed")),
        // An empty hash tag is none: on a Redis Cluster the keys of such a post would lie in different slots.
        _ if id.starts_with('}') => Err("begins with `}`".to_owned()),
        _ => Ok(()),
    }
}

fn unreadable(error: &serde_json::Error) -> Rejection {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Data => rejection(DeadLetterReason::InvalidPost, format!("{place}: {}", without_content(error))),
        // The reader's own messages about syntax are fixed texts.
        Category::Syntax | Category::Eof | Category::Io => {
            rejection(DeadLetterReason::InvalidJson, format!("{place}: {}", without_place(error)))
        }
    }
}

fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// What is wrong with the shape, without the value that serde quotes in its message.
fn without_content(error: &serde_json::Error) -> String {
    const KINDS: &[&str] = &[
        "null",
        "boolean",
        "integer",
        "floating point",
        "string",
        "character",
        "sequence",
        "map",
        "unit value",
        "number",
    ];
    let text = without_place(error);
    // These two quote names of our own fields only: fields that the schema does not know are skipped.
    if text.starts_with("missing field `") || text.starts_with("duplicate field `") {
        return text;
    }
    let found = ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .find_map(|start| text.strip_prefix(start))
        .and_then(|rest| KINDS.iter().find(|kind| rest.starts_with(**kind)));
    // The last one: a quoted value may hold the same words.
    let expected = text.rsplit_once(", expected ").map(|(_, expected)| expected);
    match (found, expected) {
        (Some(found), Some(expected)) => format!("found {found}, expected {expected}"),
        _ => "not the shape of a post.v1".to_owned(),
    }
}

fn rejection(reason: DeadLetterReason, message: String) -> Rejection {
    Rejection { reason, message }
}

fn reject<T>(reason: DeadLetterReason, message: String) -> Result<T, Rejection> {
    Err(rejection(reason, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use jtav_schemas::DeliveredFrom;
    use proptest::prelude::*;

    fn record(key: Option<&[u8]>, value: Option<&[u8]>) -> InboundRecord {
        InboundRecord {
            source: DeliveredFrom { topic: "posts".into(), partition: 0, offset: 0, timestamp_ms: None },
            key: key.map(Bytes::copy_from_slice),
            value: value.map(Bytes::copy_from_slice),
            headers: Vec::new(),
        }
    }

    fn parse(key: &str, value: &str) -> Result<PostEvent, Rejection> {
        parse_record(&record(Some(key.as_bytes()), Some(value.as_bytes())), 1 << 20)
    }

    fn reason(key: &str, value: &str) -> DeadLetterReason {
        parse(key, value).unwrap_err().reason
    }

    #[test]
    fn a_post_is_read_and_unknown_fields_are_skipped() {
        let event = parse("p1", r#"{"id":"p1","revision":3,"texts":[{"role":"body","text":"hi"}],"new":{"x":[1]}}"#);
        let Ok(PostEvent::Upsert(post)) = event else { panic!("{event:?}") };
        assert_eq!((post.id.as_str(), post.revision, post.texts.len()), ("p1", 3, 1));
    }

    #[test]
    fn null_value_and_deleted_are_tombstones() {
        let null = parse_record(&record(Some(b"p1"), None), 10).unwrap();
        assert_eq!(null, PostEvent::Tombstone { post_id: "p1".into(), revision: 0 });
        let deleted = parse("p1", r#"{"id":"p1","revision":9,"deleted":true}"#).unwrap();
        assert_eq!(deleted, PostEvent::Tombstone { post_id: "p1".into(), revision: 9 });
    }

    #[test]
    fn the_key_must_be_the_id() {
        assert_eq!(reason("p2", r#"{"id":"p1"}"#), DeadLetterReason::KeyMismatch);
        assert_eq!(reason("p2", r#"{"id":"p1","deleted":true}"#), DeadLetterReason::KeyMismatch);
        let no_key = parse_record(&record(None, Some(br#"{"id":"p1"}"#)), 100).unwrap_err();
        assert_eq!(no_key.reason, DeadLetterReason::KeyMismatch);
        for key in [None, Some(&b""[..]), Some(&b"\xff"[..])] {
            assert_eq!(parse_record(&record(key, None), 100).unwrap_err().reason, DeadLetterReason::KeyMismatch);
        }
    }

    #[test]
    fn what_is_no_json_says_where() {
        for value in ["", "{", "not json", r#"{"id":"p1","revision":NaN}"#, r#"{"id":"p1"} x"#, "\u{feff}{}"] {
            let rejection = parse("p1", value).unwrap_err();
            assert_eq!(rejection.reason, DeadLetterReason::InvalidJson, "{value:?}");
            assert!(rejection.message.starts_with("line "), "{}", rejection.message);
        }
        let not_utf8 = parse_record(&record(Some(b"p1"), Some(b"{\"id\":\"\xff\"}")), 100).unwrap_err();
        assert_eq!(not_utf8.message, "not UTF-8 from byte 7 on");
    }

    #[test]
    fn what_is_no_post_says_what_was_expected() {
        let missing = parse("p1", r#"{"revision":1}"#).unwrap_err();
        assert_eq!(missing.reason, DeadLetterReason::InvalidPost);
        assert_eq!(missing.message, "line 1, column 14: missing field `id`");
        let twice = parse("p1", "{\"id\":\"p1\",\n\"id\":\"p1\"}").unwrap_err();
        assert!(twice.message.ends_with("duplicate field `id`"), "{}", twice.message);
        let wrong = parse("p1", r#"{"id":"p1","revision":-1}"#).unwrap_err();
        assert!(wrong.message.ends_with("found integer, expected u64"), "{}", wrong.message);
        assert_eq!(reason("", r#"{"id":""}"#), DeadLetterReason::InvalidPost);
        assert_eq!(reason("}p", r#"{"id":"}p"}"#), DeadLetterReason::InvalidPost);
        assert!(parse("p}", r#"{"id":"p}"}"#).is_ok());
        let long = "x".repeat(257);
        assert_eq!(reason(&long, &format!(r#"{{"id":"{long}"}}"#)), DeadLetterReason::InvalidPost);
        let longest = "é".repeat(256);
        assert!(parse(&longest, &format!(r#"{{"id":"{longest}"}}"#)).is_ok());
    }

    #[test]
    fn messages_never_carry_what_the_post_says() {
        const SECRET: &str = "my diary, expected to stay mine";
        for value in [
            format!(r#"{{"id":"p1","revision":"{SECRET}"}}"#),
            format!(r#"{{"id":"p1","texts":"{SECRET}"}}"#),
            format!(r#"{{"id":"p1","texts":[{{"role":"x","text":{{"{SECRET}":1}}}}]}}"#),
            format!(r#""{SECRET}""#),
            format!(r#"{{"{SECRET}":1,"{SECRET}":1}}"#),
            format!(r#"{{"id":"p1", {SECRET}}}"#),
        ] {
            let message = parse("p1", &value).unwrap_err().message;
            assert!(!message.contains("diary") && !message.contains("stay mine"), "{message}");
        }
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let big = format!(r#"{{"id":"p1","lang":"{}"}}"#, "x".repeat(2_000));
        let rejection = parse_record(&record(Some(b"p1"), Some(big.as_bytes())), 1_000).unwrap_err();
        assert_eq!(rejection.reason, DeadLetterReason::RecordTooLarge);
        for depth in [1_000, 100_000] {
            let deep = format!(r#"{{"id":"p1","texts":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
            assert!(parse("p1", &deep).is_err());
            let unknown = format!(r#"{{"id":"p1","other":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
            // Skipped fields are read without recursion or refused; either way the thread lives.
            let _ = parse("p1", &unknown);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_bytes_make_it_panic(key in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
                                  value in prop::option::of(prop::collection::vec(any::<u8>(), 0..200))) {
            let _ = parse_record(&record(key.as_deref(), value.as_deref()), 150);
        }

        #[test]
        fn no_damaged_post_makes_it_panic(at in 0usize..120, byte in any::<u8>(), cut in 0usize..120) {
            let mut value = br#"{"id":"p1","revision":1,"texts":[{"role":"body","text":"a\u00e9"}],"audio":{"url":"http://a/b","bytes":5}}"#.to_vec();
            if let Some(slot) = value.get_mut(at) { *slot = byte; }
            value.truncate(value.len().saturating_sub(cut / 2));
            let _ = parse_record(&record(Some(b"p1"), Some(&value)), 1_000);
        }

        #[test]
        fn every_post_that_is_written_can_be_read(id in "[a-zA-Z0-9é{][a-zA-Z0-9é}{]{0,39}", revision in any::<u64>(), text in ".{0,60}") {
            let post = PostV1 {
                id: id.clone(), revision, author_id: None, created_at: None, lang: None,
                texts: vec![jtav_schemas::TextPart { role: "body".into(), text }],
                audio: None, image: None, deleted: false,
            };
            let value = serde_json::to_vec(&post).unwrap();
            let event = parse_record(&record(Some(id.as_bytes()), Some(&value)), 1 << 20).unwrap();
            prop_assert_eq!(event, PostEvent::Upsert(Arc::new(post)));
        }
    }
}
