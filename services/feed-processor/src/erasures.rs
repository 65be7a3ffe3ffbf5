//! Erasures outlive the server that took them. Redis acknowledges a write before its replicas have it, so a failover, and a
//! restart without a log, can lose an erasure whose offset is committed. When another server answers than before, the
//! receipts of the last hour on the erasures topic are gone through, and what the server lacks is carried out again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jtav_kafka::{ClientSettings, OutboundRecord, Producer, ProducerSettings, Record};
use jtav_pipeline::now_ms;
use jtav_schemas::ErasureV1;
use jtav_settings::Settings;
use jtav_store::ErasureKeeper;
use jtav_telemetry::{Metric, RepairResult, RestoreResult};
use tokio::time::MissedTickBehavior;

use crate::receipts;

/// Between two looks at the server.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Between two repairs that fail; doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause after a failure.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Erasures that one worker looks after in a second: an hour of ten a second takes three minutes, and twenty workers that
/// all do it ask the store 4,000 times a second.
const PER_SECOND: u32 = 200;
/// Tries of one erasure before the whole repair begins again.
const TRIES: u32 = 5;

/// The task of one worker that looks after erasures. All workers may do it at once: what stands is left as it is.
pub(crate) struct ErasureRepair {
    keeper: Arc<dyn ErasureKeeper>,
    client: ClientSettings,
    settings: Arc<Settings>,
    /// Server on which all erasures are known to stand.
    standing: Option<String>,
    /// Restored posts whose null values no topic has taken yet.
    untold: BTreeSet<String>,
    /// Sends them; only while a repair runs that has found something missing.
    producer: Option<Producer>,
}

/// What became of the receipts of one repair.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    restored: u64,
    standing: u64,
    lapsed: u64,
    foreign: u64,
}

/// What is to be done about one record of the erasures topic.
#[derive(Debug, PartialEq)]
enum Due {
    /// Erase, for so long.
    Erase(ErasureV1, Duration),
    /// Its marker would have lapsed by now: a post of that id is a new one.
    Lapsed,
    /// No receipt of ours.
    Foreign,
}

impl Due {
    fn of(record: &Record, now_ms: i64, erased_ttl: Duration) -> Self {
        let value = record.value.as_deref().unwrap_or_default();
        let Ok(erasure) = serde_json::from_slice::<ErasureV1>(value) else { return Due::Foreign };
        // Clocks differ; nothing is erased for longer than it would have been.
        let age = Duration::from_millis(u64::try_from(now_ms.saturating_sub(erasure.erased_at_ms)).unwrap_or(0));
        match erased_ttl.checked_sub(age).filter(|left| !left.is_zero()) {
            Some(left) => Due::Erase(erasure, left),
            None => Due::Lapsed,
        }
    }
}

impl ErasureRepair {
    pub(crate) fn new(keeper: Arc<dyn ErasureKeeper>, client: ClientSettings, settings: Arc<Settings>) -> Self {
        Self { keeper, client, settings, standing: None, untold: BTreeSet::new(), producer: None }
    }

    /// Looks and repairs for ever. Dropped in the middle of a repair, it leaves the rest to the next worker that looks:
    /// only a repair that is complete is written down.
    pub(crate) async fn run(mut self) {
        let mut pause = MIN_PAUSE;
        let mut said = String::new();
        // Until a look says otherwise: a server that may not be asked is one that may have lost something.
        Metric::erasure_repair_due().set(if self.repairs() { 1.0 } else { 0.0 });
        loop {
            let failure = self.look().await.err().map(|error| format!("{error:#}"));
            match failure {
                None => (pause, said) = (MIN_PAUSE, String::new()),
                Some(error) => {
                    pause = (pause * 2).min(MAX_PAUSE);
                    // An outage is told by `/readyz`; here once.
                    if error != said {
                        tracing::warn!(error, "erasures cannot be looked after now; tried again");
                    }
                    said = error;
                }
            }
            tokio::time::sleep(if said.is_empty() { LOOK_EVERY } else { pause }).await;
        }
    }

    fn repairs(&self) -> bool {
        !self.settings.store.erasure_repair().is_zero()
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let report = self.keeper.server().await.context("what the store's server says of itself")?;
        if !report.is_primary || self.standing.as_ref() == Some(&report.identity) {
            return Ok(());
        }
        for warning in report.warnings(self.settings.store.erasure_replicas) {
            tracing::warn!(warning, "store");
        }
        // A worker that has seen the change repairs whatever is written down: what it erased itself on the old server
        // may have come to the topic after another worker had gone through it.
        let first_look = self.standing.is_none();
        let known = if first_look { self.keeper.restored_on().await.context("restored_on")? } else { None };
        if known.as_ref() != Some(&report.identity) && self.repairs() {
            Metric::erasure_repair_due().set(1.0);
            tracing::info!(server = report.identity, "another server answers for the store: looking after erasures");
            let repaired = self.repair().await;
            self.producer = None;
            Metric::erasure_repairs(if repaired.is_ok() { RepairResult::Ok } else { RepairResult::Error }).inc();
            let tally = repaired.context("carrying out the latest erasures again")?;
            self.keeper.mark_restored(&report.identity).await.context("mark_restored")?;
            tracing::info!(server = report.identity, ?tally, "the latest erasures stand");
        }
        Metric::erasure_repair_due().set(0.0);
        self.standing = Some(report.identity);
        Ok(())
    }

