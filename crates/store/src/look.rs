//! Looking a post up for a reader: the label that was made last, or that of one model, without its vectors.

use std::sync::LazyLock;

use bytes::Bytes;
use jtav_schemas::redis_key::{erased_key, label_key, models_key};
use redis::{Script, ScriptInvocation};

use crate::script::{MAX_LABEL_BYTES, identity};
use crate::{Source, StoreError};

/// Models of one post that are looked at; more than any post is labelled by.
const MAX_MODELS: usize = 32;

pub(crate) static LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("look.lua")));

/// What the store knows of a post.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// Nothing: never labelled, or the label has lapsed. Models that hold a label of it, where another was asked for.
    Unknown {
        /// Model versions.
        models: Vec<String>,
    },
    /// The post is erased.
    Erased,
    /// A label.
    Label(Box<FoundLabel>),
}

/// A label without its vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundLabel {
    /// Model that made it.
    pub model_version: String,
    /// Revision of the post.
    pub revision: u64,
    /// The input record.
    pub source: Source,
    /// The `sentiment.v1` record as it was published.
    pub sentiment_json: Bytes,
    /// Every model that holds a label of the post.
    pub models: Vec<String>,
}

/// Asks for the label of one model, or for that which was made last.
pub(crate) fn look(post_id: &str, model_version: Option<&str>) -> ScriptInvocation<'static> {
    let mut call = LOOK.prepare_invoke();
    call.key(erased_key(post_id))
        .key(models_key(post_id))
        .arg(label_key(post_id, ""))
        .arg(model_version.unwrap_or_default())
        .arg(MAX_LABEL_BYTES)
        .arg(MAX_MODELS);
    call
}

/// Reads the answer of the script.
pub(crate) fn found(post_id: &str, answer: Vec<Bytes>) -> Result<Found, StoreError> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let mut answer = answer.into_iter();
    let Some(model) = answer.next() else { return Ok(Found::Unknown { models: Vec::new() }) };
    let key = || label_key(post_id, &text(&model));
    match &*model {
        b"erased" => return Ok(Found::Erased),
        b"}" => return Err(StoreError::ForeignKey(format!("a label of `{post_id}` is larger than any"))),
        b"" => return Ok(Found::Unknown { models: answer.map(|model| text(&model)).collect() }),
        _ => {}
    }
    let (revision, source, sentiment) = (answer.next(), answer.next(), answer.next());
    let (revision, source) = identity(&key(), revision, source)?
        .ok_or_else(|| StoreError::ForeignKey(format!("`{}` has no revision or source", key())))?;
    let sentiment_json = sentiment.ok_or_else(|| StoreError::ForeignKey(format!("`{}` has no record", key())))?;
    let models = answer.map(|model| text(&model)).collect();
    Ok(Found::Label(Box::new(FoundLabel { model_version: text(&model), revision, source, sentiment_json, models })))
}
