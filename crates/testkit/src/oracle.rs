use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use jtav_kafka::{OutboundRecord, Record};
use jtav_schemas::{DeadLetterReason, PostV1, SentimentV1};
use jtav_store::{Store, StoredLabel};

use self::finding::{Finding, Harm, has_nothing};

pub mod finding;
pub mod progress;
mod topics;

/// What a feed must come to, whatever crashes in between. Filled while the feed is made, or from the input topic when
/// all is over; asked when all is settled.
///
/// Every method that makes a record also remembers what has to become of it (invariants S1, S3, S4, S5).
#[derive(Debug, Default)]
pub struct Oracle {
    topic: String,
    labelled: BTreeMap<String, BTreeSet<u64>>,
    erased: BTreeSet<String>,
    poison: Vec<Poison>,
}

#[derive(Debug)]
struct Poison {
    key: Vec<u8>,
    value: Vec<u8>,
    reason: DeadLetterReason,
}

/// The labels of a topic, as a reader sees them that drops event ids it has seen.
#[derive(Debug, Default)]
pub struct Labels {
    /// The one model that made them.
    pub model_version: String,
    /// By post id and revision. Every attempt is kept: redeliveries repeat the event id.
    pub attempts: BTreeMap<(String, u64), Vec<SentimentV1>>,
    /// Records that repeat an event id.
    pub repeated: usize,
}

