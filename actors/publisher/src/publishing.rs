use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use futures::TryFutureExt as _;
use jtav_kafka::{Fault, KafkaError, OutboundRecord};
use jtav_pipeline::{EraseRequest, FailPoint, PublishOutcome, PublishRequest, Stage, StageError, fail_point, now_ms};
use jtav_schemas::{
    DeadLetterReason, EmbeddingV1, ErasureV1, Modality, PerModality, RecordHeaders, Vector, VectorError, event_time_ms,
};
use jtav_store::{Applied, LabelWrite, Source, StoreError, StoredLabel};
use jtav_telemetry::{Metric, Sink, Telemetry, WriteResult};

use crate::params::{PublisherParams, Reach};
use crate::validate::{json, prepare};

/// A record that should fit was refused for the size of its batch.
const BATCH_TOO_LARGE: &str = "batch_too_large";

/// What the actor's messages do. Dropping a future at any point is safe: the post comes again, and every step
/// recognises what is done.
pub(crate) struct Publishing {
    pub(crate) params: PublisherParams,
    pub(crate) telemetry: &'static Telemetry,
}

impl Publishing {
    pub(crate) async fn publish(&self, request: PublishRequest) -> Result<PublishOutcome, StageError> {
        let started = Instant::now();
        let ready = prepare(&request, self.params.label_ttl)?;
        let post_id = ready.write.post_id.as_str();
        let store = &self.params.store;
        fail_point::hit(FailPoint::PublisherBeforeStore, post_id);
        let applied = self.persist(started, Sink::Redis, || store.apply(&ready.write).map_err(store_failure)).await?;
        let own = Some((ready.write.revision, ready.write.source));
        let mut records = Some((ready.write.sentiment_json.clone(), ready.embedding_json.clone()));
        match applied {
            Applied::Written => {}
            Applied::Stale | Applied::Erased => records = None,
            // The store alone is asked for no more than that it has the label.
            Applied::Same if self.params.reach == Reach::Store => {}
            Applied::Same => {
                // A redelivery is labelled anew and may differ (a download that fails this time, another clock). The
                // first label stands in the store, so it is what the topics must say too.
                let read = || store.read(post_id, &ready.write.model_version).map_err(store_failure);
                if let Some(stored) = Box::pin(self.persist(started, Sink::Redis, read)).await? {
                    let same = Some((stored.revision, stored.source)) == own;
                    records = if same { Some(stored_records(&stored, &request.embedding)?) } else { None };
                }
            }
        }
        if records.is_some() {
            self.count(Sink::Redis, WriteResult::Ok);
        }
        fail_point::hit(FailPoint::PublisherAfterStore, post_id);

        if self.params.reach == Reach::Store {
            return Ok(match applied {
                Applied::Written | Applied::Same => PublishOutcome::Published,
                Applied::Stale => self.not_ours(WriteResult::Stale, PublishOutcome::Stale),
                Applied::Erased => self.not_ours(WriteResult::Erased, PublishOutcome::Erased),
            });
        }
        let (said, sent) = match records {
            Some(records) => {
                let sent = self.produce(started, &ready.write, &ready.write.event_id, records).await;
                fail_point::hit(FailPoint::PublisherAfterProduce, post_id);
                (own, sent)
            }
            None => (None, Ok(())),
        };
        Box::pin(self.last_word(started, &ready.write, &request.embedding, said, sent)).await
    }

    /// Label and vectors to both topics, side by side.
    async fn produce(
        &self,
        started: Instant,
        write: &LabelWrite,
        event_id: &str,
        (sentiment, embedding): (Bytes, Bytes),
    ) -> Result<(), StageError> {
        let topics = &self.params.topics;
        let record = |topic: &str, value: Bytes| {
            OutboundRecord::keyed(topic, write.post_id.clone(), value)
                .header(RecordHeaders::EVENT_ID, event_id.to_owned())
                .header(RecordHeaders::MODEL_VERSION, write.model_version.clone())
        };
        let first = async {
            let sent = self.send(started, Sink::Sentiment, record(&topics.sentiment, sentiment)).await;
            fail_point::hit(FailPoint::PublisherMidProduce, &write.post_id);
            sent
        };
        let second = self.send(started, Sink::Embeddings, record(&topics.embeddings, embedding));
        let (first, second) = both(first, second).await;
        first.and(second)
    }

