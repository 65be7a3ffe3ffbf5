//! Every record has a way out, however large it is and whatever the topics take.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use jtav_kafka::{Fault, OutboundRecord};
use jtav_pipeline::{DeadLetterRequest, ErrorClass, InboundRecord, Publisher, Stage};
use jtav_publisher::{PublisherStage, WayOut};
use jtav_schemas::{DeadLetterHeaders as Names, DeadLetterReason, Truncation, Whole};
use jtav_telemetry::{Metric, Sink, Telemetry};
use support::{FaultyStore, RecordingSink, inbound, params, request, started, telemetry};

struct Bench {
    publisher: Arc<dyn Publisher>,
    sink: Arc<RecordingSink>,
    way_out: Arc<WayOut>,
    telemetry: &'static Telemetry,
}

impl Bench {
    fn new() -> Self {
        let (sink, telemetry, way_out) = (Arc::<RecordingSink>::default(), telemetry(), Arc::<WayOut>::default());
        let mut params = params(Arc::new(FaultyStore::default()), sink.clone());
        params.way_out = Arc::clone(&way_out);
        let publisher = started(PublisherStage::with_telemetry(params, telemetry));
        Self { publisher, sink, way_out, telemetry }
    }

    async fn set_aside(&self, record: InboundRecord) -> Result<OutboundRecord, jtav_pipeline::StageError> {
        self.publisher
            .dead_letter(DeadLetterRequest {
                record: Arc::new(record),
                reason: DeadLetterReason::RecordTooLarge,
                stage: Stage::Ingest,
                message: "too large".into(),
                attempts: 1,
                modalities: None,
            })
            .await?;
        Ok(self.sink.of("dead-letters").pop().unwrap())
    }
}

fn run(test: impl AsyncFnOnce()) {
    actix::System::new().block_on(test());
}

fn truncation(letter: &OutboundRecord) -> Option<Truncation> {
    let (name, value) = letter.headers.last()?;
    (name == Names::TRUNCATED).then(|| serde_json::from_slice(value.as_deref().unwrap()).unwrap())
}

fn headers(count: usize, bytes: usize) -> Vec<(String, Option<Bytes>)> {
    (0..count).map(|at| (format!("h{at}"), Some(Bytes::from(vec![b'v'; bytes])))).collect()
}

#[test]
fn a_record_that_fits_is_set_aside_untouched_even_if_it_carries_our_mark_of_truncation() {
    run(async || {
        let bench = Bench::new();
        bench.sink.limit("dead-letters", 700_000, 700_000);
        let mut record = inbound(Some(b"k"), Some(&vec![b'x'; 600_000]));
        record.headers = vec![(Names::TRUNCATED.into(), Some(Bytes::from_static(b"{}"))), ("n".into(), None)];
        let letter = bench.set_aside(record.clone()).await.unwrap();
        assert_eq!((&letter.key, &letter.value), (&record.key, &record.value));
        assert_eq!((&letter.headers[..2], truncation(&letter)), (&record.headers[..], None));
        assert_eq!(bench.telemetry.total(Metric::DeadLettersTruncated), 0.0);
        assert_eq!(bench.sink.asked.load(Ordering::Relaxed), 0, "nothing is left out, so nothing is asked");
    });
}

#[test]
fn of_a_record_that_does_not_fit_the_letter_holds_the_first_bytes_its_length_and_its_hash() {
    run(async || {
        let bench = Bench::new();
        bench.sink.limit("dead-letters", 100_000, 100_000);
        let value: Vec<u8> = (0..600_000u32).map(|at| (at % 251) as u8).collect();
        let mut record = inbound(Some(b"some-key"), Some(&value));
        record.headers = headers(3, 10);
        let letter = bench.set_aside(record.clone()).await.unwrap();
        assert!((95_000..=100_000).contains(&letter.size()), "as many as fit: {}", letter.size());
        assert_eq!(
            (&letter.key, &letter.headers[..3]),
            (&record.key, &record.headers[..]),
            "the small parts are whole"
        );
        let kept = letter.value.as_ref().unwrap();
        assert_eq!(kept[..], value[..kept.len()]);
        let missing = truncation(&letter).unwrap();
        assert_eq!((missing.value, missing.headers_left_out), (Some(Whole::of(&value)), 0));
        assert_eq!(missing.key, Some(Whole::of(b"some-key")));
        assert_eq!(bench.telemetry.total(Metric::DeadLettersTruncated), 1.0);
        assert_eq!(bench.sink.asked.load(Ordering::Relaxed), 1, "the topic may take more by now");
    });
}

