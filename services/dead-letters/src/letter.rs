//! A record of the dead-letter topic, taken apart: what the worker added, and the original underneath.

use std::str::FromStr;

use bytes::Bytes;
use jtav_kafka::Record;
use jtav_schemas::{DeadLetterHeaders as Names, DeadLetterReason, DeadLetterV1, DeliveredFrom, Truncation, Whole};
use serde::{Deserialize, Serialize};

type Header = (String, Option<Bytes>);

/// Where a dead letter lies, written `partition:offset`. Ordered as it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// Partition of the dead-letter topic.
    pub partition: i32,
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
        Ok(Self {
            position: Position { partition: record.partition, offset: record.offset },
            timestamp_ms: record.timestamp_ms,
            modalities: Added(added).text(Names::MODALITIES)?,
            facts,
            origin,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: original.iter().filter(|(name, _)| !is_of_replay(name)).cloned().collect(),
        })
    }

    /// What is missing of the original, if anything is.
    pub fn truncation(&self) -> Option<&Truncation> {
        self.facts.truncated.as_ref()
    }

    /// The letter with all of its record: `original` is what lies where the record came from. None if it is another one.
    pub fn completed(&self, original: &Record) -> Option<Self> {
        let truncation = self.truncation()?;
        let is_whole = |whole: &Option<Whole>, bytes: &Option<Bytes>| *whole == bytes.as_deref().map(Whole::of);
        let source = &self.facts.source;
        let is_same = (original.partition, original.offset) == (source.partition, source.offset)
            && original.topic == source.topic
            && is_whole(&truncation.key, &original.key)
            && is_whole(&truncation.value, &original.value);
        is_same.then(|| Self {
            facts: DeadLetterV1 { truncated: None, ..self.facts.clone() },
            key: original.key.clone(),
            value: original.value.clone(),
            headers: original.headers.iter().filter(|(name, _)| !is_of_replay(name)).cloned().collect(),
            ..self.clone()
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

    /// The key, where it is text and all of it is here.
    pub fn key_text(&self) -> Option<&str> {
        let whole = self.truncation().and_then(|truncation| truncation.key.as_ref());
        if whole.is_some_and(|whole| whole.bytes != self.key.as_ref().map_or(0, Bytes::len) as u64) {
            return None;
        }
        std::str::from_utf8(self.key.as_deref()?).ok().filter(|key| !key.is_empty())
    }

    /// The post that this is about, as far as can be told: by the value, else by the key.
    pub fn post_id(&self) -> Option<String> {
        self.id_in_value().or_else(|| self.key_text().map(str::to_owned))
    }

    /// Bytes of the original key and value, with those that did not fit.
    pub fn size_bytes(&self) -> u64 {
        let bytes = |here: &Option<Bytes>, whole: Option<&Whole>| {
            whole.map_or(here.as_ref().map_or(0, Bytes::len) as u64, |whole| whole.bytes)
        };
        let truncation = self.truncation();
        bytes(&self.key, truncation.and_then(|truncation| truncation.key.as_ref()))
            .saturating_add(bytes(&self.value, truncation.and_then(|truncation| truncation.value.as_ref())))
    }

    /// When it was set aside, milliseconds since 1970: by the broker's clock, else by the worker's.
    pub fn time_ms(&self) -> i64 {
        self.timestamp_ms.unwrap_or(self.facts.failed_at_ms)
    }
}

/// Added by a replay; no part of the original.
fn is_of_replay(name: &str) -> bool {
    name == Names::ORIGIN || name == Names::REPLAY_COUNT
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
    let truncated = added.text(Names::TRUNCATED)?.map(|text| serde_json::from_str(&text));
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
        truncated: truncated.transpose().map_err(|_| LetterError::Unreadable(Names::TRUNCATED))?,
        original_key_base64: None,
        original_value_base64: None,
    })
}
