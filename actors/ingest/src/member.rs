//! A member of the consumer group: its consumer, and what it has committed, what it owns and what holds its gate shut.
//!
//! The three owners ([`Commits`], [`Owned`], [`Gate`]) decide and know neither consumer nor clock. The files below this one
//! ask them and carry out what they say: let in, commit, release, count, log. Each stands on those before it: [`report`],
//! [`export`], [`committing`], [`rewind`], [`rebalance`], [`admission`], [`turn`].

pub(crate) mod admission;
mod committing;
mod export;
mod rebalance;
mod report;
mod rewind;
pub(crate) mod turn;

use std::sync::Arc;
use std::time::Instant;

use jtav_delivery::SettlementSink;
use jtav_kafka::{Fault, KafkaError};
use jtav_pipeline::RouterIntake;
use jtav_telemetry::Conservation;

use crate::commits::Commits;
use crate::consumer::Consumer;
use crate::gate::{Failure, Gate};
use crate::note::Owner;
use crate::owned::Owned;
use crate::params::{IngestParams, IngestSettings, StageWatch};
use crate::status::IngestStatus;

/// Tells the time. Calls of the consumer may block, so one reading does not do for a whole turn.
pub(crate) type Clock = Box<dyn Fn() -> Instant + Send>;

/// What a member works with and does not own.
pub(crate) struct Surroundings {
    pub(crate) clock: Clock,
    /// Where guards report.
    pub(crate) sink: Arc<dyn SettlementSink>,
    pub(crate) status: Arc<IngestStatus>,
    /// Who signs the notes.
    pub(crate) owner: Owner,
}

pub(crate) struct Member<C> {
    consumer: C,
    commits: Commits,
    owned: Owned,
    gate: Gate,
    settings: IngestSettings,
    intake: Arc<dyn RouterIntake>,
    conservation: Arc<Conservation>,
    stages: StageWatch,
    clock: Clock,
    sink: Arc<dyn SettlementSink>,
    status: Arc<IngestStatus>,
    last_export: Instant,
    next_watermark: usize,
}

impl<C: Consumer> Member<C> {
    pub(crate) fn new(params: &IngestParams, consumer: C, surroundings: Surroundings) -> Self {
        let Surroundings { clock, sink, status, owner } = surroundings;
        let settings = &params.settings;
        let now = clock();
        // An earlier generation may have ended with it open.
        report::breaker_is_closed();
        Self {
            consumer,
            commits: Commits::new(settings, now),
            owned: Owned::new(settings, params.stages.clone(), owner),
            gate: Gate::new(settings, params.permits.clone()),
            settings: settings.clone(),
            intake: Arc::clone(&params.intake),
            conservation: Arc::clone(&params.conservation),
            stages: params.stages.clone(),
            clock,
            sink,
            status,
            last_export: now,
            next_watermark: 0,
        }
    }

    fn now(&self) -> Instant {
        (self.clock)()
    }

    /// Stops owning, with a reason for the supervisor; the first one counts.
    fn fail(&mut self, reason: String) {
        self.fail_with(Failure { reason, is_client_dead: false });
    }

    fn fail_with(&mut self, failure: Failure) {
        if self.gate.fail(failure.clone()) {
            report::cannot_go_on(&failure.reason);
        }
    }

    fn poll_error(&mut self, error: &KafkaError) {
        // librdkafka reconnects and rejoins by itself; even missing rights or a missing topic may be mended while it
        // waits. Only a dead client needs a new one. Counted and logged already where the client reports it.
        tracing::debug!(%error, "kafka consumer");
        if error.fault() == Fault::ClientDead {
            self.fail_with(Failure { reason: format!("kafka consumer is dead: {error}"), is_client_dead: true });
        }
    }
}

#[cfg(test)]
#[path = "member_tests.rs"]
mod tests;
