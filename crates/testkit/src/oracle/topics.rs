//! What the output topics must hold at the end.

use std::collections::{BTreeMap, BTreeSet};

use jtav_kafka::Record;
use jtav_schemas::{DeadLetterHeaders, ErasureV1, RecordHeaders, SentimentV1, event_id};

use super::finding::{Finding, Harm};
use super::{Labels, Oracle, Poison};

impl Oracle {
    pub(super) fn inspect_sentiment(&self, records: &[Record], findings: &mut Vec<Finding>) -> Labels {
        let mut labels = Labels::default();
        let mut seen: BTreeMap<String, (String, u64)> = BTreeMap::new();
        for record in records {
            let Some(value) = record.value.as_deref() else { continue };
            let place = format!("sentiment {}:{}", record.partition, record.offset);
            let mut wrong = |text: String| findings.push(Finding::new(Harm::Wrong, format!("{place}{text}")));
            let label: SentimentV1 = match serde_json::from_slice(value) {
                Ok(label) => label,
                Err(error) => {
                    wrong(format!(" is no sentiment.v1: {error}"));
                    continue;
                }
            };
            let (id, revision) = (label.post_id.clone(), label.revision);
            if record.key.as_deref() != Some(id.as_bytes()) {
                wrong(format!(": the key is not the post id {id}"));
            }
            if label.event_id != event_id(&id, revision, &label.model_version)
                || header(record, RecordHeaders::EVENT_ID) != Some(label.event_id.as_bytes())
            {
                wrong(format!(": event id {} in the value or its header is wrong", label.event_id));
            }
            if !self.labelled.get(&id).is_some_and(|revisions| revisions.contains(&revision)) {
                wrong(format!(": nobody produced {id} revision {revision}"));
            }
            if labels.model_version.is_empty() {
                labels.model_version.clone_from(&label.model_version);
            } else if labels.model_version != label.model_version {
                wrong(format!(": model {} beside {}", label.model_version, labels.model_version));
            }
            match seen.insert(label.event_id.clone(), (id.clone(), revision)) {
                None => {}
                Some(earlier) if earlier == (id.clone(), revision) => labels.repeated += 1,
                Some(earlier) => wrong(format!(": event id of {earlier:?} too")),
            }
            labels.attempts.entry((id, revision)).or_default().push(label);
        }
        // One record per id: as many event ids as pairs of id and revision.
        if seen.len() != labels.attempts.len() {
            let text = format!("{} event ids for {} ids and revisions", seen.len(), labels.attempts.len());
            findings.push(Finding::new(Harm::ShownTwice, text));
        }
        self.inspect_revisions(records, &labels, findings);
        labels
    }

    /// Every post that was not erased shows its newest revision, last (for readers of the compacted topic), and to one
    /// who drops repetitions revisions never go back (S5).
    fn inspect_revisions(&self, records: &[Record], labels: &Labels, findings: &mut Vec<Finding>) {
        let mut order: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        let parsed: Vec<SentimentV1> =
            records.iter().filter_map(|record| serde_json::from_slice(record.value.as_deref()?).ok()).collect();
        for label in &parsed {
            order.entry(&label.post_id).or_default().push(label.revision);
        }
        for (id, revisions) in self.labelled.iter().filter(|(id, _)| !self.erased.contains(*id)) {
            let Some(newest) = revisions.last() else { continue };
            if !labels.attempts.contains_key(&(id.clone(), *newest)) {
                findings.push(Finding::new(Harm::Lost, format!("{id} revision {newest} was never labelled")));
                continue;
            }
            let shown = order.get(id.as_str()).map_or(&[][..], |shown| shown);
            let mut first_shown = BTreeSet::new();
            let distinct: Vec<u64> = shown.iter().copied().filter(|revision| first_shown.insert(*revision)).collect();
            if !distinct.is_sorted() {
                findings.push(Finding::new(Harm::Wrong, format!("the revisions of {id} go back: {distinct:?}")));
            }
            if shown.last() != Some(newest) {
                let text = format!("the last record of {id} is not revision {newest}: {shown:?}");
                findings.push(Finding::new(Harm::Wrong, text));
            }
        }
    }

