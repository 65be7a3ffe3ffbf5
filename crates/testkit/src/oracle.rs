use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use jtav_kafka::{OutboundRecord, Record};
use jtav_schemas::{DeadLetterHeaders, DeadLetterReason, ErasureV1, PostV1, RecordHeaders, SentimentV1, event_id};
use jtav_store::{Store, StoredLabel};

/// What a feed must come to, whatever crashes in between. Filled while the feed is made, asked when all is settled.
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

    /// A post, which must be labelled. Revisions of one id must be made in rising order.
    pub fn post(&mut self, post: &PostV1) -> Result<OutboundRecord> {
        self.labelled.entry(post.id.clone()).or_default().insert(post.revision);
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

    /// Checks the output topics, each read to its end: every id and revision labelled or dead-lettered, nothing that
    /// was not asked for, event ids that follow from post, revision and model, one record for each of them once
    /// repetitions are dropped, a null value last for what was erased.
    pub fn check_topics(&self, sentiment: &[Record], dead_letters: &[Record], erasures: &[Record]) -> Result<Labels> {
        let mut findings = Vec::new();
        let labels = self.check_sentiment(sentiment, &mut findings);
        self.check_dead_letters(dead_letters, &mut findings);
        self.check_erasures(sentiment, erasures, &mut findings);
        verdict(findings)?;
        Ok(labels)
    }

    fn check_sentiment(&self, records: &[Record], findings: &mut Vec<String>) -> Labels {
        let mut labels = Labels::default();
        let mut seen: BTreeMap<String, (String, u64)> = BTreeMap::new();
        for record in records {
            let Some(value) = record.value.as_deref() else { continue };
            let place = format!("sentiment {}:{}", record.partition, record.offset);
            let label: SentimentV1 = match serde_json::from_slice(value) {
                Ok(label) => label,
                Err(error) => {
                    findings.push(format!("{place} is no sentiment.v1: {error}"));
                    continue;
                }
            };
            let (id, revision) = (label.post_id.clone(), label.revision);
            if record.key.as_deref() != Some(id.as_bytes()) {
                findings.push(format!("{place}: the key is not the post id {id}"));
            }
            if label.event_id != event_id(&id, revision, &label.model_version)
                || header(record, RecordHeaders::EVENT_ID) != Some(label.event_id.as_bytes())
            {
                findings.push(format!("{place}: event id {} in the value or its header is wrong", label.event_id));
            }
            if !self.labelled.get(&id).is_some_and(|revisions| revisions.contains(&revision)) {
                findings.push(format!("{place}: nobody produced {id} revision {revision}"));
            }
            if labels.model_version.is_empty() {
                labels.model_version.clone_from(&label.model_version);
            } else if labels.model_version != label.model_version {
                findings.push(format!("{place}: model {} beside {}", label.model_version, labels.model_version));
            }
            match seen.insert(label.event_id.clone(), (id.clone(), revision)) {
                None => {}
                Some(earlier) if earlier == (id.clone(), revision) => labels.repeated += 1,
                Some(earlier) => findings.push(format!("{place}: event id of {earlier:?} too")),
            }
            labels.attempts.entry((id, revision)).or_default().push(label);
        }
        for (id, revisions) in self.labelled.iter().filter(|(id, _)| !self.erased.contains(*id)) {
            for revision in revisions {
                if !labels.attempts.contains_key(&(id.clone(), *revision)) {
                    findings.push(format!("{id} revision {revision} was never labelled"));
                }
            }
        }
        // One record per id: as many event ids as pairs of id and revision.
        if seen.len() != labels.attempts.len() {
            findings.push(format!("{} event ids for {} ids and revisions", seen.len(), labels.attempts.len()));
        }
        labels
    }

    fn check_dead_letters(&self, records: &[Record], findings: &mut Vec<String>) {
        let mut sources = BTreeSet::new();
        let mut found = vec![BTreeSet::new(); self.poison.len()];
        for record in records {
            let place = format!("dead letter {}:{}", record.partition, record.offset);
            // Redelivery may repeat a dead letter; its source tells that it is the same.
            let source = [DeadLetterHeaders::SOURCE_PARTITION, DeadLetterHeaders::SOURCE_OFFSET]
                .map(|name| header(record, name).map(<[u8]>::to_vec));
            if source.contains(&None) {
                findings.push(format!("{place} does not say where it came from"));
            }
            sources.insert(source.clone());
            let same = |poison: &Poison| {
                record.key.as_deref() == Some(&poison.key[..]) && record.value.as_deref() == Some(&poison.value[..])
            };
            let Some(index) = self.poison.iter().position(same) else {
                let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
                findings.push(format!("{place}: key {key} should not be here ({})", message(record)));
                continue;
            };
            let reason = self.poison[index].reason;
            if header(record, DeadLetterHeaders::REASON) != Some(reason.as_str().as_bytes()) {
                findings.push(format!("{place}: the reason should be {reason} ({})", message(record)));
            }
            found[index].insert(source);
        }
        for (poison, found) in self.poison.iter().zip(&found) {
            if found.is_empty() {
                let key = String::from_utf8_lossy(&poison.key);
                findings.push(format!("{key} ({}) was never dead-lettered", poison.reason));
            }
        }
        if sources.len() > self.poison.len() {
            findings.push(format!("dead letters of {} records, {} were expected", sources.len(), self.poison.len()));
        }
    }

    fn check_erasures(&self, sentiment: &[Record], erasures: &[Record], findings: &mut Vec<String>) {
        let told: BTreeSet<String> = erasures
            .iter()
            .filter_map(|record| serde_json::from_slice::<ErasureV1>(record.value.as_deref()?).ok())
            .map(|erasure| erasure.post_id)
            .collect();
        for id in &told {
            if !self.erased.contains(id) {
                findings.push(format!("{id} was erased and nobody asked for it"));
            }
        }
        for id in &self.erased {
            if !told.contains(id) {
                findings.push(format!("no erasure record tells of {id}"));
            }
            // A key has one partition, so the order of the log is the order of time.
            let last = sentiment.iter().rfind(|record| record.key.as_deref() == Some(id.as_bytes()));
            if last.is_none_or(|record| record.value.is_some()) {
                findings.push(format!("the last sentiment record of the erased {id} is not null"));
            }
        }
    }

    /// Checks the store against the labels of the topic: it holds the newest revision of each post and nothing of an
    /// erased one, and what it holds is what every record of that event on the topic says.
    pub async fn check_store(&self, labels: &Labels, store: &dyn Store) -> Result<BTreeMap<String, StoredLabel>> {
        let mut findings = Vec::new();
        let mut held = BTreeMap::new();
        for (id, revisions) in &self.labelled {
            let stored = store.read(id, &labels.model_version).await?;
            if self.erased.contains(id) {
                if stored.is_some() || !store.is_erased(id).await? {
                    findings.push(format!("{id} should be erased"));
                }
                continue;
            }
            let Some(stored) = stored else {
                findings.push(format!("the store has no {id}"));
                continue;
            };
            let newest = revisions.last().copied().unwrap_or_default();
            if stored.revision != newest {
                findings.push(format!("the store has revision {} of {id}, not {newest}", stored.revision));
            }
            findings.extend(difference(id, &stored, labels.attempts.get(&(id.clone(), newest)).map_or(&[], |all| all)));
            held.insert(id.clone(), stored);
        }
        verdict(findings)?;
        Ok(held)
    }
}

