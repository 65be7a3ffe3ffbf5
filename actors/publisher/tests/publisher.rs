//! Every branch of the publisher through its actor's address, as the router calls it.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::executor::block_on;
use jtav_kafka::Fault;
use jtav_pipeline::{
    DeadLetterRequest, EraseRequest, ErrorClass, PublishOutcome, PublishRequest, Publisher, SourcePosition, Stage,
    StageError,
};
use jtav_publisher::{PublisherParams, PublisherStage, Reach};
use jtav_schemas::{
    AbsentReason, DeadLetterReason, EmbeddingV1, ErasureV1, Label, ModalityStatus, PerModality, SentimentV1, Vector,
};
use jtav_store::{Store as _, StoreError};
use jtav_telemetry::{Metric, Sink, Telemetry, WriteResult};
use support::{FaultyStore, MODEL, RecordingSink, SilentSink, inbound, params, request, started, telemetry};

/// A publisher with its fakes.
struct Bench {
    publisher: Arc<dyn Publisher>,
    store: Arc<FaultyStore>,
    sink: Arc<RecordingSink>,
    telemetry: &'static Telemetry,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut PublisherParams)) -> Self {
        let (store, sink, telemetry) = (Arc::new(FaultyStore::default()), Arc::<RecordingSink>::default(), telemetry());
        let mut params = params(store.clone(), sink.clone());
        change(&mut params);
        let publisher = started(PublisherStage::with_telemetry(params, telemetry));
        Bench { publisher, store, sink, telemetry }
    }

    async fn publish(&self, request: PublishRequest) -> Result<PublishOutcome, StageError> {
        self.publisher.publish(request).await
    }

    async fn erase(&self, post_id: &str) -> Result<ErasureV1, StageError> {
        let source = SourcePosition { partition: 2, offset: 500 };
        self.publisher.erase(EraseRequest { post_id: post_id.into(), revision: 9, source }).await
    }

    fn count(&self, sink: Sink, result: WriteResult) -> f64 {
        self.telemetry.value(&Metric::publish_records(sink, result))
    }
}

/// Runs a test in an actix system, where the actor lives.
fn run(test: impl AsyncFnOnce()) {
    actix::System::new().block_on(test());
}

fn away() -> StoreError {
    StoreError::Unavailable { code: "connection", message: "refused".into() }
}

fn header<'a>(record: &'a jtav_kafka::OutboundRecord, name: &str) -> Option<&'a [u8]> {
    record.headers.iter().rev().find(|(other, _)| other == name)?.1.as_deref()
}

#[test]
fn a_post_is_stored_then_produced_on_both_topics_under_its_id() {
    run(async || {
        let bench = Bench::new();
        let request = request("p1", 3, 40);
        assert_eq!(bench.publish(request.clone()).await.unwrap(), PublishOutcome::Published);

        let stored = bench.store.inner.read("p1", MODEL).await.unwrap().unwrap();
        assert_eq!((stored.revision, stored.source.partition, stored.source.offset), (3, 2, 40));
        assert_eq!(stored.embedding().unwrap(), request.embedding.fused.unpack().unwrap());
        assert!(stored.modalities.text.is_some() && stored.modalities.image.is_none());

        let (sentiment, embeddings) = (bench.sink.of("sentiment"), bench.sink.of("embeddings"));
        assert_eq!((sentiment.len(), embeddings.len(), bench.sink.all().len()), (1, 1, 2));
        assert_eq!(sentiment[0].value.as_ref(), Some(&stored.sentiment_json), "store and topic say the same");
        let label: SentimentV1 = serde_json::from_slice(sentiment[0].value.as_ref().unwrap()).unwrap();
        let vectors: EmbeddingV1 = serde_json::from_slice(embeddings[0].value.as_ref().unwrap()).unwrap();
        assert_eq!((&label, &vectors), (request.sentiment.as_ref(), request.embedding.as_ref()));
        for record in bench.sink.all() {
            assert_eq!(record.key.as_deref(), Some(b"p1".as_slice()));
            assert_eq!(header(&record, "jtav-event-id"), Some(label.event_id.as_bytes()));
            assert_eq!(header(&record, "jtav-model-version"), Some(MODEL.as_bytes()));
        }
        assert_eq!(
            (
                bench.count(Sink::Redis, WriteResult::Ok),
                bench.count(Sink::Sentiment, WriteResult::Ok),
                bench.count(Sink::Embeddings, WriteResult::Ok)
            ),
            (1.0, 1.0, 1.0)
        );
        assert_eq!(bench.telemetry.total(Metric::PublishRetries), 0.0);
    });
}

