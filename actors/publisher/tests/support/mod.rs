//! Fakes: a store that fails on demand, a sink that records.

// Each test file uses its part of it.
#![allow(dead_code)]

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use jtav_kafka::{Fault, KafkaError, OutboundRecord};
use jtav_pipeline::{Ends, InboundRecord, PublishRequest, Publisher, RetryPolicy, SourcePosition, StageActor};
use jtav_publisher::{OutputTopics, PublisherParams, PublisherStage, Reach, RecordSink};
use jtav_schemas::{
    AbsentReason, AttentionSummary, DeliveredFrom, EmbeddingV1, Label, ModalityStatus, MoodTag, PerModality,
    Probabilities, SentimentV1, Vector, event_id,
};
use jtav_store::{Applied, EmbeddedStore, Found, LabelWrite, Standing, Store, StoreError, StoredLabel};
use jtav_telemetry::Telemetry;

pub const MODEL: &str = "jtav-modern@1";

/// The embedded store, failing as often as it was told to before it answers.
#[derive(Default)]
pub struct FaultyStore {
    pub inner: EmbeddedStore,
    faults: Mutex<VecDeque<StoreError>>,
}

impl FaultyStore {
    pub fn fail(&self, times: usize, error: &StoreError) {
        self.faults.lock().unwrap().extend(std::iter::repeat_n(error.clone(), times));
    }

    fn or_fault<T: Send + 'static>(
        &self,
        answer: impl FnOnce() -> BoxFuture<'static, Result<T, StoreError>>,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        match self.faults.lock().unwrap().pop_front() {
            Some(error) => ready(Err(error)).boxed(),
            None => answer(),
        }
    }
}

impl Store for FaultyStore {
    fn apply(&self, write: &LabelWrite) -> BoxFuture<'static, Result<Applied, StoreError>> {
        self.or_fault(|| self.inner.apply(write))
    }
    fn erase(&self, post_id: &str, revision: u64, ttl: Duration) -> BoxFuture<'static, Result<u32, StoreError>> {
        self.or_fault(|| self.inner.erase(post_id, revision, ttl))
    }
    fn read(&self, post_id: &str, model: &str) -> BoxFuture<'static, Result<Option<StoredLabel>, StoreError>> {
        self.or_fault(|| self.inner.read(post_id, model))
    }
    fn standing(&self, post_id: &str, model: &str) -> BoxFuture<'static, Result<Standing, StoreError>> {
        self.or_fault(|| self.inner.standing(post_id, model))
    }
    fn look_up(
        &self,
        post_ids: &[String],
        model: Option<&str>,
    ) -> BoxFuture<'static, Result<Vec<Result<Found, StoreError>>, StoreError>> {
        self.or_fault(|| self.inner.look_up(post_ids, model))
    }
    fn is_erased(&self, post_id: &str) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.or_fault(|| self.inner.is_erased(post_id))
    }
    fn ping(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        self.or_fault(|| self.inner.ping())
    }
}

type Hook = Box<dyn Fn(&OutboundRecord) + Send + Sync>;

/// Keeps what was acknowledged, in order.
#[derive(Default)]
pub struct RecordingSink {
    records: Mutex<Vec<OutboundRecord>>,
    faults: Mutex<HashMap<String, VecDeque<KafkaError>>>,
    /// Bytes that each topic takes; those that are missing take all.
    takes: Mutex<HashMap<String, u64>>,
    /// Bytes that each topic says it takes.
    says: Mutex<HashMap<String, u64>>,
    /// Questions about what topics take.
    pub asked: AtomicUsize,
    pub on_send: Mutex<Option<Hook>>,
}

impl RecordingSink {
    pub fn fail(&self, topic: &str, times: usize, fault: Fault) {
        let error = KafkaError::Broker { operation: "produce", code: "X".into(), message: "no".into(), fault };
        let mut faults = self.faults.lock().unwrap();
        faults.entry(topic.to_owned()).or_default().extend(std::iter::repeat_n(error, times));
    }

    /// What a topic takes, and what the producer was told of it.
    pub fn limit(&self, topic: &str, takes: u64, says: u64) {
        self.takes.lock().unwrap().insert(topic.to_owned(), takes);
        self.says.lock().unwrap().insert(topic.to_owned(), says);
    }

    pub fn all(&self) -> Vec<OutboundRecord> {
        self.records.lock().unwrap().clone()
    }

    pub fn of(&self, topic: &str) -> Vec<OutboundRecord> {
        self.all().into_iter().filter(|record| record.topic == topic).collect()
    }
}

