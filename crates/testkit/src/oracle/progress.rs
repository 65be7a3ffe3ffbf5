//! What must hold while a worker runs: no committed position stands above a record without an outcome (S2).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use jtav_kafka::Record;
use jtav_schemas::{PostV1, SentimentV1};
use jtav_store::Store;

use super::finding::{Finding, Harm, has_nothing};
use super::topics::{erased_id, source_of};

/// The input log and the outcomes that are visible so far. Feed it in this order: ask the group for its committed
/// positions, then read the topics to their ends, then call [`Self::check`]: an outcome is visible before its record
/// is committed, so what is not there by then is missing.
#[derive(Debug, Default)]
pub struct Progress {
    input: BTreeMap<i32, BTreeMap<i64, Entry>>,
    labels: BTreeMap<String, u64>,
    erased: BTreeSet<String>,
    set_aside: BTreeSet<(i32, i64)>,
    model_version: String,
    /// Everything below was found in order.
    checked: BTreeMap<i32, i64>,
    highest: BTreeMap<i32, i64>,
}

#[derive(Debug, Clone)]
enum Entry {
    Post {
        id: String,
        revision: u64,
    },
    Tombstone {
        id: String,
    },
    /// A post with nothing to label, of which nothing shows anywhere.
    Nothing,
    /// Nothing that can be read: only the dead-letter topic can have it.
    Unreadable,
}

impl Progress {
    /// A record of the input topic.
    pub fn input(&mut self, record: &Record) {
        let id = || String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        let entry = match record.value.as_deref().map(serde_json::from_slice::<PostV1>) {
            None => Entry::Tombstone { id: id() },
            Some(Ok(post)) if post.id == id() && post.deleted => Entry::Tombstone { id: post.id },
            Some(Ok(post)) if post.id == id() && has_nothing(&post) => Entry::Nothing,
            Some(Ok(post)) if post.id == id() => Entry::Post { id: post.id, revision: post.revision },
            Some(_) => Entry::Unreadable,
        };
        self.input.entry(record.partition).or_default().insert(record.offset, entry);
    }

    /// A record of the sentiment topic.
    pub fn sentiment(&mut self, record: &Record) {
        let Some(Ok(label)) = record.value.as_deref().map(serde_json::from_slice::<SentimentV1>) else { return };
        let highest = self.labels.entry(label.post_id).or_insert(label.revision);
        *highest = label.revision.max(*highest);
        self.model_version = label.model_version;
    }

    /// A record of the dead-letter topic.
    pub fn dead_letter(&mut self, record: &Record) {
        self.set_aside.extend(source_of(record));
    }

    /// A record of the erasures topic.
    pub fn erasure(&mut self, record: &Record) {
        self.erased.extend(erased_id(record));
    }

    /// Records of the input topic so far.
    pub fn records(&self) -> usize {
        self.input.values().map(BTreeMap::len).sum()
    }

    /// Holds committed positions against the outcomes. The store is asked only about records that no topic tells of:
    /// a post may be overtaken or erased there before the topics say so.
    ///
    /// # Errors
    /// A store that does not answer; nothing is taken as checked then.
    pub async fn check(&mut self, committed: &BTreeMap<i32, i64>, store: &dyn Store) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for (partition, position) in committed {
            let highest = self.highest.entry(*partition).or_insert(*position);
            if position < highest {
                let text = format!("the committed position of partition {partition} went from {highest} to {position}");
                findings.push(Finding::new(Harm::Wrong, text));
            }
            *highest = (*position).max(*highest);
            let from = self.checked.get(partition).copied().unwrap_or(0);
            let Some(entries) = self.input.get(partition) else { continue };
            for (offset, entry) in entries.range(from..(*position).max(from)) {
                if !self.has_outcome(*partition, *offset, entry) && !self.is_settled_by_store(entry, store).await? {
                    let text = format!("{partition}:{offset} ({entry:?}) is below the committed position {position}");
                    findings.push(Finding::new(Harm::Lost, format!("{text} and has no outcome")));
                }
            }
            self.checked.insert(*partition, (*position).max(from));
        }
        Ok(findings)
    }

    fn has_outcome(&self, partition: i32, offset: i64, entry: &Entry) -> bool {
        self.set_aside.contains(&(partition, offset))
            || match entry {
                Entry::Post { id, revision } => {
                    self.erased.contains(id) || self.labels.get(id).is_some_and(|highest| highest >= revision)
                }
                Entry::Tombstone { id } => self.erased.contains(id),
                Entry::Nothing => true,
                Entry::Unreadable => false,
            }
    }

    async fn is_settled_by_store(&self, entry: &Entry, store: &dyn Store) -> Result<bool> {
        let Entry::Post { id, revision } = entry else { return Ok(false) };
        if store.is_erased(id).await? {
            return Ok(true);
        }
        let stored = store.read(id, &self.model_version).await?;
        Ok(stored.is_some_and(|stored| stored.revision > *revision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use jtav_store::EmbeddedStore;

    fn record(offset: i64, key: &str, value: Option<&str>) -> Record {
        crate::oracle::tests::record(offset, key, value.map(|value| value.as_bytes().to_vec()), &[])
    }

    async fn harms(progress: &mut Progress, position: i64) -> Vec<Harm> {
        let store = EmbeddedStore::new();
        let findings = progress.check(&BTreeMap::from([(0, position)]), &store).await.unwrap();
        findings.into_iter().map(|finding| finding.harm).collect()
    }

    #[tokio::test]
    async fn a_position_above_a_record_without_an_outcome_is_found() {
        let mut progress = Progress::default();
        progress.input(&record(0, "a", Some(r#"{"id":"a","texts":[{"text":"words"}]}"#)));
        progress.input(&record(1, "b", None));
        progress.input(&record(2, "c", Some("{")));
        assert_eq!(harms(&mut progress, 0).await, []);
        assert_eq!(harms(&mut progress, 3).await, [Harm::Lost, Harm::Lost, Harm::Lost]);
        assert_eq!(harms(&mut progress, 3).await, [], "each is told once");
        assert_eq!(harms(&mut progress, 2).await, [Harm::Wrong], "it went back");
    }

    #[tokio::test]
    async fn a_record_with_an_outcome_may_be_passed() {
        let mut progress = Progress::default();
        progress.input(&record(0, "b", None));
        progress.input(&record(1, "b", Some(r#"{"id":"b","revision":7,"texts":[{"text":"words"}]}"#)));
        let erasure = r#"{"post_id":"b","revision":0,"erased_keys":0,"erased_at_ms":0}"#;
        progress.erasure(&record(0, "b", Some(erasure)));
        progress.input(&record(2, "c", Some("{")));
        let mut letter = record(0, "c", Some("{"));
        letter.headers = [("jtav-dl-source-partition", "0"), ("jtav-dl-source-offset", "2")]
            .map(|(name, value)| (name.to_owned(), Some(Bytes::copy_from_slice(value.as_bytes()))))
            .to_vec();
        progress.dead_letter(&letter);
        progress.input(&record(3, "d", Some(r#"{"id":"d","texts":[{"text":"@somebody"}]}"#)));
        assert_eq!(harms(&mut progress, 4).await, [], "nothing shows of a post with nothing to label");
    }
}