#[test]
fn a_redelivery_produces_again_what_the_store_holds() {
    run(async || {
        let bench = Bench::new();
        let first = request("p1", 3, 40);
        bench.publish(first.clone()).await.unwrap();
        // The second time the audio could not be had, so label, vectors and times differ.
        let mut again = request("p1", 3, 40);
        let sentiment = Arc::make_mut(&mut again.sentiment);
        sentiment.probabilities = jtav_schemas::Probabilities { negative: 0.8, neutral: 0.0, positive: 0.2 };
        (sentiment.label, sentiment.probability, sentiment.valence) = (Label::Negative, 0.2, -0.6);
        (sentiment.confidence, sentiment.labelled_at_ms) = (0.8, 99);
        sentiment.modalities.audio = ModalityStatus::Absent(AbsentReason::Timeout);
        sentiment.moods.clear();
        let embedding = Arc::make_mut(&mut again.embedding);
        (embedding.fused, embedding.modalities.audio) = (Vector::pack(&[9.0, 9.0, 9.0]).unwrap(), None);
        embedding.labelled_at_ms = 99;
        assert_eq!(bench.publish(again).await.unwrap(), PublishOutcome::Published);

        let sentiment = bench.sink.of("sentiment");
        assert_eq!((sentiment.len(), &sentiment[0].value), (2, &sentiment[1].value));
        let repeated: EmbeddingV1 =
            serde_json::from_slice(bench.sink.of("embeddings")[1].value.as_ref().unwrap()).unwrap();
        assert_eq!(repeated.fused.unpack(), first.embedding.fused.unpack());
        assert_eq!(
            repeated.modalities.audio.as_ref().unwrap().unpack(),
            first.embedding.modalities.audio.as_ref().unwrap().unpack()
        );
        assert!((repeated.fused.l2_norm - first.embedding.fused.l2_norm).abs() < 2e-3, "the length after rounding");
        assert_eq!(repeated.modalities.text, first.embedding.modalities.text, "equal bytes keep the exact length");
        assert_eq!(repeated.labelled_at_ms, 20);
    });
}

#[test]
fn a_stale_revision_is_never_produced_and_the_newest_has_the_last_word() {
    run(async || {
        let bench = Bench::new();
        bench.publish(request("p1", 5, 40)).await.unwrap();
        assert_eq!(bench.publish(request("p1", 4, 41)).await.unwrap(), PublishOutcome::Stale);
        assert_eq!(bench.count(Sink::Redis, WriteResult::Stale), 1.0);
        for topic in ["sentiment", "embeddings"] {
            let records = bench.sink.of(topic);
            assert_eq!((records.len(), &records[0].key), (2, &records[1].key), "{topic}");
            assert_eq!(header(&records[0], "jtav-event-id"), header(&records[1], "jtav-event-id"), "{topic}");
        }
        let sentiment = bench.sink.of("sentiment");
        assert_eq!(sentiment[0].value, sentiment[1].value);
    });
}

