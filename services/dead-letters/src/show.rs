use std::fmt::Write as _;

use jtav_kafka::PartitionRange;
use jtav_schemas::{Truncation, Whole};
use serde_json::Value;

use crate::export::line;
use crate::letter::{Letter, Position};
use crate::text::{bytes_or_text, one_line, visible};
use crate::time::utc;
use crate::topic::{DeadLetterTopic, Scanned};

/// Longest value of a header on the screen, in characters.
const MAX_HEADER_CHARS: usize = 1_000;

/// The record at a position; none where there is none (any more). Blocks.
///
/// # Errors
/// Brokers that do not answer.
pub fn find(topic: &DeadLetterTopic, position: Position) -> anyhow::Result<Option<Scanned>> {
    let there = |range: &PartitionRange| {
        range.partition == position.partition && (range.start..range.end).contains(&position.offset)
    };
    let Some(range) = topic.ranges(None)?.into_iter().find(there) else { return Ok(None) };
    let mut found = None;
    // Up to the end of the partition: in a compacted log the next record may lie beyond a gap.
    topic.walk(&[PartitionRange { start: position.offset, ..range }], |scanned| {
        found = Some(scanned);
        Ok(false)
    })?;
    Ok(found.filter(|scanned| scanned.position() == position))
}

/// Everything about a record of the topic, for a person.
pub fn show(scanned: &Scanned) -> String {
    match scanned {
        Scanned::Letter(letter) => letter_text(letter),
        Scanned::Unreadable { record, error } => {
            let mut text = format!("{} is no dead letter: {error}\n", scanned.position());
            original(&mut text, record.key.as_deref(), record.value.as_deref(), &record.headers);
            text
        }
    }
}

/// The same as the object of a line of the export.
///
/// # Errors
/// None that is known: numbers and texts can always be written as JSON.
pub fn show_json(scanned: &Scanned) -> anyhow::Result<Value> {
    line(scanned)
}

fn letter_text(letter: &Letter) -> String {
    let facts = &letter.facts;
    let source = &facts.source;
    let mut text = String::new();
    let mut field = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<17} {value}");
    };
    field("position", letter.position.to_string());
    field("set aside", utc(letter.time_ms()));
    field("first given up", utc(facts.failed_at_ms));
    field("post", letter.post_id().map_or_else(|| "cannot be told".to_owned(), |id| one_line(&id, MAX_HEADER_CHARS)));
    field("reason", facts.reason.to_string());
    field("stage", one_line(&facts.stage, MAX_HEADER_CHARS));
    field("attempts", facts.attempts.to_string());
    field("replays", facts.replay_count.to_string());
    field("source", format!("{}:{}:{}", one_line(&source.topic, MAX_HEADER_CHARS), source.partition, source.offset));
    field("source time", source.timestamp_ms.map_or_else(|| "-".to_owned(), utc));
    field("origin", one_line(&letter.origin, MAX_HEADER_CHARS));
    field("model version", one_line(facts.model_version.as_deref().unwrap_or("-"), MAX_HEADER_CHARS));
    field("pipeline version", one_line(&facts.pipeline_version, MAX_HEADER_CHARS));
    if let Some(truncation) = letter.truncation() {
        text.push_str(&truncated(letter, truncation));
    }
    text.push_str("\nwhat happened, cause after cause\n");
    for (depth, cause) in facts.message.split(": ").enumerate() {
        let _ = writeln!(text, "  {}{}", "  ".repeat(depth.min(10)), one_line(cause, MAX_HEADER_CHARS));
    }
    if let Some(modalities) = &letter.modalities {
        let _ = writeln!(text, "  parts of the post: {}", visible(modalities));
    }
    original(&mut text, letter.key.as_deref(), letter.value.as_deref(), &letter.headers);
    text
}

/// What is missing, and how whoever has the whole record knows it.
fn truncated(letter: &Letter, truncation: &Truncation) -> String {
    let mut text =
        "\nTRUNCATED: the record did not fit into the dead-letter topic; a replay takes it from where it came from\n"
            .to_owned();
    let parts = [("key", &truncation.key, &letter.key), ("value", &truncation.value, &letter.value)];
    for (name, whole, here) in parts {
        if let Some(Whole { bytes, blake3 }) = whole {
            let here = here.as_ref().map_or(0, bytes::Bytes::len);
            let blake3 = one_line(blake3, MAX_HEADER_CHARS);
            let _ = writeln!(text, "  {name}: {here} of {bytes} bytes are here, BLAKE3 of all {blake3}");
        }
    }
    let (count, bytes) = (truncation.headers_left_out, truncation.header_bytes_left_out);
    let _ = writeln!(text, "  headers left out: {count} with {bytes} bytes");
    text
}

fn original(text: &mut String, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(String, Option<bytes::Bytes>)]) {
    let shown = |bytes: Option<&[u8]>| bytes.map_or_else(|| "none".to_owned(), bytes_or_text);
    let _ = writeln!(text, "\noriginal headers{}", if headers.is_empty() { ": none" } else { "" });
    for (name, value) in headers {
        let value = one_line(&shown(value.as_deref()), MAX_HEADER_CHARS);
        let _ = writeln!(text, "  {} = {value}", one_line(name, MAX_HEADER_CHARS));
    }
    let _ = writeln!(text, "\noriginal key\n{}", shown(key));
    let _ = writeln!(text, "\noriginal value ({} bytes)\n{}", value.map_or(0, <[u8]>::len), shown(value));
}
