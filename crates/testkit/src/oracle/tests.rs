use super::*;
use crate::{embedding_of, write_of};
use bytes::Bytes;
use jtav_schemas::{DeadLetterHeaders, DeadLetterReason, RecordHeaders, event_id};
use jtav_schemas::{ModalityStatus, PerModality, Probabilities, TextPart, Vector};
use jtav_store::{EmbeddedStore, LabelWrite, Source};

const MODEL: &str = "m@1";

fn post(id: &str, revision: u64) -> PostV1 {
    PostV1 {
        id: id.into(),
        revision,
        author_id: None,
        created_at: None,
        lang: None,
        texts: vec![TextPart { role: "body".into(), text: "words".into() }],
        audio: None,
        image: None,
        deleted: false,
    }
}

fn label(id: &str, revision: u64, probability: f32) -> SentimentV1 {
    let probabilities = Probabilities { negative: 1.0 - probability, neutral: 0.0, positive: probability };
    SentimentV1 {
        event_id: event_id(id, revision, MODEL),
        post_id: id.into(),
        revision,
        label: probabilities.label(),
        probabilities,
        valence: 2.0 * probability - 1.0,
        probability,
        confidence: probability.max(1.0 - probability),
        threshold: 0.5,
        certain: true,
        uncertain_because: None,
        lang: None,
        moods: Vec::new(),
        modalities: PerModality {
            text: ModalityStatus::Present,
            audio: ModalityStatus::Present,
            image: ModalityStatus::Present,
        },
        truncated: Vec::new(),
        attention: Default::default(),
        contributions: None,
        model_version: MODEL.into(),
        event_time_ms: None,
        received_at_ms: 0,
        labelled_at_ms: 0,
    }
}

pub(super) fn record(offset: i64, key: &str, value: Option<Vec<u8>>, headers: &[(&str, &str)]) -> Record {
    Record {
        topic: "t".into(),
        partition: 0,
        offset,
        timestamp_ms: None,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: value.map(Bytes::from),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Some(Bytes::copy_from_slice(value.as_bytes()))))
            .collect(),
        cut: None,
    }
}

fn published(offset: i64, label: &SentimentV1) -> Record {
    let value = serde_json::to_vec(label).unwrap();
    record(offset, &label.post_id, Some(value), &[(RecordHeaders::EVENT_ID, &label.event_id)])
}

fn dead_letter(reason: &str, offset: &str) -> Record {
    let headers = [
        (DeadLetterHeaders::REASON, reason),
        (DeadLetterHeaders::SOURCE_PARTITION, "0"),
        (DeadLetterHeaders::SOURCE_OFFSET, offset),
    ];
    record(0, "x", Some(b"{".to_vec()), &headers)
}

fn oracle() -> Oracle {
    let mut oracle = Oracle::new("posts");
    oracle.post(&post("a", 0)).unwrap();
    oracle.post(&post("a", 1)).unwrap();
    oracle.poison("x", *b"{", DeadLetterReason::InvalidJson);
    oracle
}

fn complaint(sentiment: &[Record], dead_letters: &[Record]) -> String {
    format!("{:#}", oracle().check_topics(sentiment, dead_letters, &[]).unwrap_err())
}

#[test]
fn a_redelivered_label_is_no_finding_and_is_counted() {
    let records = [label("a", 0, 0.7), label("a", 0, 0.7), label("a", 1, 0.2)];
    let records: Vec<_> = records.iter().zip(0..).map(|(label, offset)| published(offset, label)).collect();
    let letters = [dead_letter("invalid_json", "3"), dead_letter("invalid_json", "3")];
    let labels = oracle().check_topics(&records, &letters, &[]).unwrap();
    assert_eq!((labels.repeated, labels.attempts.len(), oracle().expected_labels()), (1, 2, 2));
}