#[test]
fn a_worker_that_was_overtaken_by_an_edit_repeats_the_edit_behind_its_own_record() {
    run(async || {
        let bench = Bench::new();
        let store = bench.store.clone();
        // The new owner of the partition labels revision 2 after our write went through, and its records precede ours.
        let newer = jtav_store::LabelWrite {
            post_id: "p1".into(),
            revision: 2,
            source: jtav_store::Source { partition: 2, offset: 41 },
            model_version: MODEL.into(),
            event_id: jtav_schemas::event_id("p1", 2, MODEL),
            label: Label::Negative,
            certain: false,
            probabilities: jtav_schemas::Probabilities { negative: 0.6, neutral: 0.2, positive: 0.2 },
            valence: -0.4,
            probability: 0.25,
            lang: None,
            sentiment_json: Bytes::from_static(b"{\"revision\":2}"),
            u: Bytes::from_static(&[0, 60]),
            modalities: PerModality::default(),
            semantic: None,
            labelled_at_ms: 30,
            ttl: Duration::from_secs(60),
        };
        *bench.sink.on_send.lock().unwrap() = Some(Box::new(move |_| {
            block_on(store.inner.apply(&newer)).unwrap();
        }));
        assert_eq!(bench.publish(request("p1", 1, 40)).await.unwrap(), PublishOutcome::Stale);
        let last = bench.sink.of("sentiment").pop().unwrap();
        assert_eq!(last.value.as_deref(), Some(b"{\"revision\":2}".as_slice()));
        let vectors: EmbeddingV1 =
            serde_json::from_slice(bench.sink.of("embeddings").pop().unwrap().value.as_ref().unwrap()).unwrap();
        assert_eq!((vectors.revision, vectors.fused.unpack().unwrap()), (2, vec![1.0]));
    });
}

#[test]
fn a_record_whose_answer_was_lost_does_not_bring_back_a_post_that_is_erased_before_the_retry() {
    run(async || {
        let bench = Bench::new();
        // The broker takes the label of the first attempt later; its answer is a failure now.
        bench.sink.fail("sentiment", 4, Fault::Retryable);
        bench.publish(request("p1", 1, 40)).await.unwrap_err();
        bench.store.inner.erase("p1", 9, Duration::from_secs(60)).await.unwrap();
        assert_eq!(bench.publish(request("p1", 1, 40)).await.unwrap(), PublishOutcome::Erased);
        for topic in ["sentiment", "embeddings"] {
            assert_eq!(bench.sink.of(topic).pop().unwrap().value, None, "{topic}: behind whatever was on its way");
        }
    });
}

#[test]
fn a_label_for_the_store_alone_reaches_no_topic() {
    run(async || {
        let bench = Bench::with(|params| params.reach = Reach::Store);
        for (revision, offset, outcome) in [
            (1, 40, PublishOutcome::Published),
            (1, 40, PublishOutcome::Published),
            (0, 41, PublishOutcome::Stale),
            (2, 42, PublishOutcome::Published),
        ] {
            assert_eq!(bench.publish(request("p1", revision, offset)).await.unwrap(), outcome, "{revision}");
        }
        assert_eq!(bench.store.inner.read("p1", MODEL).await.unwrap().unwrap().revision, 2);
        bench.store.inner.erase("p1", 9, Duration::from_secs(60)).await.unwrap();
        assert_eq!(bench.publish(request("p1", 3, 43)).await.unwrap(), PublishOutcome::Erased);
        assert!(bench.sink.all().is_empty());
    });
}

#[test]
fn erasing_deletes_produces_null_values_and_a_receipt_and_is_final() {
    run(async || {
        let bench = Bench::new();
        bench.publish(request("p1", 5, 40)).await.unwrap();
        let receipt = bench.erase("p1").await.unwrap();
        assert_eq!((receipt.post_id.as_str(), receipt.revision, receipt.erased_keys), ("p1", 9, 1));
        for topic in ["sentiment", "embeddings"] {
            let last = bench.sink.of(topic).pop().unwrap();
            assert_eq!((last.key.as_deref(), last.value), (Some(b"p1".as_slice()), None), "{topic}");
        }
        let erasures = bench.sink.of("erasures");
        assert_eq!(erasures[0].key.as_deref(), Some(b"p1".as_slice()));
        assert_eq!(serde_json::from_slice::<ErasureV1>(erasures[0].value.as_ref().unwrap()).unwrap(), receipt);
        assert_eq!(bench.count(Sink::Erasures, WriteResult::Ok), 1.0);

        let produced = bench.sink.all().len();
        assert_eq!(bench.publish(request("p1", 100, 900)).await.unwrap(), PublishOutcome::Erased);
        assert!(bench.sink.all()[produced..].iter().all(|record| record.value.is_none()), "nothing but null values");
        assert_eq!(bench.erase("p1").await.unwrap().erased_keys, 0, "a redelivered tombstone");
    });
}

