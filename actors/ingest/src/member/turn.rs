//! One turn of the poll loop: everything is asked once, and nothing waits.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use jtav_kafka::ConsumerEvent;
use jtav_pipeline::{FailPoint, fail_point};
use jtav_telemetry::PauseCause;

use super::admission::Intake;
use super::{Member, report};
use crate::consumer::Consumer;
use crate::params::IngestExit;

/// Events taken before everything else gets its turn again.
const EVENTS_PER_TURN: usize = 64;

/// Commands of the actor.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Control {
    Pause { cause: PauseCause },
    Resume { cause: PauseCause },
    Drain { deadline: Instant },
}

impl<C: Consumer> Member<C> {
    /// Breaks with how it ended, once there is nothing left to wait for.
    pub(crate) fn turn(&mut self) -> ControlFlow<IngestExit, Intake> {
        let change = self.gate.turn(self.now());
        self.breaker_changed(change);
        self.serve_rewinds();
        self.serve_assignment();
        self.serve_revocation();
        let intake = self.take_records();
        self.try_stages_out();
        self.commit_if_due();
        self.export_if_due();
        self.drain_at_the_end_of_the_range();
        if let Some(exit) = self.finished() {
            self.remove_series();
            return ControlFlow::Break(exit);
        }
        self.poll_events();
        ControlFlow::Continue(intake)
    }

    /// Takes a command.
    pub(crate) fn control(&mut self, control: Control) {
        match control {
            Control::Pause { cause } => {
                self.gate.pause(cause);
                report::paused(cause);
            }
            Control::Resume { cause } => {
                if let Some(lifted) = self.gate.resume(cause) {
                    report::resumed(cause, lifted);
                }
            }
            Control::Drain { deadline } => self.start_drain(deadline),
        }
    }

    fn start_drain(&mut self, deadline: Instant) {
        if self.gate.drain(deadline) {
            report::draining(self.owned.in_flight());
            fail_point::hit(FailPoint::IngestDuringDrain, "");
        }
    }

    fn drain_at_the_end_of_the_range(&mut self) {
        if self.gate.draining().is_none() && self.owned.is_range_done() {
            tracing::info!("the end of the offset range is reached");
            self.start_drain(self.now() + Duration::from_millis(self.settings.commit_timeout_ms));
        }
    }

    /// Never waits, and is called at every turn: a member that does not poll is expelled.
    fn poll_events(&mut self) {
        for _ in 0..EVENTS_PER_TURN {
            match self.consumer.poll() {
                None => return,
                Some(ConsumerEvent::Assigned(partitions)) => {
                    self.assigned(partitions);
                    return;
                }
                Some(ConsumerEvent::Revoked { partitions, lost }) => {
                    self.revoked(partitions, lost);
                    return;
                }
                Some(ConsumerEvent::Committed(result)) => self.commit_answered(&result),
                Some(ConsumerEvent::Error(error)) => self.poll_error(&error),
            }
        }
    }

    /// The end, once there is nothing left to wait for.
    fn finished(&mut self) -> Option<IngestExit> {
        if let Some(failure) = self.gate.failure() {
            // The next owner must not take this end for that of the process.
            let is_over = failure.is_client_dead || self.final_commit_done();
            return is_over.then_some(IngestExit::Failed(failure.reason));
        }
        let deadline = self.gate.draining()?;
        let left = self.owned.in_flight();
        if left > 0 && self.now() < deadline {
            return None;
        }
        if !self.final_commit_done() {
            return None;
        }
        report::drained();
        Some(if left == 0 { IngestExit::Drained } else { IngestExit::DrainTimedOut { left } })
    }
}
