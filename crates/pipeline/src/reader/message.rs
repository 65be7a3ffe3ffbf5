//! What is wrong with a value, said without what the value says.

use jtav_schemas::DeadLetterReason;
use serde_json::error::Category;

use crate::Rejection;

pub(super) fn unreadable(error: &serde_json::Error) -> Rejection {
    let place = format!("line {}, column {}", error.line(), error.column());
    let plain = without_place(error);
    match error.classify() {
        Category::Data => rejection(DeadLetterReason::InvalidPost, format!("{place}: {}", without_content(&plain))),
        // JSON has numbers of any size; a field of ours has not.
        Category::Syntax if plain == "number out of range" => {
            rejection(DeadLetterReason::InvalidPost, format!("{place}: {plain}"))
        }
        // The reader's own messages about syntax are fixed texts.
        Category::Syntax | Category::Eof | Category::Io => {
            rejection(DeadLetterReason::InvalidJson, format!("{place}: {plain}"))
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
fn without_content(text: &str) -> String {
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
    // These two quote names of our own fields only: fields that the schema does not know are skipped.
    if text.starts_with("missing field `") || text.starts_with("duplicate field `") {
        return text.to_owned();
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

pub(super) fn rejection(reason: DeadLetterReason, message: String) -> Rejection {
    Rejection { reason, message }
}
