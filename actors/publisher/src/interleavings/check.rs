//! What must hold once a case has come to rest, whatever happened in it.

use std::collections::BTreeSet;

use jtav_kafka::OutboundRecord;
use jtav_schemas::{EmbeddingV1, ErasureV1, RecordHeaders, SentimentV1, event_id};
use jtav_store::Source;

use super::case::{Done, Event};

/// A label on a topic, or a null value.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    event_id: String,
    revision: u64,
    model: String,
}

pub(super) fn findings(done: &Done) -> Vec<String> {
    let mut findings = Vec::new();
    check_store(done, &mut findings);
    for topic in ["sentiment", "embeddings"] {
        check_topic(done, topic, &mut findings);
    }
    check_receipts(done, &mut findings);
    findings
}

fn is_erased(done: &Done) -> bool {
    done.history.iter().any(|event| matches!(event, Event::Erase { .. }))
}

/// The newest revision, and of equal ones the latest record.
fn newest(history: &[Event]) -> Option<(u64, Source)> {
    let labels = history.iter().enumerate().filter_map(|(offset, event)| match event {
        Event::Label { revision } => Some((*revision, Source { partition: 0, offset: offset as i64 })),
        Event::Erase { .. } => None,
    });
    labels.max()
}

/// Models that have read the whole log: the live one where no other took part, and the backfill's.
fn complete_models(done: &Done) -> Vec<&'static str> {
    let mut complete = vec![done.backfill_model];
    if done.live_models[0] == done.live_models[1] {
        complete.push(done.live_models[0]);
    }
    complete
}

/// The store is a function of the input log (S3).
fn check_store(done: &Done, findings: &mut Vec<String>) {
    let complete = complete_models(done);
    for (model, standing, label) in &done.standings {
        if is_erased(done) {
            if !standing.erased || label.is_some() {
                findings.push(format!("resurrection: {model} holds {standing:?} of an erased post"));
            }
        } else if standing.erased {
            findings.push(format!("{model}: nobody asked to erase the post"));
        } else if complete.contains(model) && standing.newest != newest(&done.history) {
            findings.push(format!("{model} holds {:?}, the log says {:?}", standing.newest, newest(&done.history)));
        }
    }
}

fn check_topic(done: &Done, topic: &str, findings: &mut Vec<String>) {
    let records: Vec<&OutboundRecord> = done.records.iter().filter(|record| record.topic == topic).collect();
    let mut said = Vec::new();
    for record in &records {
        match read(record, &done.post_id) {
            Ok(read) => said.push(read),
            Err(finding) => findings.push(format!("{topic}: {finding}")),
        }
    }
    if is_erased(done) {
        if said.last().is_none_or(Option::is_some) {
            findings.push(format!("resurrection: the last record of {topic} is {:?}", said.last()));
        }
        return;
    }
    if said.iter().any(Option::is_none) {
        findings.push(format!("{topic} has a null value of a post that is not erased"));
    }
    let labels: Vec<Said> = said.into_iter().flatten().collect();
    check_order(done, topic, &labels, findings);
    // With two live models the last record may be either's.
    if done.live_models[0] == done.live_models[1] {
        let stored = done.standings.iter().find(|(model, _, _)| *model == done.live_models[0]);
        let label = stored.and_then(|(_, _, label)| label.as_ref());
        let last = records.last().and_then(|record| record.value.as_ref());
        match (label, topic) {
            (Some(label), "sentiment") if last != Some(&label.sentiment_json) => {
                findings.push(format!("the last record of {topic} is not what the store says"));
            }
            (Some(label), _) if labels.last().is_none_or(|last| last.event_id != label.event_id) => {
                findings.push(format!("the last record of {topic} is not the newest"));
            }
            (None, _) if newest(&done.history).is_some() => findings.push("there is no label".to_owned()),
            _ => {}
        }
    }
}

/// A reader that drops what it has seen (by event id) and what is older than what it holds: revisions rise, none is
/// skipped at the end, and nothing was made up.
fn check_order(done: &Done, topic: &str, labels: &[Said], findings: &mut Vec<String>) {
    let mut models: Vec<&str> = done.live_models.clone();
    models.dedup();
    for model in models {
        let mut seen = BTreeSet::new();
        let mut held: Option<u64> = None;
        for label in labels.iter().filter(|label| label.model == model) {
            if !seen.insert(&label.event_id) || held.is_some_and(|held| label.revision < held) {
                continue;
            }
            if held == Some(label.revision) {
                findings.push(format!("{topic}: two event ids of revision {}", label.revision));
            }
            held = Some(label.revision);
        }
        let is_alone = done.live_models.iter().all(|other| *other == model);
        if is_alone && held != newest(&done.history).map(|(revision, _)| revision) {
            findings.push(format!("{topic}: a reader ends with revision {held:?}"));
        }
    }
}

fn read(record: &OutboundRecord, post_id: &str) -> Result<Option<Said>, String> {
    if record.key.as_deref() != Some(post_id.as_bytes()) {
        return Err(format!("the key is {:?}", record.key));
    }
    let Some(value) = record.value.as_deref() else { return Ok(None) };
    let said = if record.topic == "sentiment" {
        let label: SentimentV1 = serde_json::from_slice(value).map_err(|error| error.to_string())?;
        Said { event_id: label.event_id, revision: label.revision, model: label.model_version }
    } else {
        let vectors: EmbeddingV1 = serde_json::from_slice(value).map_err(|error| error.to_string())?;
        Said { event_id: vectors.event_id, revision: vectors.revision, model: vectors.model_version }
    };
    let header = |name: &str| {
        let found = record.headers.iter().rfind(|(other, _)| other == name);
        found.and_then(|(_, value)| value.clone())
    };
    let expected = event_id(post_id, said.revision, &said.model);
    if said.event_id != expected || header(RecordHeaders::EVENT_ID).as_deref() != Some(expected.as_bytes()) {
        return Err(format!("the event id of {said:?} is wrong"));
    }
    if header(RecordHeaders::MODEL_VERSION).as_deref() != Some(said.model.as_bytes()) {
        return Err(format!("the model in the header of {said:?} is wrong"));
    }
    Ok(Some(said))
}

/// Every tombstone has its receipt, and nothing else has one.
fn check_receipts(done: &Done, findings: &mut Vec<String>) {
    let receipts: BTreeSet<u64> = done
        .records
        .iter()
        .filter(|record| record.topic == "erasures")
        .filter_map(|record| serde_json::from_slice::<ErasureV1>(record.value.as_deref()?).ok())
        .map(|erasure| erasure.revision)
        .collect();
    let asked: BTreeSet<u64> = done
        .history
        .iter()
        .filter_map(|event| match event {
            Event::Erase { revision } => Some(*revision),
            Event::Label { .. } => None,
        })
        .collect();
    if receipts != asked {
        findings.push(format!("erasure records of {receipts:?}, tombstones of {asked:?}"));
    }
}
