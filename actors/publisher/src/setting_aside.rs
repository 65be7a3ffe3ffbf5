//! A record that cannot be processed goes to the dead-letter topic, whatever is in it and however large it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::TryFutureExt as _;
use jtav_kafka::OutboundRecord;
use jtav_pipeline::{DeadLetterRequest, ErrorClass, FailPoint, Stage, StageError, fail_point, now_ms};
use jtav_schemas::DeadLetterHeaders;
use jtav_telemetry::{Metric, Sink};

use crate::dead_letter::{LetterParams, dead_letter_record};
use crate::params::PublisherParams;
use crate::publishing::{Publishing, kafka_failure};

/// Room for a letter below which only our own headers are sent: it would hold next to nothing of the record.
const LEAST_ROOM_BYTES: u64 = 1_024;

impl Publishing {
    /// Puts the record on the dead-letter topic, cut down as far as the topic demands. Fails only where the topic takes
    /// not even a letter without any of the record in it, or is away.
    pub(crate) async fn dead_letter(&self, request: DeadLetterRequest) -> Result<(), StageError> {
        let (sink, topic) = (&self.params.sink, self.params.topics.dead_letters.as_str());
        let failed_at_ms = now_ms();
        let mut room = sink.max_record_bytes(topic);
        let mut letter = Arc::new(self.letter(&request, failed_at_ms, room));
        if is_truncated(&letter) {
            // Before anything is left out: the topic may take more by now than when it was last asked.
            self.ask_limits(topic).await;
            room = sink.max_record_bytes(topic);
            letter = Arc::new(self.letter(&request, failed_at_ms, room));
        }
        loop {
            let too_large = AtomicBool::new(false);
            let send = || {
                let sent = sink.send_alone(Arc::clone(&letter));
                sent.inspect_err(|error| too_large.store(error.is_too_large(), Ordering::Relaxed))
                    .map_err(kafka_failure)
            };
            let error = match self.persist(Instant::now(), Sink::DeadLetters, send).await {
                Ok(()) => {
                    self.is_set_aside(&request, is_truncated(&letter));
                    return Ok(());
                }
                Err(error) => error,
            };
            if room == 0 || !too_large.into_inner() {
                return Err(self.refused(&request, &letter, error));
            }
            // The topic takes less than it said, or it said nothing.
            room = room.min(letter.size()) / 2;
            if room < LEAST_ROOM_BYTES {
                room = 0;
            }
            letter = Arc::new(self.letter(&request, failed_at_ms, room));
        }
    }

    fn letter(&self, request: &DeadLetterRequest, failed_at_ms: i64, max_bytes: u64) -> OutboundRecord {
        let PublisherParams { topics, model_version, pipeline_version, .. } = &self.params;
        let params = LetterParams { topic: &topics.dead_letters, max_bytes, model_version, pipeline_version };
        dead_letter_record(request, failed_at_ms, params)
    }

    async fn ask_limits(&self, topic: &str) {
        if let Err(error) = self.params.sink.ask_limits(vec![topic.to_owned()]).await {
            tracing::debug!(topic, %error, "what the topic takes is not known");
        }
    }

    fn is_set_aside(&self, request: &DeadLetterRequest, is_truncated: bool) {
        fail_point::hit(FailPoint::PublisherAfterDeadLetter, "");
        self.telemetry.inc(&Metric::dead_letters(request.stage, request.reason));
        if is_truncated {
            self.telemetry.inc(&Metric::dead_letters_truncated());
        }
        self.params.way_out.set(None);
    }

    /// There is no further place to put it. Letting the offset pass would lose the post, so a person must act.
    fn refused(&self, request: &DeadLetterRequest, letter: &OutboundRecord, error: StageError) -> StageError {
        let ErrorClass::Permanent(_) = error.class else { return error };
        let (topic, source) = (self.params.topics.dead_letters.as_str(), &request.record.source);
        let what = format!(
            "topic `{topic}` refuses the dead letter of {}:{}:{}, {} bytes with next to nothing of the record in it ({}); \
             give the topic a max.message.bytes of 1 MB and no compaction",
            source.topic,
            source.partition,
            source.offset,
            letter.size(),
            error.message
        );
        tracing::error!(
            topic = source.topic, partition = source.partition, offset = source.offset, reason = %request.reason,
            "{what}"
        );
        self.telemetry.inc(&Metric::dead_letters_refused());
        self.params.way_out.set(Some(what.clone()));
        StageError::fatal(Stage::Publisher, "dead_letter_refused", what)
    }
}

/// Ours stands last; a stranger may have written one of that name.
fn is_truncated(letter: &OutboundRecord) -> bool {
    letter.headers.last().is_some_and(|(name, _)| name == DeadLetterHeaders::TRUNCATED)
}