    async fn repair(&mut self) -> anyhow::Result<Tally> {
        let store = &self.settings.store;
        let since_ms = now_ms().saturating_sub(i64::try_from(store.erasure_repair_seconds * 1_000).unwrap_or(i64::MAX));
        // Whoever erased on the old server a moment ago has until its deadline to have the receipt acknowledged.
        let until = Instant::now() + self.settings.publish.deadline();
        let topic = self.settings.kafka.erasures_topic.clone();
        let mut records = receipts::follow(self.client.clone(), topic, since_ms, until);
        let mut pace = tokio::time::interval(Duration::from_secs(1) / PER_SECOND);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let erased_ttl = store.erased_ttl();
        let mut tally = Tally::default();
        self.tell().await?;
        while let Some(record) = records.recv().await {
            let record = record.context("reading the erasures topic")?;
            let result = match Due::of(&record, now_ms(), erased_ttl) {
                Due::Lapsed => (&mut tally.lapsed, RestoreResult::Lapsed),
                Due::Foreign => (&mut tally.foreign, RestoreResult::Foreign),
                Due::Erase(erasure, left) => {
                    pace.tick().await;
                    match self.restore(&erasure, left).await? {
                        true => (&mut tally.restored, RestoreResult::Restored),
                        false => (&mut tally.standing, RestoreResult::Standing),
                    }
                }
            };
            *result.0 += 1;
            Metric::erasures_restored(result.1).inc();
        }
        Ok(tally)
    }

    /// True if the erasure was not there and is now, with null values on the topics: a label may have been published since.
    async fn restore(&mut self, erasure: &ErasureV1, left: Duration) -> anyhow::Result<bool> {
        let mut tried = 0;
        let deleted = loop {
            match self.keeper.restore_erasure(&erasure.post_id, erasure.revision, left).await {
                Ok(deleted) => break deleted,
                Err(error) if error.is_retryable() && tried + 1 < TRIES => tried += 1,
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(Duration::from_millis(200) * tried).await;
        };
        if deleted.is_none() {
            return Ok(false);
        }
        // Kept until they are sent: the next repair finds the marker and would think that all is done.
        self.untold.insert(erasure.post_id.clone());
        self.tell().await?;
        Ok(true)
    }

    /// Sends the null values that are due.
    async fn tell(&mut self) -> anyhow::Result<()> {
        if self.untold.is_empty() {
            return Ok(());
        }
        let producer = match &self.producer {
            Some(producer) => producer,
            None => {
                let delivery_timeout_ms = self.settings.publish.deadline_ms as u32;
                let settings = ProducerSettings { delivery_timeout_ms, ..ProducerSettings::default() };
                self.producer.insert(Producer::new(&self.client, &settings).context("Kafka producer")?)
            }
        };
        let kafka = &self.settings.kafka;
        while let Some(post_id) = self.untold.first().cloned() {
            let null = |topic: &str| producer.send(OutboundRecord::tombstone(topic, post_id.clone()));
            let (first, second) = futures::join!(null(&kafka.sentiment_topic), null(&kafka.embeddings_topic));
            first.and(second).context("null values of an erased post")?;
            self.untold.remove(&post_id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn record(value: &str) -> Record {
        Record {
            cut: None,
            topic: "erasures".to_owned(),
            partition: 0,
            offset: 0,
            timestamp_ms: Some(0),
            key: None,
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: Vec::new(),
        }
    }

    fn receipt(erased_at_ms: i64) -> Record {
        record(&format!(r#"{{"post_id":"p","revision":3,"erased_keys":1,"erased_at_ms":{erased_at_ms}}}"#))
    }

    fn left(erased_at_ms: i64, now_ms: i64) -> Option<Duration> {
        match Due::of(&receipt(erased_at_ms), now_ms, HOUR) {
            Due::Erase(erasure, left) => {
                assert_eq!((erasure.post_id.as_str(), erasure.revision), ("p", 3));
                Some(left)
            }
            other => {
                assert_eq!(other, Due::Lapsed);
                None
            }
        }
    }

    #[test]
    fn an_erasure_is_carried_out_again_for_what_is_left_of_its_time_and_never_after() {
        assert_eq!(left(1_000, 1_000), Some(HOUR));
        assert_eq!(left(1_000, 1_801_000), Some(HOUR / 2));
        assert_eq!(left(1_000, 3_601_000), None, "a post of that id is a new one");
        assert_eq!(left(1_000, i64::MAX), None);
        assert_eq!(left(9_000, 1_000), Some(HOUR), "a clock ahead of ours prolongs nothing");
        assert_eq!(left(i64::MAX, i64::MIN), Some(HOUR));
    }

    #[test]
    fn what_is_no_receipt_erases_nothing() {
        for value in ["", "{}", "null", r#"{"post_id":7}"#, r#"{"post_id":"p","revision":-1,"erased_at_ms":0}"#] {
            assert_eq!(Due::of(&record(value), 0, HOUR), Due::Foreign, "{value}");
        }
        assert_eq!(Due::of(&Record { value: None, ..record("") }, 0, HOUR), Due::Foreign);
    }
}