/// What is wrong with a stored label, given the attempts that reached the topic. The store decides which attempt counts,
/// and a later one repeats the store's record, so all of them are equal.
fn difference(id: &str, stored: &StoredLabel, attempts: &[SentimentV1]) -> Option<String> {
    let told: SentimentV1 = match serde_json::from_slice(&stored.sentiment_json) {
        Ok(told) => told,
        Err(error) => return Some(format!("the store's record of {id} is no sentiment.v1: {error}")),
    };
    if (told.label, told.probability, &told.event_id) != (stored.label, stored.probability, &stored.event_id) {
        return Some(format!("the store's fields of {id} contradict the record beside them"));
    }
    let other = attempts.iter().find(|attempt| **attempt != told)?;
    Some(format!("the store says {told:?}, the topic {other:?}"))
}

/// The last header of that name: ours, should the producer have sent one too.
fn header<'a>(record: &'a Record, name: &str) -> Option<&'a [u8]> {
    record.headers.iter().rfind(|(header, _)| header == name).and_then(|(_, value)| value.as_deref())
}

fn message(record: &Record) -> String {
    String::from_utf8_lossy(header(record, DeadLetterHeaders::MESSAGE).unwrap_or_default()).into_owned()
}

fn verdict(findings: Vec<String>) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    let shown = findings.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
    bail!("{} findings, the first of them:\n{shown}", findings.len())
}

#[cfg(test)]
mod tests;