    /// Sees to it that the last records of the post are the right ones; `said` is the label that was produced.
    ///
    /// A worker that has lost the partition may still be here while its new owner labels an edit or erases, and its
    /// records then lie behind the newer ones: compaction would keep the old label, or bring an erased post back. Whoever
    /// looks into the store after its own records are acknowledged sees what is newer, or its records lie before it.
    /// After a failure too, and where this attempt has nothing to say: the broker may have taken the record of an earlier
    /// attempt, or take it later, though its answer is lost. Records of one producer keep their order, so what is sent
    /// here comes after.
    async fn last_word(
        &self,
        started: Instant,
        write: &LabelWrite,
        ours: &EmbeddingV1,
        mut said: Option<(u64, Source)>,
        mut sent: Result<(), StageError>,
    ) -> Result<PublishOutcome, StageError> {
        // What failed may have used up the time.
        let started = if sent.is_err() { Instant::now() } else { started };
        let (store, post_id, model_version) = (&self.params.store, &write.post_id, &write.model_version);
        loop {
            let look = || store.standing(post_id, model_version).map_err(store_failure);
            let standing = match self.persist(started, Sink::Redis, look).await {
                Ok(standing) => standing,
                Err(error) => return Err(sent.err().unwrap_or(error)),
            };
            if standing.erased {
                self.produce_null_values(started, post_id).await?;
                return Ok(self.not_ours(WriteResult::Erased, PublishOutcome::Erased));
            }
            if standing.newest <= said {
                sent?;
                return Ok(if said == Some((write.revision, write.source)) {
                    PublishOutcome::Published
                } else {
                    self.not_ours(WriteResult::Stale, PublishOutcome::Stale)
                });
            }
            let read = || store.read(post_id, model_version).map_err(store_failure);
            // Gone again: erased or lapsed since, which the next look tells.
            let Some(stored) = self.persist(started, Sink::Redis, read).await? else { continue };
            self.produce(started, write, &stored.event_id, stored_records(&stored, ours)?).await?;
            (said, sent) = (Some((stored.revision, stored.source)), Ok(()));
        }
    }

    pub(crate) async fn erase(&self, request: EraseRequest) -> Result<ErasureV1, StageError> {
        let started = Instant::now();
        let EraseRequest { post_id, revision, .. } = request;
        let erase = || {
            self.params.store.erase(&post_id, revision, self.params.erased_ttl).map_err(|error| {
                if error.code() == StoreError::TOO_FEW_REPLICAS {
                    self.telemetry.inc(&Metric::erasures_unreplicated());
                }
                store_failure(error)
            })
        };
        let erased_keys = self.persist(started, Sink::Redis, erase).await?;
        self.count(Sink::Redis, WriteResult::Ok);
        fail_point::hit(FailPoint::PublisherAfterErase, &post_id);

        let erasure = ErasureV1 { post_id: post_id.clone(), revision, erased_keys, erased_at_ms: now_ms() };
        let receipt = OutboundRecord::keyed(&self.params.topics.erasures, post_id.clone(), json(&erasure)?);
        let (nulls, receipt) =
            futures::join!(self.produce_null_values(started, &post_id), self.send(started, Sink::Erasures, receipt));
        nulls.and(receipt)?;
        Ok(erasure)
    }

    /// Tells readers of the output topics, and their compaction, that the post is gone.
    async fn produce_null_values(&self, started: Instant, post_id: &str) -> Result<(), StageError> {
        let topics = &self.params.topics;
        let (first, second) = futures::join!(
            self.send(started, Sink::Sentiment, OutboundRecord::tombstone(&topics.sentiment, post_id.to_owned())),
            self.send(started, Sink::Embeddings, OutboundRecord::tombstone(&topics.embeddings, post_id.to_owned())),
        );
        first.and(second)
    }

    async fn send(&self, started: Instant, sink: Sink, record: OutboundRecord) -> Result<(), StageError> {
        let may_fit = record.size() <= self.params.sink.max_record_bytes(&record.topic);
        let failure = |error: KafkaError| match error.is_too_large() {
            // The topic refuses a batch as a whole, and next time the record has other neighbours.
            true if may_fit => StageError::retryable(Stage::Publisher, BATCH_TOO_LARGE, error),
            _ => kafka_failure(error),
        };
        let record = Arc::new(record);
        let sent = self.persist(started, sink, || self.params.sink.send(Arc::clone(&record)).map_err(failure)).await;
        sent.map_err(|error| match error.code {
            // So often in so many batches: it is the record.
            BATCH_TOO_LARGE => {
                StageError::permanent(Stage::Publisher, DeadLetterReason::PublishRejected, error.message)
            }
            _ => error,
        })?;
        self.count(sink, WriteResult::Ok);
        Ok(())
    }