    pub(super) fn inspect_dead_letters(&self, records: &[Record], findings: &mut Vec<Finding>) {
        let mut sources = BTreeSet::new();
        let mut found = vec![BTreeSet::new(); self.poison.len()];
        let mut wrong = |text: String| findings.push(Finding::new(Harm::Wrong, text));
        for record in records {
            let place = format!("dead letter {}:{}", record.partition, record.offset);
            // Redelivery may repeat a dead letter; its source tells that it is the same.
            let source = source_of(record);
            if source.is_none() {
                wrong(format!("{place} does not say where it came from"));
            }
            sources.insert(source);
            let same = |poison: &Poison| {
                record.key.as_deref() == Some(&poison.key[..]) && record.value.as_deref() == Some(&poison.value[..])
            };
            let Some(index) = self.poison.iter().position(same) else {
                let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
                wrong(format!("{place}: key {key} should not be here ({})", message(record)));
                continue;
            };
            let reason = self.poison[index].reason;
            if header(record, DeadLetterHeaders::REASON) != Some(reason.as_str().as_bytes()) {
                wrong(format!("{place}: the reason should be {reason} ({})", message(record)));
            }
            found[index].insert(source);
        }
        if sources.len() > self.poison.len() {
            wrong(format!("dead letters of {} records, {} were expected", sources.len(), self.poison.len()));
        }
        for (poison, found) in self.poison.iter().zip(&found) {
            if found.is_empty() {
                let key = String::from_utf8_lossy(&poison.key);
                let text = format!("{key} ({}) was never dead-lettered", poison.reason);
                findings.push(Finding::new(Harm::Lost, text));
            }
        }
    }

    pub(super) fn inspect_erasures(&self, sentiment: &[Record], erasures: &[Record], findings: &mut Vec<Finding>) {
        let told: BTreeSet<String> = erasures.iter().filter_map(erased_id).collect();
        for id in &told {
            if !self.erased.contains(id) {
                findings.push(Finding::new(Harm::Lost, format!("{id} was erased and nobody asked for it")));
            }
        }
        for id in &self.erased {
            if !told.contains(id) {
                findings.push(Finding::new(Harm::Lost, format!("no erasure record tells of {id}")));
            }
            // A key has one partition, so the order of the log is the order of time.
            let last = sentiment.iter().rfind(|record| record.key.as_deref() == Some(id.as_bytes()));
            if last.is_none_or(|record| record.value.is_some()) {
                let text = format!("the last sentiment record of the erased {id} is not null");
                findings.push(Finding::new(Harm::Resurrected, text));
            }
        }
    }
}

impl Oracle {
    /// Checks the embeddings topic against the labels: the same events, and a null value last for what was erased.
    pub fn inspect_embeddings(&self, labels: &Labels, records: &[Record]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let events: BTreeSet<&[u8]> =
            records.iter().filter_map(|record| header(record, RecordHeaders::EVENT_ID)).collect();
        for ((id, revision), attempts) in labels.attempts.iter().filter(|((id, _), _)| !self.erased.contains(id)) {
            let newest = self.labelled.get(id).and_then(|revisions| revisions.last());
            let Some(label) = attempts.first() else { continue };
            // Of an overtaken revision one topic may have heard and the other not.
            if newest == Some(revision) && !events.contains(label.event_id.as_bytes()) {
                let text = format!("{id} revision {revision} has a label and no embedding");
                findings.push(Finding::new(Harm::Lost, text));
            }
        }
        for id in &self.erased {
            let last = records.iter().rfind(|record| record.key.as_deref() == Some(id.as_bytes()));
            if last.is_none_or(|record| record.value.is_some()) {
                let text = format!("the last embeddings record of the erased {id} is not null");
                findings.push(Finding::new(Harm::Resurrected, text));
            }
        }
        findings
    }
}

/// Partition and offset of the record that a dead letter carries.
pub(super) fn source_of(dead_letter: &Record) -> Option<(i32, i64)> {
    let text = |name| std::str::from_utf8(header(dead_letter, name)?).ok();
    let partition = text(DeadLetterHeaders::SOURCE_PARTITION)?.parse().ok()?;
    Some((partition, text(DeadLetterHeaders::SOURCE_OFFSET)?.parse().ok()?))
}

/// The post that an erasure record tells of.
pub(super) fn erased_id(record: &Record) -> Option<String> {
    let erasure: ErasureV1 = serde_json::from_slice(record.value.as_deref()?).ok()?;
    Some(erasure.post_id)
}

/// The last header of that name: ours, should the producer have sent one too.
fn header<'a>(record: &'a Record, name: &str) -> Option<&'a [u8]> {
    record.headers.iter().rfind(|(header, _)| header == name).and_then(|(_, value)| value.as_deref())
}

fn message(record: &Record) -> String {
    String::from_utf8_lossy(header(record, DeadLetterHeaders::MESSAGE).unwrap_or_default()).into_owned()
}