#[test]
fn an_erasure_that_overtakes_a_publication_has_the_last_word_on_the_topics() {
    run(async || {
        let bench = Bench::new();
        let store = bench.store.clone();
        // Another worker erases after our write went through, and its null values precede our records.
        *bench.sink.on_send.lock().unwrap() = Some(Box::new(move |record| {
            if record.value.is_some() {
                block_on(store.inner.erase("p1", 9, Duration::from_secs(60))).unwrap();
            }
        }));
        assert_eq!(bench.publish(request("p1", 1, 1)).await.unwrap(), PublishOutcome::Erased);
        for topic in ["sentiment", "embeddings"] {
            assert_eq!(bench.sink.of(topic).pop().unwrap().value, None, "{topic}");
        }
    });
}

#[test]
fn a_store_and_a_broker_that_come_back_are_waited_for() {
    run(async || {
        let bench = Bench::new();
        bench.store.fail(2, &away());
        bench.sink.fail("sentiment", 3, Fault::Retryable);
        assert_eq!(bench.publish(request("p1", 0, 1)).await.unwrap(), PublishOutcome::Published);
        assert_eq!((bench.sink.of("sentiment").len(), bench.sink.of("embeddings").len()), (1, 1));
        assert_eq!(bench.telemetry.value(&Metric::publish_retries(Sink::Redis)), 2.0);
        assert_eq!(bench.telemetry.value(&Metric::publish_retries(Sink::Sentiment)), 3.0);
        assert_eq!(bench.telemetry.value(&Metric::publish_retries(Sink::Embeddings)), 0.0);

        bench.store.fail(1, &StoreError::Timeout { timeout_ms: 5 });
        bench.sink.fail("embeddings", 1, Fault::Retryable);
        bench.sink.fail("erasures", 1, Fault::Retryable);
        assert_eq!(bench.erase("p1").await.unwrap().erased_keys, 1);
    });
}

#[test]
fn a_store_that_stays_away_ends_in_a_retryable_error_and_nothing_is_produced() {
    run(async || {
        let bench = Bench::new();
        bench.store.fail(4, &away());
        let error = bench.publish(request("p1", 0, 1)).await.unwrap_err();
        assert_eq!((error.class, error.code, error.stage), (ErrorClass::Retryable, "connection", Stage::Publisher));
        assert!(bench.sink.all().is_empty());
        assert_eq!(bench.count(Sink::Redis, WriteResult::Error), 1.0);
        // The next delivery of the same record goes through.
        assert_eq!(bench.publish(request("p1", 0, 1)).await.unwrap(), PublishOutcome::Published);
    });
}

#[test]
fn after_a_broker_outage_the_redelivered_post_is_produced_although_the_store_has_it() {
    run(async || {
        let bench = Bench::new();
        bench.sink.fail("embeddings", 4, Fault::Retryable);
        let error = bench.publish(request("p1", 0, 1)).await.unwrap_err();
        assert!(error.is_retryable());
        assert!(bench.store.inner.read("p1", MODEL).await.unwrap().is_some());
        assert_eq!(bench.publish(request("p1", 0, 1)).await.unwrap(), PublishOutcome::Published);
        assert_eq!(bench.sink.of("embeddings").len(), 1);
    });
}

#[test]
fn a_record_that_the_broker_refuses_is_a_fault_of_the_post_and_is_not_tried_again() {
    run(async || {
        let bench = Bench::new();
        bench.sink.fail("embeddings", 1, Fault::RecordRefused);
        let error = bench.publish(request("p1", 0, 1)).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Permanent(DeadLetterReason::PublishRejected));
        assert_eq!(bench.telemetry.total(Metric::PublishRetries), 0.0);
        assert_eq!(bench.count(Sink::Embeddings, WriteResult::Error), 1.0);
    });
}