    /// Tries until it is done, the fault is not one that passes, or attempts or time run out.
    pub(crate) async fn persist<T, F>(
        &self,
        started: Instant,
        sink: Sink,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, StageError>
    where
        F: Future<Output = Result<T, StageError>>,
    {
        let policy = &self.params.retry;
        let mut failed = 0;
        loop {
            let left = policy.deadline.saturating_sub(started.elapsed());
            let error = match tokio::time::timeout(left, attempt()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(error)) => error,
                Err(_) => {
                    let message = format!("{}: not done within {} ms", sink.as_str(), policy.deadline.as_millis());
                    StageError::retryable(Stage::Publisher, "deadline", message)
                }
            };
            failed += 1;
            let pause =
                if error.is_retryable() { policy.pause(failed, started.elapsed(), rand::random()) } else { None };
            let Some(pause) = pause else {
                self.count(sink, WriteResult::Error);
                tracing::debug!(sink = sink.as_str(), attempts = failed, %error, "write given up");
                return Err(error);
            };
            self.telemetry.inc(&Metric::publish_retries(sink));
            tokio::time::sleep(pause).await;
        }
    }

    fn count(&self, sink: Sink, result: WriteResult) {
        self.telemetry.inc(&Metric::publish_records(sink, result));
    }

    fn not_ours(&self, result: WriteResult, outcome: PublishOutcome) -> PublishOutcome {
        self.count(Sink::Redis, result);
        outcome
    }
}

/// Both records as the store holds them. Lengths are taken from our own vectors where the bytes agree, because the
/// store keeps the numbers only after rounding.
fn stored_records(stored: &StoredLabel, ours: &EmbeddingV1) -> Result<(Bytes, Bytes), StageError> {
    let vector = |bytes: &Bytes, ours: Option<&Vector>| match ours {
        Some(ours) if ours.packed().is_ok_and(|own| own == bytes) => Ok(ours.clone()),
        _ => Vector::from_f16_le(bytes),
    };
    let embedding = || -> Result<EmbeddingV1, VectorError> {
        let mut modalities = PerModality::default();
        for modality in Modality::ALL {
            let bytes = stored.modalities.get(modality).as_ref();
            *modalities.get_mut(modality) =
                bytes.map(|bytes| vector(bytes, ours.modalities.get(modality).as_ref())).transpose()?;
        }
        let semantic = stored.semantic.as_ref();
        Ok(EmbeddingV1 {
            event_id: stored.event_id.clone(),
            post_id: ours.post_id.clone(),
            revision: stored.revision,
            fused: vector(&stored.u, Some(&ours.fused))?,
            modalities,
            semantic: semantic.map(|bytes| vector(bytes, ours.semantic.as_ref())).transpose()?,
            label: stored.label,
            certain: stored.certain,
            lang: stored.lang.clone(),
            model_version: ours.model_version.clone(),
            event_time_ms: event_time_ms(&stored.sentiment_json),
            labelled_at_ms: stored.labelled_at_ms,
        })
    };
    let embedding =
        embedding().map_err(|error| store_failure(StoreError::ForeignKey(format!("stored vectors: {error}"))))?;
    Ok((stored.sentiment_json.clone(), json(&embedding)?))
}

/// Both side by side, where the second alone is nothing to wake for: what it came to is looked at when the first is done. (A post's
/// future has grown cold when an acknowledgement comes; two of them would fetch it twice.)
async fn both<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> (A, B) {
    tokio::pin!(second);
    // Begun second, as it comes second on the wire.
    let mut first = std::pin::pin!(first);
    match futures::poll!(&mut first) {
        Poll::Ready(first) => (first, second.await),
        Poll::Pending => {
            let begun = second.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let first = first.await;
            match begun {
                Poll::Ready(second) => (first, second),
                Poll::Pending => (first, second.await),
            }
        }
    }
}

fn store_failure(error: StoreError) -> StageError {
    match error {
        error if error.is_retryable() => StageError::retryable(Stage::Publisher, error.code(), error),
        StoreError::ForeignKey(_) => StageError::permanent(Stage::Publisher, DeadLetterReason::PublishRejected, error),
        error => StageError::fatal(Stage::Publisher, error.code(), error),
    }
}

pub(crate) fn kafka_failure(error: KafkaError) -> StageError {
    match error.fault() {
        Fault::Retryable => StageError::retryable(Stage::Publisher, "kafka_unavailable", error),
        Fault::RecordRefused => StageError::permanent(Stage::Publisher, DeadLetterReason::PublishRejected, error),
        Fault::NeedsOperator => StageError::fatal(Stage::Publisher, "kafka_refuses", error),
        Fault::ClientDead => StageError::fatal(Stage::Publisher, "kafka_client_dead", error),
    }
}