#[test]
fn headers_and_keys_of_any_size_leave_room_for_each_other() {
    run(async || {
        let bench = Bench::new();
        bench.sink.limit("dead-letters", 100_000, 100_000);
        let (large_key, large_value) = (vec![b'k'; 1_000_000], vec![b'x'; 1_000_000]);
        for (key, value, headers) in [
            (Some(&large_key[..]), None, Vec::new()),
            (Some(&large_key[..]), Some(&large_value[..]), headers(1, 1_000_000)),
            (None, Some(&b"{}"[..]), headers(1, 600_000)),
            (None, None, headers(40_000, 8)),
            (Some(&b""[..]), Some(&b""[..]), headers(200_000, 0)),
        ] {
            let mut record = inbound(key, value);
            record.headers = headers;
            let letter = bench.set_aside(record.clone()).await.unwrap();
            let missing = truncation(&letter).unwrap();
            assert!(letter.size() <= 100_000, "{}", letter.size());
            assert_eq!((missing.key, missing.value), (key.map(Whole::of), value.map(Whole::of)));
            assert_eq!(
                (letter.key.is_some(), letter.value.is_some()),
                (key.is_some(), value.is_some()),
                "null stays null"
            );
            let kept = letter.headers.iter().filter(|(name, _)| name.starts_with('h')).count() as u64;
            assert_eq!(kept + missing.headers_left_out, record.headers.len() as u64);
            assert!(key.is_none_or(|key| letter.key.as_ref().unwrap().len() >= key.len().min(10_000)));
        }
    });
}

#[test]
fn a_topic_that_takes_less_than_it_said_gets_ever_less_until_it_takes_the_letter() {
    run(async || {
        let bench = Bench::new();
        for takes in [400_000, 30_000, 1_500] {
            bench.sink.limit("dead-letters", takes, 1_000_000);
            let letter = bench.set_aside(inbound(Some(b"k"), Some(&vec![b'x'; 900_000]))).await.unwrap();
            assert!(letter.size() <= takes, "{} and {takes}", letter.size());
            assert_eq!(truncation(&letter).unwrap().value.unwrap().bytes, 900_000);
        }
        assert_eq!(bench.telemetry.total(Metric::DeadLetters), 3.0);
        assert_eq!(bench.telemetry.total(Metric::DeadLettersRefused), 0.0);
    });
}

#[test]
fn a_topic_that_takes_nothing_is_a_failure_that_names_it_and_the_record_until_it_takes_something() {
    run(async || {
        let bench = Bench::new();
        bench.sink.limit("dead-letters", 100, 1_000_000);
        let error = bench.set_aside(inbound(Some(b"k"), Some(b"x"))).await.unwrap_err();
        assert_eq!((error.class, error.code), (ErrorClass::Fatal, "dead_letter_refused"), "never lost, never skipped");
        for part in ["`dead-letters`", "posts:2:77", "max.message.bytes"] {
            assert!(error.message.contains(part), "{part}: {}", error.message);
        }
        assert_eq!(bench.way_out.refusal().unwrap(), error.message);
        assert_eq!(bench.telemetry.total(Metric::DeadLettersRefused), 1.0);
        assert_eq!(bench.telemetry.total(Metric::DeadLetters), 0.0, "only what was acknowledged");

        bench.sink.limit("dead-letters", 1_000_000, 1_000_000);
        bench.set_aside(inbound(Some(b"k"), Some(b"x"))).await.unwrap();
        assert_eq!(bench.way_out.refusal(), None);
    });
}

#[test]
fn what_was_cut_when_it_was_read_keeps_the_length_and_hash_of_all_of_it() {
    run(async || {
        let bench = Bench::new();
        let all = vec![b'x'; 5_000_000];
        let mut record = inbound(Some(b"k"), Some(&all[..1_000]));
        let cut =
            Truncation { value: Some(Whole::of(&all)), headers_left_out: 7, header_bytes_left_out: 70, key: None };
        record.cut = Some(Box::new(cut));
        let letter = bench.set_aside(record).await.unwrap();
        let missing = truncation(&letter).unwrap();
        assert_eq!((missing.value, missing.headers_left_out), (Some(Whole::of(&all)), 7));
        assert_eq!(letter.value.unwrap().len(), 1_000);
    });
}

#[test]
fn a_label_that_its_topic_refuses_for_its_size_is_refused_for_good_and_one_in_too_large_a_batch_is_not() {
    run(async || {
        let bench = Bench::new();
        bench.sink.limit("sentiment", 100, 100);
        let error = bench.publisher.publish(request("p1", 0, 1)).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Permanent(DeadLetterReason::PublishRejected));
        assert!(error.message.contains("`sentiment`"), "{}", error.message);
        assert_eq!(bench.telemetry.total(Metric::PublishRetries), 0.0);

        // It should fit, and is refused all the same: tried again, for the batch may be the cause, and no more than that.
        bench.sink.limit("sentiment", 100, 1_000_000);
        let error = bench.publisher.publish(request("p2", 0, 2)).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Permanent(DeadLetterReason::PublishRejected), "the end of the loop");
        assert_eq!(bench.telemetry.value(&Metric::publish_retries(Sink::Sentiment)), 3.0);
    });
}

#[test]
fn a_refusal_for_another_reason_is_not_answered_with_smaller_letters() {
    run(async || {
        let bench = Bench::new();
        bench.sink.fail("dead-letters", 1, Fault::RecordRefused);
        let error = bench.set_aside(inbound(None, Some(b"x"))).await.unwrap_err();
        assert_eq!(error.code, "dead_letter_refused");
        assert!(bench.sink.of("dead-letters").is_empty());
    });
}