#[test]
fn an_older_label_behind_the_newest_is_found() {
    // A reader who drops event ids sees nothing of it; one who reads the compacted topic does.
    let records = [label("a", 0, 0.7), label("a", 1, 0.2), label("a", 0, 0.7)];
    let records: Vec<_> = records.iter().zip(0..).map(|(label, offset)| published(offset, label)).collect();
    let letter = dead_letter("invalid_json", "3");
    assert!(complaint(&records, std::slice::from_ref(&letter)).contains("the last record of a is not revision 1"));
    let back = [published(0, &label("a", 1, 0.2)), published(1, &label("a", 0, 0.7))];
    assert!(complaint(&back, &[letter]).contains("the revisions of a go back"));
}

#[test]
fn lost_invented_and_misnamed_labels_are_found() {
    let (first, second) = (published(0, &label("a", 0, 0.7)), published(1, &label("a", 1, 0.2)));
    let letter = dead_letter("invalid_json", "3");
    assert!(complaint(std::slice::from_ref(&first), std::slice::from_ref(&letter)).contains("a revision 1 was never"));
    let invented = published(2, &label("b", 0, 0.7));
    let all = [first.clone(), second.clone(), invented];
    assert!(complaint(&all, std::slice::from_ref(&letter)).contains("nobody produced b"));
    let mut random = label("a", 1, 0.2);
    random.event_id = "0123".into();
    let all = [first.clone(), published(1, &random)];
    assert!(complaint(&all, std::slice::from_ref(&letter)).contains("event id 0123"));
    assert!(complaint(&[first.clone(), second.clone()], &[]).contains("never dead-lettered"));
    assert!(complaint(&[first, second], &[dead_letter("poison_pill", "3")]).contains("should be invalid_json"));
}

#[test]
fn an_erased_post_that_still_shows_is_found() {
    let mut oracle = Oracle::new("posts");
    oracle.post(&post("a", 0)).unwrap();
    oracle.tombstone("a");
    let shown = published(0, &label("a", 0, 0.7));
    let error = oracle.check_topics(std::slice::from_ref(&shown), &[], &[]).unwrap_err().to_string();
    assert!(error.contains("no erasure record") && error.contains("is not null"), "{error}");
}

#[tokio::test]
async fn a_store_that_contradicts_the_topic_is_found() {
    let oracle = oracle();
    let topic = [published(0, &label("a", 0, 0.7)), published(1, &label("a", 1, 0.2))];
    let labels = oracle.check_topics(&topic, &[dead_letter("invalid_json", "3")], &[]).unwrap();
    let store = EmbeddedStore::new();
    let error = oracle.check_store(&labels, &store).await.unwrap_err().to_string();
    assert!(error.contains("the store has no a"), "{error}");
    for (revision, probability, complaint) in [(0, 0.7, "revision 0 of a"), (1, 0.3, "the topic"), (2, 0.2, "not 1")] {
        store.apply(&write(&label("a", revision, probability))).await.unwrap();
        let error = oracle.check_store(&labels, &store).await.unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
    }
    let store = EmbeddedStore::new();
    store.apply(&write(&label("a", 1, 0.2))).await.unwrap();
    assert_eq!(oracle.check_store(&labels, &store).await.unwrap().len(), 1);
}

fn write(label: &SentimentV1) -> LabelWrite {
    let embedding = embedding_of(label, Vector::pack(&[1.0]).unwrap());
    write_of(label, &embedding, Source { partition: 0, offset: label.revision as i64 }).unwrap()
}

#[test]
fn of_a_post_with_nothing_to_label_nothing_may_come() {
    let mut oracle = Oracle::new("posts");
    for text in ["", "@somebody", "...!", "https://a.example/b"] {
        let texts = vec![TextPart { role: "body".into(), text: text.into() }];
        oracle.post(&PostV1 { texts, ..post("n", 0) }).unwrap();
    }
    assert_eq!(oracle.expected_labels(), 0);
    oracle.check_topics(&[], &[], &[]).unwrap();
    assert!(oracle.check_topics(&[published(0, &label("n", 0, 0.5))], &[], &[]).is_err());
    assert!(oracle.check_topics(&[], &[dead_letter("no_modality", "3")], &[]).is_err());
}
