use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jtav_schemas::DeadLetterV1;
use serde::Serialize;
use serde_json::Value;

use crate::letter::Position;
use crate::select::Selection;
use crate::topic::{DeadLetterTopic, Scanned};

/// What was exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ExportCounts {
    /// Lines with a letter.
    pub letters: u64,
    /// Of them, those that hold only a part of their record; `truncated` in the line says what is missing.
    pub truncated: u64,
    /// Letters that are not meant, and have no line.
    pub not_selected: u64,
    /// Lines with a record that is no dead letter.
    pub unreadable: u64,
}

/// A letter as a line: a `dead-letter.v1` with its place and the rest of the original beside it.
#[derive(Serialize)]
struct LetterLine<'a> {
    position: Position,
    timestamp_ms: Option<i64>,
    post_id: Option<String>,
    origin: &'a str,
    #[serde(flatten)]
    letter: DeadLetterV1,
    modalities: Option<&'a str>,
    original_headers: Vec<(&'a str, Option<String>)>,
}

/// A record that is no dead letter.
#[derive(Serialize)]
struct UnreadableLine<'a> {
    position: Position,
    timestamp_ms: Option<i64>,
    error: String,
    key_base64: Option<String>,
    value_base64: Option<String>,
    headers: Vec<(&'a str, Option<String>)>,
}

/// Writes a line of JSON for every letter that is meant, and for every record that is no dead letter. Bytes are base64.
/// Blocks.
///
/// # Errors
/// Brokers that do not answer, output that cannot be written.
pub fn export(topic: &DeadLetterTopic, selection: &Selection, output: &mut dyn Write) -> anyhow::Result<ExportCounts> {
    let ranges = topic.ranges(selection.since_ms)?;
    let mut counts = ExportCounts::default();
    topic.walk(&ranges, |scanned| {
        match &scanned {
            Scanned::Letter(letter) if selection.takes(letter) => {
                counts.letters += 1;
                counts.truncated += u64::from(letter.truncation().is_some());
            }
            Scanned::Letter(_) => {
                counts.not_selected += 1;
                return Ok(true);
            }
            Scanned::Unreadable { .. } => counts.unreadable += 1,
        }
        writeln!(output, "{}", line(&scanned)?)?;
        Ok(true)
    })?;
    output.flush()?;
    Ok(counts)
}

/// The object of a line.
pub(crate) fn line(scanned: &Scanned) -> anyhow::Result<Value> {
    let position = scanned.position();
    let value = match scanned {
        Scanned::Letter(letter) => serde_json::to_value(LetterLine {
            position,
            timestamp_ms: letter.timestamp_ms,
            post_id: letter.post_id(),
            origin: &letter.origin,
            letter: DeadLetterV1 {
                original_key_base64: base64(letter.key.as_ref()),
                original_value_base64: base64(letter.value.as_ref()),
                ..letter.facts.clone()
            },
            modalities: letter.modalities.as_deref(),
            original_headers: headers(&letter.headers),
        })?,
        Scanned::Unreadable { record, error } => serde_json::to_value(UnreadableLine {
            position,
            timestamp_ms: record.timestamp_ms,
            error: error.to_string(),
            key_base64: base64(record.key.as_ref()),
            value_base64: base64(record.value.as_ref()),
            headers: headers(&record.headers),
        })?,
    };
    Ok(value)
}

fn base64(bytes: Option<&Bytes>) -> Option<String> {
    bytes.map(|bytes| STANDARD.encode(bytes))
}

fn headers(headers: &[(String, Option<Bytes>)]) -> Vec<(&str, Option<String>)> {
    headers.iter().map(|(name, value)| (name.as_str(), base64(value.as_ref()))).collect()
}