impl Oracle {
    /// For a feed on `topic`.
    pub fn new(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), ..Self::default() }
    }

    /// For a feed that lies on its topic already: what must come out is a function of that log. `poison` says which
    /// records must be set aside, and why.
    ///
    /// # Errors
    /// A record that is no post although `poison` does not name it.
    pub fn of_log(topic: &str, log: &[Record], poison: impl Fn(&Record) -> Option<DeadLetterReason>) -> Result<Self> {
        let mut oracle = Self::new(topic);
        for record in log {
            let key = record.key.as_deref().unwrap_or_default();
            match (poison(record), record.value.as_deref()) {
                (Some(reason), value) => {
                    let value = value.unwrap_or_default().to_vec();
                    oracle.poison.push(Poison { key: key.to_vec(), value, reason });
                }
                (None, None) => drop(oracle.erased.insert(String::from_utf8_lossy(key).into_owned())),
                (None, Some(value)) => {
                    let place = || format!("{topic} {}:{} is no post", record.partition, record.offset);
                    let post: PostV1 = serde_json::from_slice(value).with_context(place)?;
                    if post.deleted {
                        oracle.erased.insert(post.id);
                    } else if !has_nothing(&post) {
                        oracle.labelled.entry(post.id).or_default().insert(post.revision);
                    }
                }
            }
        }
        Ok(oracle)
    }

    /// A post, which must be labelled, or skipped where it has nothing to label.
    pub fn post(&mut self, post: &PostV1) -> Result<OutboundRecord> {
        if !has_nothing(post) {
            self.labelled.entry(post.id.clone()).or_default().insert(post.revision);
        }
        Ok(OutboundRecord::keyed(&self.topic, post.id.clone(), serde_json::to_vec(post)?))
    }

    /// A null value: the post must be gone for good.
    pub fn tombstone(&mut self, post_id: &str) -> OutboundRecord {
        self.erased.insert(post_id.to_owned());
        OutboundRecord::tombstone(&self.topic, post_id.to_owned())
    }

    /// A record that must come to lie on the dead-letter topic, byte for byte, for this reason.
    pub fn poison(&mut self, key: &str, value: impl Into<Vec<u8>>, reason: DeadLetterReason) -> OutboundRecord {
        let poison = Poison { key: key.into(), value: value.into(), reason };
        let record = OutboundRecord::keyed(&self.topic, poison.key.clone(), poison.value.clone());
        self.poison.push(poison);
        record
    }

    /// Ids and revisions that must be labelled and stay so.
    pub fn expected_labels(&self) -> usize {
        self.labelled.iter().filter(|(id, _)| !self.erased.contains(*id)).map(|(_, revisions)| revisions.len()).sum()
    }

    /// Checks the output topics, each read to its end: every id labelled in its newest revision or dead-lettered,
    /// nothing that was not asked for, event ids that follow from post, revision and model, one record for each of
    /// them once repetitions are dropped, revisions that never go back, a null value last for what was erased.
    ///
    /// An older revision may be missing where a newer one is there: a worker that comes late finds it overtaken.
    pub fn check_topics(&self, sentiment: &[Record], dead_letters: &[Record], erasures: &[Record]) -> Result<Labels> {
        let (labels, findings) = self.inspect_topics(sentiment, dead_letters, erasures);
        verdict(&findings)?;
        Ok(labels)
    }

    /// As [`Self::check_topics`], with every finding told by its harm.
    pub fn inspect_topics(
        &self,
        sentiment: &[Record],
        dead_letters: &[Record],
        erasures: &[Record],
    ) -> (Labels, Vec<Finding>) {
        let mut findings = Vec::new();
        let labels = self.inspect_sentiment(sentiment, &mut findings);
        self.inspect_dead_letters(dead_letters, &mut findings);
        self.inspect_erasures(sentiment, erasures, &mut findings);
        (labels, findings)
    }

    /// Checks the store against the labels of the topic: it holds the newest revision of each post and nothing of an
    /// erased one, and what it holds is what every record of that event on the topic says.
    pub async fn check_store(&self, labels: &Labels, store: &dyn Store) -> Result<BTreeMap<String, StoredLabel>> {
        let (held, findings) = self.inspect_store(labels, store).await?;
        verdict(&findings)?;
        Ok(held)
    }

    /// As [`Self::check_store`], with every finding told by its harm.
    ///
    /// # Errors
    /// A store that does not answer.
    pub async fn inspect_store(
        &self,
        labels: &Labels,
        store: &dyn Store,
    ) -> Result<(BTreeMap<String, StoredLabel>, Vec<Finding>)> {
        let mut findings = Vec::new();
        let mut held = BTreeMap::new();
        for (id, revisions) in &self.labelled {
            let stored = store.read(id, &labels.model_version).await?;
            if self.erased.contains(id) {
                if stored.is_some() || !store.is_erased(id).await? {
                    findings.push(Finding::new(Harm::Resurrected, format!("{id} should be erased")));
                }
                continue;
            }
            let Some(stored) = stored else {
                findings.push(Finding::new(Harm::Lost, format!("the store has no {id}")));
                continue;
            };
            let newest = revisions.last().copied().unwrap_or_default();
            if stored.revision != newest {
                let text = format!("the store has revision {} of {id}, not {newest}", stored.revision);
                findings.push(Finding::new(Harm::Lost, text));
            }
            let attempts = labels.attempts.get(&(id.clone(), newest)).map_or(&[][..], |all| all);
            findings.extend(difference(id, &stored, attempts).map(|text| Finding::new(Harm::Wrong, text)));
            held.insert(id.clone(), stored);
        }
        Ok((held, findings))
    }
}

/// What is wrong with a stored label, given the attempts that reached the topic. The store decides which attempt counts,
/// and a later one repeats the store's record, so all of them are equal.
fn difference(id: &str, stored: &StoredLabel, attempts: &[SentimentV1]) -> Option<String> {
    let told: SentimentV1 = match serde_json::from_slice(&stored.sentiment_json) {
        Ok(told) => told,
        Err(error) => return Some(format!("the store's record of {id} is no sentiment.v1: {error}")),
    };
    let said =
        (told.label, told.certain, told.probabilities, told.valence, told.probability, &told.lang, &told.event_id);
    let kept = (stored.label, stored.certain, stored.probabilities, stored.valence, stored.probability, &stored.lang);
    if said != (kept.0, kept.1, kept.2, kept.3, kept.4, kept.5, &stored.event_id) {
        return Some(format!("the store's fields of {id} contradict the record beside them"));
    }
    let other = attempts.iter().find(|attempt| **attempt != told)?;
    Some(format!("the store says {told:?}, the topic {other:?}"))
}

fn verdict(findings: &[Finding]) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    let shown = findings.iter().take(20).map(|finding| finding.text.as_str()).collect::<Vec<_>>().join("\n");
    bail!("{} findings, the first of them:\n{shown}", findings.len())
}

#[cfg(test)]
mod tests;
