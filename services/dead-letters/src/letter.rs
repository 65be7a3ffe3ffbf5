//! A record of the dead-letter topic, taken apart: what the worker added, and the original underneath.

use std::str::FromStr;

use bytes::Bytes;
use jtav_kafka::Record;
use jtav_schemas::{DeadLetterHeaders as Names, DeadLetterReason, DeadLetterV1, DeliveredFrom};
use serde::{Deserialize, Serialize};

type Header = (String, Option<Bytes>);

/// Where a dead letter lies, written `partition:offset`. Ordered as it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// Partition of the dead-letter topic.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is no position: expected PARTITION:OFFSET, for example 0:17");
        let (partition, offset) = text.split_once(':').ok_or_else(wrong)?;
        let position =
            Self { partition: partition.parse().map_err(|_| wrong())?, offset: offset.parse().map_err(|_| wrong())? };
        if position.partition < 0 || position.offset < 0 { Err(wrong()) } else { Ok(position) }
    }
}

/// Why a record of the topic is no dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LetterError {
    /// A header that every dead letter has.
    #[error("no header `{0}`")]
    Missing(&'static str),
    /// A header that cannot be read.
    #[error("header `{0}` cannot be read")]
    Unreadable(&'static str),
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where it lies.
    pub position: Position,
    /// When the broker got it, milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// What the worker says of it; without `original_*`, which stand beside it.
    pub facts: DeadLetterV1,
    /// Why each part was unusable, as JSON; only where none was usable.
    pub modalities: Option<String>,
    /// The first record of the chain of replays; its own source for one that was never replayed.
    pub origin: String,
    /// Original key.
    pub key: Option<Bytes>,
    /// Original value.
    pub value: Option<Bytes>,
    /// Original headers, without what earlier replays added.
    pub headers: Vec<Header>,
}

impl Letter {
    /// Takes a record apart.
    ///
    /// The worker adds its headers behind those of the record, `reason` first. So the last `reason` parts the two, and
    /// headers of the original that are named like ours stay the original's.
    pub fn read(record: &Record) -> Result<Self, LetterError> {
        let start = record.headers.iter().rposition(|(name, _)| name == Names::REASON);
        let (original, added) = record.headers.split_at(start.ok_or(LetterError::Missing(Names::REASON))?);
        let facts = facts(&Added(added))?;
        let source = &facts.source;
        let origin = match last(original, Names::ORIGIN).flatten().and_then(|value| std::str::from_utf8(value).ok()) {
            Some(origin) => origin.to_owned(),
            None => format!("{}:{}:{}", source.topic, source.partition, source.offset),
        };
        let ours = |name: &str| name == Names::ORIGIN || name == Names::REPLAY_COUNT;
        Ok(Self {
            position: Position { partition: record.partition, offset: record.offset },
            timestamp_ms: record.timestamp_ms,
            modalities: Added(added).text(Names::MODALITIES)?,
            facts,
            origin,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: original.iter().filter(|(name, _)| !ours(name)).cloned().collect(),
        })
    }

    /// The id that the value names, where it is a JSON object with one.
    pub fn id_in_value(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct WithId {
            id: String,
        }
        let found: WithId = serde_json::from_slice(self.value.as_deref()?).ok()?;
        (!found.id.is_empty()).then_some(found.id)
    }

    /// The key, where it is text.
    pub fn key_text(&self) -> Option<&str> {
        std::str::from_utf8(self.key.as_deref()?).ok().filter(|key| !key.is_empty())
    }

    /// The post that this is about, as far as can be told: by the value, else by the key.
    pub fn post_id(&self) -> Option<String> {
        self.id_in_value().or_else(|| self.key_text().map(str::to_owned))
    }

    /// Bytes of the original key and value.
    pub fn size_bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len)
    }

    /// When it was set aside, milliseconds since 1970: by the broker's clock, else by the worker's.
    pub fn time_ms(&self) -> i64 {
        self.timestamp_ms.unwrap_or(self.facts.failed_at_ms)
    }
}

fn last<'a>(headers: &'a [Header], name: &str) -> Option<Option<&'a [u8]>> {
    headers.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_deref())
}

/// The headers that the worker added.
struct Added<'a>(&'a [Header]);

impl Added<'_> {
    fn text(&self, name: &'static str) -> Result<Option<String>, LetterError> {
        let Some(value) = last(self.0, name) else { return Ok(None) };
        let text = value.and_then(|value| std::str::from_utf8(value).ok());
        text.map(|text| Some(text.to_owned())).ok_or(LetterError::Unreadable(name))
    }

    fn need(&self, name: &'static str) -> Result<String, LetterError> {
        self.text(name)?.ok_or(LetterError::Missing(name))
    }

    fn number<T: FromStr>(&self, name: &'static str) -> Result<T, LetterError> {
        self.need(name)?.parse().map_err(|_| LetterError::Unreadable(name))
    }
}

fn facts(added: &Added<'_>) -> Result<DeadLetterV1, LetterError> {
    let reason = added.need(Names::REASON)?;
    let reason = DeadLetterReason::ALL.into_iter().find(|known| known.as_str() == reason);
    let timestamp_ms = match added.text(Names::SOURCE_TIMESTAMP_MS)? {
        Some(_) => Some(added.number(Names::SOURCE_TIMESTAMP_MS)?),
        None => None,
    };
    Ok(DeadLetterV1 {
        reason: reason.ok_or(LetterError::Unreadable(Names::REASON))?,
        stage: added.need(Names::STAGE)?,
        message: added.need(Names::MESSAGE)?,
        source: DeliveredFrom {
            topic: added.need(Names::SOURCE_TOPIC)?,
            partition: added.number(Names::SOURCE_PARTITION)?,
            offset: added.number(Names::SOURCE_OFFSET)?,
            timestamp_ms,
        },
        attempts: added.number(Names::ATTEMPTS)?,
        replay_count: added.number(Names::REPLAY_COUNT)?,
        failed_at_ms: added.number(Names::FAILED_AT_MS)?,
        model_version: added.text(Names::MODEL_VERSION)?,
        pipeline_version: added.need(Names::PIPELINE_VERSION)?,
        original_key_base64: None,
        original_value_base64: None,
    })
}
