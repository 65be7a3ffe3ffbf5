//! Whether a letter is replayed, and as which record.

use bytes::Bytes;
use jtav_kafka::OutboundRecord;
use jtav_schemas::{DeadLetterHeaders as Names, DeadLetterReason};

use crate::chains::Chains;
use crate::letter::Letter;

/// What a replay may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRules {
    /// Where the records go.
    pub input_topic: String,
    /// A record that was replayed so often is refused.
    pub max_replays: u32,
    /// Send records whose key is not the post's id under the id that their value names.
    pub rekey: bool,
}

/// Why a letter is not replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// It has been replayed as often as allowed: the loop ends here.
    ReplayLimit,
    /// A later letter of the same record stands for it.
    Superseded,
    /// The post is erased (ADR 3).
    Erased,
    /// There is no value, and no key that would make it a tombstone.
    BytesMissing,
    /// The key is not the post's id: it would come back at once.
    KeyMismatch,
    /// Only a part of the record is here, and the rest is not to be had from where it came from.
    Truncated,
    /// The broker refuses the record for good, for example as too large.
    RefusedByBroker,
}

impl Refusal {
    /// Name in accounts.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::ReplayLimit => "replay_limit",
            Refusal::Superseded => "superseded",
            Refusal::Erased => "erased",
            Refusal::BytesMissing => "bytes_missing",
            Refusal::KeyMismatch => "key_mismatch",
            Refusal::Truncated => "truncated",
            Refusal::RefusedByBroker => "refused_by_broker",
        }
    }

    pub fn explanation(self) -> &'static str {
        match self {
            Refusal::ReplayLimit => "replayed as often as --max-replays allows; look at it with `show`",
            Refusal::Superseded => "a later dead letter of the same record stands for it",
            Refusal::Erased => "the post is erased",
            Refusal::BytesMissing => "no original value, and no key that would make it a tombstone",
            Refusal::KeyMismatch => "the key is not the post's id; --rekey sends it under the id in its value",
            Refusal::Truncated => {
                "only a part of the record is here, and the input topic has no such record at its position any more"
            }
            Refusal::RefusedByBroker => "the broker refuses the record, for example as larger than the topic allows",
        }
    }
}

/// The record that takes the letter back to the input topic: original value, original key (or the post's id with
/// `rekey`), original headers, and behind them the replay count, one higher, and the origin. Its timestamp is the time
/// of the replay: with the old one, retention could delete it before it is read.
///
/// `erased` says whether the post is erased. A truncated letter is refused: [`Letter::completed`] makes it whole.
pub fn decide(letter: &Letter, chains: &Chains, rules: &ReplayRules, erased: bool) -> Result<OutboundRecord, Refusal> {
    if chains.is_superseded(letter) {
        return Err(Refusal::Superseded);
    }
    let count = letter.facts.replay_count;
    if count >= rules.max_replays {
        return Err(Refusal::ReplayLimit);
    }
    if erased {
        return Err(Refusal::Erased);
    }
    if letter.truncation().is_some() {
        return Err(Refusal::Truncated);
    }
    let key = replay_key(letter, rules.rekey)?;
    let record = OutboundRecord {
        topic: rules.input_topic.clone(),
        key,
        value: letter.value.clone(),
        headers: letter.headers.clone(),
        ..OutboundRecord::default()
    };
    Ok(record
        .header(Names::REPLAY_COUNT, count.saturating_add(1).to_string())
        .header(Names::ORIGIN, letter.origin.clone()))
}

fn replay_key(letter: &Letter, rekey: bool) -> Result<Option<Bytes>, Refusal> {
    let mismatch = letter.facts.reason == DeadLetterReason::KeyMismatch;
    if letter.value.is_none() {
        // A null value under a good key is a tombstone that could not be carried out.
        return if mismatch || letter.key_text().is_none() {
            Err(Refusal::BytesMissing)
        } else {
            Ok(letter.key.clone())
        };
    }
    if !mismatch {
        return Ok(letter.key.clone());
    }
    match letter.id_in_value() {
        Some(id) if rekey => Ok(Some(Bytes::from(id))),
        _ => Err(Refusal::KeyMismatch),
    }
}
