//! From bytes to post. Pure, total, linear in the bytes, and silent about what the post says: messages name a place and
//! an expectation. The worker, a backfill and `jtav label` read through it, so they judge alike.
//!
//! What is not quite JSON or not quite a `post.v1` has one rule each; `schemas/reading-posts.md` lists them.

mod deletion;
mod local;
mod message;
mod surrogates;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use jtav_schemas::reading::Object;
use jtav_schemas::{DeadLetterReason, PostV1};

use crate::{PostEvent, Rejection};
use local::LocalPost;
use message::{rejection, unreadable};

/// Longest id, in characters.
const MAX_ID_CHARS: usize = 256;

/// What a reader of posts allows.
#[derive(Clone, Copy)]
pub struct ReadRules<'a> {
    /// Longest value of a record, in bytes. A deletion may be longer.
    pub max_record_bytes: usize,
    /// Where media may lie in files: makes an address of a `path`, which a medium may then have in place of its `url`.
    /// A feed has none.
    pub url_of_path: Option<&'a dyn Fn(&str) -> String>,
}

impl ReadRules<'_> {
    /// Those of a feed.
    pub fn feed(max_record_bytes: usize) -> Self {
        Self { max_record_bytes, url_of_path: None }
    }
}

/// Reads the value of a record: a `post.v1`, or a tombstone (`deleted`). Whether the record's key is the post's id, and
/// what a record without a value means, is for the caller.
///
/// A deletion is carried out whatever else the record holds, as long as its id can be read: fields of a wrong type, a
/// value above the limit, and damage behind the two do not keep a post that should be erased.
///
/// # Errors
/// A value that is too long, no JSON, or no post.
pub fn read_post(value: &[u8], rules: &ReadRules) -> Result<PostEvent, Rejection> {
    let event = match decoded(value, rules.max_record_bytes) {
        Ok(text) => post(&text, rules).map_err(|error| (Some(text), error)),
        Err(error) => Err((None, error)),
    };
    event
        .or_else(|(text, error)| {
            let text = text.unwrap_or_else(|| surrogates::mended(Cow::Owned(lossy(value))));
            let Some(deletion) = deletion::find(&text) else { return Err(error) };
            Ok(PostEvent::Tombstone { post_id: deletion.id, revision: deletion.revision })
        })
        .and_then(|event| {
            check_post_id(event.post_id())
                .map_err(|what| rejection(DeadLetterReason::InvalidPost, format!("field `id` {what}")))?;
            Ok(event)
        })
}

/// The text of a value that is not too long, without a byte-order mark, with U+FFFD for each half of a surrogate pair.
fn decoded(value: &[u8], max_record_bytes: usize) -> Result<Cow<'_, str>, Rejection> {
    if value.len() > max_record_bytes {
        let message = format!("value of {} bytes; at most {max_record_bytes} are read", value.len());
        return Err(rejection(DeadLetterReason::RecordTooLarge, message));
    }
    let text = std::str::from_utf8(value).map_err(|error| {
        rejection(DeadLetterReason::InvalidJson, format!("not UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    Ok(surrogates::mended(Cow::Borrowed(without_mark(text))))
}

fn lossy(value: &[u8]) -> String {
    without_mark(&String::from_utf8_lossy(value)).to_owned()
}

/// RFC 8259 lets a reader pass over a byte-order mark; some programs write one before every record.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{FEFF}').unwrap_or(text)
}

fn post(text: &str, rules: &ReadRules) -> Result<PostEvent, Rejection> {
    let post: PostV1 = match rules.url_of_path {
        None => serde_json::from_str::<Object<PostV1>>(text).map_err(|error| unreadable(&error))?.0,
        Some(url_of) => {
            let post: Object<LocalPost> = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
            post.0.into_post(url_of).map_err(|what| rejection(DeadLetterReason::InvalidPost, what.to_owned()))?
        }
    };
    if post.deleted {
        return Ok(PostEvent::Tombstone { post_id: post.id, revision: post.revision });
    }
    Ok(PostEvent::Upsert(Arc::new(post)))
}

/// Whether a post may have this id; says what is wrong with one that it may not have.
///
/// # Errors
/// The end of a sentence that begins with a name for the id.
pub fn check_post_id(id: &str) -> Result<(), String> {
    match id.chars().count() {
        0 => Err("is empty".to_owned()),
        count if count > MAX_ID_CHARS => Err(format!("has {count} characters; at most {MAX_ID_CHARS} are allowed")),
        // An empty hash tag is none: on a Redis Cluster the keys of such a post would lie in different slots.
        _ if id.starts_with('}') => Err("begins with `}`".to_owned()),
        _ => Ok(()),
    }
}