impl RecordSink for RecordingSink {
    fn send(&self, record: Arc<OutboundRecord>) -> BoxFuture<'static, Result<(), KafkaError>> {
        let record = Arc::unwrap_or_clone(record);
        let fault = self.faults.lock().unwrap().get_mut(&record.topic).and_then(VecDeque::pop_front);
        if let Some(error) = fault {
            return ready(Err(error)).boxed();
        }
        let takes = self.takes.lock().unwrap().get(&record.topic).copied().unwrap_or(u64::MAX);
        if record.size() > takes {
            return ready(Err(KafkaError::Broker {
                operation: "produce",
                code: "MessageSizeTooLarge".into(),
                message: format!("topic `{}`: too large", record.topic),
                fault: Fault::RecordRefused,
            }))
            .boxed();
        }
        if let Some(hook) = self.on_send.lock().unwrap().as_ref() {
            hook(&record);
        }
        self.records.lock().unwrap().push(record);
        ready(Ok(())).boxed()
    }

    fn max_record_bytes(&self, topic: &str) -> u64 {
        self.says.lock().unwrap().get(topic).copied().unwrap_or(u64::MAX)
    }

    fn ask_limits(&self, _: Vec<String>) -> BoxFuture<'static, Result<(), KafkaError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        ready(Ok(())).boxed()
    }
}

/// Acknowledges nothing.
pub struct SilentSink;

impl RecordSink for SilentSink {
    fn send(&self, _: Arc<OutboundRecord>) -> BoxFuture<'static, Result<(), KafkaError>> {
        futures::future::pending().boxed()
    }
}

pub fn topics() -> OutputTopics {
    OutputTopics {
        sentiment: "sentiment".into(),
        embeddings: "embeddings".into(),
        dead_letters: "dead-letters".into(),
        erasures: "erasures".into(),
    }
}

pub fn params(store: Arc<dyn Store>, sink: Arc<dyn RecordSink>) -> PublisherParams {
    PublisherParams {
        store,
        sink,
        topics: topics(),
        reach: Reach::Topics,
        retry: RetryPolicy {
            max_attempts: 4,
            base_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(4),
            deadline: Duration::from_secs(10),
        },
        label_ttl: Duration::from_secs(3_600),
        erased_ttl: Duration::from_secs(7_200),
        model_version: MODEL.into(),
        pipeline_version: "0.1.0".into(),
        way_out: Arc::default(),
    }
}

/// Behind its actor, as the router has it.
pub fn started(publisher: PublisherStage) -> Arc<dyn Publisher> {
    Arc::new(StageActor::<dyn Publisher>::start(Arc::new(publisher), &Ends::default()))
}

/// Metrics of one test alone.
pub fn telemetry() -> &'static Telemetry {
    Box::leak(Box::new(Telemetry::new().unwrap()))
}

pub fn inbound(key: Option<&[u8]>, value: Option<&[u8]>) -> InboundRecord {
    InboundRecord {
        source: DeliveredFrom {
            topic: "posts".into(),
            partition: 2,
            offset: 77,
            timestamp_ms: Some(1_700_000_000_000),
        },
        key: key.map(Bytes::copy_from_slice),
        value: value.map(Bytes::copy_from_slice),
        headers: Vec::new(),
        cut: None,
    }
}

/// A post with text and audio.
pub fn request(post_id: &str, revision: u64, offset: i64) -> PublishRequest {
    let event_id = event_id(post_id, revision, MODEL);
    let vector = |at: f32| Some(Vector::pack(&[at, -0.1, 0.3]).unwrap());
    PublishRequest {
        sentiment: Arc::new(SentimentV1 {
            event_id: event_id.clone(),
            post_id: post_id.into(),
            revision,
            label: Label::Positive,
            probabilities: Probabilities { negative: 0.2, neutral: 0.2, positive: 0.6 },
            valence: 0.4,
            probability: 0.75,
            confidence: 0.6,
            threshold: 0.5,
            certain: true,
            uncertain_because: None,
            lang: Some("en".into()),
            moods: vec![
                MoodTag { tag: "Q1".into(), probability: 0.7 },
                MoodTag { tag: "Q4".into(), probability: 0.2 },
                MoodTag { tag: "Q2".into(), probability: 0.06 },
                MoodTag { tag: "Q3".into(), probability: 0.04 },
            ],
            modalities: PerModality {
                text: ModalityStatus::Present,
                audio: ModalityStatus::Present,
                image: ModalityStatus::Absent(AbsentReason::NotFound),
            },
            truncated: Vec::new(),
            attention: AttentionSummary::default(),
            contributions: None,
            model_version: MODEL.into(),
            event_time_ms: Some(1_700_000_000_000),
            received_at_ms: 10,
            labelled_at_ms: 20,
        }),
        embedding: Arc::new(EmbeddingV1 {
            event_id,
            post_id: post_id.into(),
            revision,
            fused: Vector::pack(&[0.123_456, 1.0, -2.0]).unwrap(),
            modalities: PerModality { text: vector(1.0), audio: vector(2.0), image: None },
            semantic: vector(3.0),
            label: Label::Positive,
            certain: true,
            lang: Some("en".into()),
            model_version: MODEL.into(),
            event_time_ms: Some(1_700_000_000_000),
            labelled_at_ms: 20,
        }),
        source: SourcePosition { partition: 2, offset },
        record: Arc::new(inbound(Some(post_id.as_bytes()), Some(b"{}"))),
    }
}