#[test]
fn faults_that_would_meet_every_post_are_fatal_and_dead_letter_none() {
    run(async || {
        for fault in [Fault::NeedsOperator, Fault::ClientDead] {
            let bench = Bench::new();
            bench.sink.fail("sentiment", 1, fault);
            assert_eq!(bench.publish(request("p1", 0, 1)).await.unwrap_err().class, ErrorClass::Fatal, "{fault:?}");
        }
        let bench = Bench::new();
        bench.store.fail(1, &StoreError::Denied { code: "auth", message: "no".into() });
        assert_eq!(bench.publish(request("p1", 0, 1)).await.unwrap_err().class, ErrorClass::Fatal);
        bench.store.fail(1, &StoreError::ForeignKey("a list".into()));
        let error = bench.publish(request("p1", 0, 1)).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Permanent(DeadLetterReason::PublishRejected), "that post's key alone");
        assert!(bench.sink.all().is_empty());
    });
}

#[test]
fn a_broker_that_never_answers_is_given_up_at_the_deadline() {
    run(async || {
        let bench = Bench::with(|params| {
            params.sink = Arc::new(SilentSink);
            params.retry.deadline = Duration::from_millis(80);
        });
        let started = Instant::now();
        let error = bench.publish(request("p1", 0, 1)).await.unwrap_err();
        assert_eq!((error.class, error.code), (ErrorClass::Retryable, "deadline"));
        assert!((Duration::from_millis(80)..Duration::from_secs(5)).contains(&started.elapsed()));
    });
}

#[test]
fn what_no_reader_could_use_is_refused_before_anything_is_written() {
    type Change = fn(&mut SentimentV1, &mut EmbeddingV1);
    let changes: [(&str, Change); 26] = [
        ("probability NaN", |s, _| s.probability = f32::NAN),
        ("probability above 1", |s, _| s.probability = 1.01),
        ("confidence infinite", |s, _| s.confidence = f32::INFINITY),
        ("confidence of another label", |s, _| s.confidence = 0.2),
        ("neutral NaN", |s, _| s.probabilities.neutral = f32::NAN),
        ("probabilities above 1 together", |s, _| s.probabilities.neutral = 0.3),
        ("a label that is not the largest", |s, _| s.probabilities.negative = 0.6),
        ("valence below -1", |s, _| s.valence = -1.01),
        ("certain and in doubt", |s, _| s.uncertain_because = Some(jtav_schemas::UncertainBecause::LowProbability)),
        ("certain below the threshold", |s, _| s.threshold = 0.61),
        ("uncertain without a reason", |s, _| s.certain = false),
        ("a language by its name", |s, _| s.lang = Some("English".into())),
        ("semantic vector without a text", |s, e| {
            s.modalities.text = jtav_schemas::ModalityStatus::Absent(jtav_schemas::AbsentReason::Absent);
            e.modalities.text = None;
        }),
        ("semantic vector of zeros", |_, e| e.semantic.as_mut().unwrap().f16_le = vec![0; 6].into()),
        ("threshold below 0", |s, _| s.threshold = -0.1),
        ("mood NaN", |s, _| s.moods[0].probability = f32::NAN),
        ("moods above 1 together", |s, _| s.moods[1].probability = 0.9),
        ("four moods below 1 together", |s, _| s.moods[0].probability = 0.1),
        ("weight NaN", |s, _| {
            s.attention.words.push(jtav_schemas::WordWeight { word: "x".into(), position: 0, weight: f32::NAN });
        }),
        ("span without a time", |s, _| {
            let span = jtav_schemas::AudioSpan { start_seconds: f32::NAN, end_seconds: 1.0, weight: 0.5 };
            s.attention.audio_spans.push(span);
        }),
        ("contribution infinite", |s, _| {
            s.contributions = Some(jtav_schemas::Contributions { interaction: f32::INFINITY, ..Default::default() });
        }),
        ("vector of zeros", |_, e| e.fused.f16_le = vec![0; 6].into()),
        // 0x7e00 is NaN in half precision.
        ("vector with NaN", |_, e| e.fused.f16_le = vec![0, 0x7e, 0, 0x3c, 0, 0x3c].into()),
        ("vector shorter than declared", |_, e| e.modalities.text.as_mut().unwrap().dimensions = 4),
        ("half a component", |_, e| e.fused.f16_le = vec![0, 0x3c, 0].into()),
        ("present without a vector", |_, e| e.modalities.audio = None),
    ];
    run(async || {
        for (name, change) in changes {
            let bench = Bench::new();
            let mut bad = request("p1", 0, 1);
            change(Arc::make_mut(&mut bad.sentiment), Arc::make_mut(&mut bad.embedding));
            let error = bench.publish(bad).await.expect_err(name);
            assert_eq!(error.class, ErrorClass::Permanent(DeadLetterReason::NonFiniteOutput), "{name}: {error}");
            assert!(bench.sink.all().is_empty() && bench.store.inner.is_empty(), "{name}");
        }
        let bench = Bench::new();
        let mut mixed_up = request("p1", 0, 1);
        mixed_up.embedding = request("p2", 0, 1).embedding;
        assert_eq!(bench.publish(mixed_up).await.unwrap_err().class, ErrorClass::Fatal);
    });
}

fn set_aside(record: jtav_pipeline::InboundRecord) -> DeadLetterRequest {
    DeadLetterRequest {
        record: Arc::new(record),
        reason: DeadLetterReason::InvalidJson,
        stage: Stage::Ingest,
        message: "line 1".into(),
        attempts: 2,
        modalities: None,
    }
}

#[test]
fn a_dead_letter_carries_the_record_untouched_and_says_why() {
    run(async || {
        let bench = Bench::new();
        let mut record = inbound(Some(b"\xffkey"), Some(b"\x00not json \xfe"));
        record.headers = vec![
            ("trace".into(), Some(Bytes::from_static(b"\xff\x00\x80"))),
            ("trace".into(), None),
            // A stranger's header with our name does not speak for us.
            ("jtav-dl-reason".into(), Some(Bytes::from_static(b"forged"))),
            ("jtav-dl-replay-count".into(), Some(Bytes::from_static(b"2"))),
        ];
        let mut request = set_aside(record.clone());
        request.modalities = Some(PerModality {
            text: ModalityStatus::Absent(AbsentReason::Absent),
            audio: ModalityStatus::Absent(AbsentReason::Timeout),
            image: ModalityStatus::Absent(AbsentReason::NotFound),
        });
        request.message = "ü".repeat(5_000);
        bench.publisher.dead_letter(request).await.unwrap();

        let dead = bench.sink.of("dead-letters").pop().unwrap();
        assert_eq!((&dead.key, &dead.value), (&record.key, &record.value));
        assert_eq!(dead.headers[..4], record.headers);
        for (name, value) in [
            ("reason", "invalid_json"),
            ("stage", "ingest"),
            ("source-topic", "posts"),
            ("source-partition", "2"),
            ("source-offset", "77"),
            ("source-timestamp-ms", "1700000000000"),
            ("attempts", "2"),
            ("replay-count", "2"),
            ("model-version", MODEL),
            ("pipeline-version", "0.1.0"),
            ("modalities", r#"{"text":"absent","audio":"timeout","image":"not_found"}"#),
        ] {
            assert_eq!(header(&dead, &format!("jtav-dl-{name}")), Some(value.as_bytes()), "{name}");
        }
        assert_eq!(header(&dead, "jtav-dl-message").unwrap().len(), 2_000, "1,000 characters of two bytes");
        let failed_at: i64 =
            std::str::from_utf8(header(&dead, "jtav-dl-failed-at-ms").unwrap()).unwrap().parse().unwrap();
        assert!((jtav_pipeline::now_ms() - failed_at).abs() < 60_000);
        assert_eq!(bench.telemetry.value(&Metric::dead_letters(Stage::Ingest, DeadLetterReason::InvalidJson)), 1.0);
    });
}

#[test]
fn a_record_without_key_or_value_can_be_set_aside() {
    run(async || {
        let bench = Bench::new();
        let mut record = inbound(None, None);
        record.source.timestamp_ms = None;
        record.headers = vec![("jtav-dl-replay-count".into(), Some(Bytes::from_static(b"\xff")))];
        bench.publisher.dead_letter(set_aside(record)).await.unwrap();
        let dead = bench.sink.of("dead-letters").pop().unwrap();
        assert_eq!((dead.key.as_ref(), dead.value.as_ref()), (None, None));
        assert_eq!(header(&dead, "jtav-dl-source-timestamp-ms"), None);
        assert_eq!(header(&dead, "jtav-dl-replay-count"), Some(b"0".as_slice()), "what is no number counts as never");
    });
}

#[test]
fn a_dead_letter_topic_that_is_away_is_waited_for_and_one_that_refuses_stops_intake() {
    run(async || {
        let bench = Bench::new();
        bench.sink.fail("dead-letters", 2, Fault::Retryable);
        bench.publisher.dead_letter(set_aside(inbound(None, Some(b"x")))).await.unwrap();
        assert_eq!(bench.telemetry.value(&Metric::publish_retries(Sink::DeadLetters)), 2.0);

        bench.sink.fail("dead-letters", 4, Fault::Retryable);
        assert!(bench.publisher.dead_letter(set_aside(inbound(None, Some(b"x")))).await.unwrap_err().is_retryable());
        bench.sink.fail("dead-letters", 1, Fault::RecordRefused);
        let error = bench.publisher.dead_letter(set_aside(inbound(None, Some(b"x")))).await.unwrap_err();
        assert_eq!((error.class, error.code), (ErrorClass::Fatal, "dead_letter_refused"), "never lost, never skipped");
        assert_eq!(bench.telemetry.total(Metric::DeadLetters), 1.0, "only what was acknowledged");
    });
}

#[test]
fn posts_are_published_side_by_side() {
    run(async || {
        let bench = Bench::new();
        let posts = (0..200).map(|at| bench.publish(request(&format!("p{at}"), 0, at)));
        let outcomes = futures::future::join_all(posts).await;
        assert!(outcomes.into_iter().all(|outcome| outcome.unwrap() == PublishOutcome::Published));
        assert_eq!(bench.sink.all().len(), 400);
    });
}

#[test]
fn the_kafka_producer_is_a_sink_and_delivers_what_the_fakes_record() {
    run(async || {
        let cluster = jtav_kafka::InProcessCluster::create(1).unwrap();
        for topic in ["sentiment", "embeddings", "dead-letters", "erasures"] {
            cluster.create_topic(topic, 2).unwrap();
        }
        let client = cluster.client("publisher-test");
        let producer = jtav_kafka::Producer::new(&client, &jtav_kafka::ProducerSettings::default()).unwrap();
        let bench = Bench::with(|params| params.sink = Arc::new(producer));
        let sent = request("p1", 3, 40);
        bench.publish(sent.clone()).await.unwrap();
        bench.erase("p2").await.unwrap();
        let mut dead = inbound(None, None);
        dead.headers = vec![("h".into(), Some(Bytes::from_static(b"\xff"))), ("n".into(), None)];
        bench.publisher.dead_letter(set_aside(dead.clone())).await.unwrap();

        let read = |topic: &str| jtav_kafka::read_all(&client, topic, Duration::from_secs(20)).unwrap();
        let sentiment = read("sentiment");
        let label = sentiment.iter().find(|record| record.key.as_deref() == Some(b"p1")).unwrap();
        assert_eq!(
            &serde_json::from_slice::<SentimentV1>(label.value.as_ref().unwrap()).unwrap(),
            sent.sentiment.as_ref()
        );
        assert!(sentiment.iter().any(|record| record.key.as_deref() == Some(b"p2") && record.value.is_none()));
        assert_eq!((read("embeddings").len(), read("erasures").len()), (2, 1));
        let set_aside = read("dead-letters").pop().unwrap();
        assert_eq!((set_aside.key, set_aside.value), (None, None));
        assert_eq!(set_aside.headers[..2], dead.headers);
    });
}
