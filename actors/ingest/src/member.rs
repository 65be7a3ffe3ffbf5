//! The thread that owns consumer and ledgers. Everything here runs on it, one thing after the other, and nothing waits
//! for a post.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use jtav_delivery::{AssignmentEpoch, Outcome, Settlement, SettlementSink};
use jtav_kafka::{Consumer, ConsumerEvent, Fault, KafkaError, Wake};
use jtav_pipeline::{FailPoint, fail_point};
use jtav_telemetry::{Conservation, Metric, global};
use tokio::sync::{oneshot, watch};

use crate::admission::Intake;
use crate::breaker::{Breaker, Change};
use crate::commits::CommitSent;
use crate::note::Owner;
use crate::overdue::{Overdue, Terms};
use crate::pace::Pace;
use crate::params::{IngestError, IngestExit, IngestParams};
use crate::partition::Partition;
use crate::rebalance::{PendingAssignment, Revocation};
use crate::status::{BREAKER, IngestStatus, RESTART};
use crate::suspects::Suspects;

/// Longest wait for a settlement, a command or a record: each of them ends it. Rebalances and answers to commits do not
/// and wait as long at most, so it is short; an idle thread goes round fifty times a second.
const IDLE_WAIT: Duration = Duration::from_millis(20);

/// The same while a record waits for a permit, which comes free just after its settlement wakes this thread, or for the
/// answer to a commit.
const PERMIT_WAIT: Duration = Duration::from_millis(1);

/// Events taken before everything else gets its turn again.
const EVENTS_PER_TURN: usize = 64;

/// What reaches the thread.
#[derive(Debug)]
pub(crate) enum Input {
    Settled(Settlement),
    Control(Control),
    /// A partition that had no record has some now.
    Records,
}

/// Commands of the actor.
#[derive(Debug)]
pub(crate) enum Control {
    Pause { cause: &'static str, taken: oneshot::Sender<()> },
    Resume { cause: &'static str, taken: oneshot::Sender<()> },
    Drain { deadline: Instant },
}

/// Where guards report. Counting happens here and not on the thread, so that the law of conservation holds even for a
/// post that is settled after the thread has ended.
pub(crate) struct Sink {
    inputs: Sender<Input>,
    conservation: Arc<Conservation>,
}

impl SettlementSink for Sink {
    fn settled(&self, settlement: Settlement) {
        self.conservation.settled();
        if settlement.outcome == Outcome::Abandoned {
            global().inc(Metric::Abandoned, &[]);
        }
        // Nobody listens once the thread has ended; the record then comes again after a restart.
        let _ = self.inputs.send(Input::Settled(settlement));
    }
}

/// The running thread, seen from outside.
pub(crate) struct PollThread {
    pub(crate) inputs: Sender<Input>,
    pub(crate) status: Arc<IngestStatus>,
    pub(crate) exit: watch::Receiver<Option<IngestExit>>,
}

/// Makes the consumer, so that wrong settings fail here, and starts the thread.
pub(crate) fn spawn(params: IngestParams) -> Result<PollThread, IngestError> {
    params.settings.check(&params.consumer)?;
    let (inputs, received) = mpsc::channel();
    let records_waiting = Arc::new(AtomicBool::new(false));
    let consumer = Consumer::new(&params.client, &params.consumer, wake(inputs.clone(), &records_waiting))?;
    let (exited, exit) = watch::channel(None);
    let status = Arc::new(IngestStatus::new());
    let mut poll_loop = PollLoop::new(params, consumer, inputs.clone(), received, Arc::clone(&status));
    poll_loop.records_waiting = records_waiting;
    std::thread::Builder::new().name("jtav-ingest-poll".to_owned()).spawn(move || {
        let ended = catch_unwind(AssertUnwindSafe(|| poll_loop.run()));
        // Leaves the group before anybody hears of the end: a successor must not have to wait for the session time-out.
        let closed = catch_unwind(AssertUnwindSafe(move || drop(poll_loop)));
        let exit = match (ended, closed) {
            (Ok(exit), Ok(())) => exit,
            _ => IngestExit::Failed("the poll thread panicked".to_owned()),
        };
        tracing::info!(?exit, "ingest ended");
        exited.send_replace(Some(exit));
    })?;
    Ok(PollThread { inputs, status, exit })
}

/// Wakes the thread when records come; once until it has looked, however many partitions call.
fn wake(inputs: Sender<Input>, records_waiting: &Arc<AtomicBool>) -> Wake {
    let records_waiting = Arc::clone(records_waiting);
    Arc::new(move || {
        if !records_waiting.swap(true, Ordering::AcqRel) {
            // Nobody looks any more once the thread has ended.
            let _ = inputs.send(Input::Records);
        }
    })
}

/// A drain under way.
#[derive(Debug)]
pub(crate) struct Draining {
    pub(crate) started: Instant,
    pub(crate) deadline: Instant,
}

pub(crate) struct PollLoop {
    pub(crate) params: IngestParams,
    pub(crate) consumer: Consumer,
    pub(crate) inputs: Receiver<Input>,
    pub(crate) sink: Arc<Sink>,
    pub(crate) status: Arc<IngestStatus>,
    pub(crate) partitions: BTreeMap<i32, Partition>,
    /// Number of the last ownership period of any partition.
    pub(crate) last_epoch: u64,
    /// Posts let in whose guard has not reported, whatever period they belong to.
    pub(crate) in_flight: usize,
    pub(crate) paused_by: BTreeSet<&'static str>,
    pub(crate) breaker: Breaker,
    pub(crate) pace: Pace,
    /// Finds the record that ends the process.
    pub(crate) suspects: Suspects,
    /// Finds the record that hangs by its own content.
    pub(crate) overdue: Overdue,
    /// When stages were last tried out for it.
    pub(crate) stages_tried_out: Option<Instant>,
    /// A record waits until its note is committed.
    pub(crate) note_awaited: bool,
    /// Partitions whose next commit is the last one of this ownership.
    pub(crate) saying_goodbye: BTreeSet<i32>,
    /// A record waits for a permit.
    pub(crate) starved: bool,
    /// Partition whose record was let in last.
    pub(crate) last_served: i32,
    /// A wake-up is on its way that this thread has not answered yet.
    records_waiting: Arc<AtomicBool>,
    pub(crate) assignment: Option<PendingAssignment>,
    pub(crate) revocation: Option<Revocation>,
    pub(crate) draining: Option<Draining>,
    pub(crate) commit_sent: Option<CommitSent>,
    pub(crate) last_commit: Instant,
    /// When the broker last refused one, if it has not taken one since.
    pub(crate) commit_refused: Option<Instant>,
    /// Since when the commit at the end is due, and how often it was sent.
    pub(crate) final_commit: Option<(Instant, u32)>,
    pub(crate) last_export: Instant,
    pub(crate) next_watermark: usize,
    pub(crate) failed: Option<String>,
    /// The client answers nothing any more.
    is_client_dead: bool,
}

impl PollLoop {
    fn new(
        params: IngestParams,
        consumer: Consumer,
        sender: Sender<Input>,
        inputs: Receiver<Input>,
        status: Arc<IngestStatus>,
    ) -> Self {
        let sink = Arc::new(Sink { inputs: sender, conservation: Arc::clone(&params.conservation) });
        let breaker = Breaker::new(&params.settings);
        let terms = Terms { max_deadlines: params.settings.max_deadlines, trial: params.settings.trial_deadline };
        let pace = Pace::new(params.settings.min_admission_gap);
        // An earlier generation may have ended with it open.
        global().set(Metric::IntakePaused, &[BREAKER], 0.0);
        Self {
            params,
            consumer,
            inputs,
            sink,
            status,
            partitions: BTreeMap::new(),
            last_epoch: 0,
            in_flight: 0,
            paused_by: BTreeSet::new(),
            breaker,
            pace,
            suspects: Suspects::new(Owner::this_process()),
            overdue: Overdue::new(terms),
            stages_tried_out: None,
            note_awaited: false,
            saying_goodbye: BTreeSet::new(),
            starved: false,
            last_served: -1,
            records_waiting: Arc::default(),
            assignment: None,
            revocation: None,
            draining: None,
            commit_sent: None,
            last_commit: Instant::now(),
            commit_refused: None,
            final_commit: None,
            last_export: Instant::now(),
            next_watermark: 0,
            failed: None,
            is_client_dead: false,
        }
    }

    /// Settlements come before new input, so that a flood of records cannot starve commits (vector #20403).
    fn run(&mut self) -> IngestExit {
        loop {
            self.status.progress();
            fail_point::hit(FailPoint::IngestPoll, "");
            self.take_inputs();
            let change = self.breaker.turn(Instant::now());
            self.breaker_changed(change);
            self.serve_rewinds();
            self.serve_assignment();
            self.serve_revocation();
            // Before the look, so that what comes during it wakes the thread again.
            self.records_waiting.store(false, Ordering::Release);
            let intake = self.take_records();
            self.try_stages_out();
            self.commit_if_due();
            self.export_if_due();
            self.drain_at_the_end_of_the_stretch();
            if let Some(exit) = self.finished() {
                self.remove_series();
                return exit;
            }
            self.poll_events();
            self.wait(intake);
        }
    }

    /// Stops owning, with a reason for the supervisor; the first one counts.
    pub(crate) fn fail(&mut self, reason: String) {
        if self.failed.is_none() {
            tracing::error!(reason, "ingest cannot go on");
            self.failed = Some(reason);
        }
    }

    pub(crate) fn next_epoch(&mut self) -> AssignmentEpoch {
        self.last_epoch += 1;
        AssignmentEpoch(self.last_epoch)
    }

    /// No post may be let in now.
    pub(crate) fn is_closed(&self) -> bool {
        !self.paused_by.is_empty() || self.draining.is_some() || self.failed.is_some() || !self.breaker.admits()
    }

    /// Tells metrics and log; the breaker itself lets nothing in.
    pub(crate) fn breaker_changed(&mut self, change: Option<Change>) {
        match change {
            None => return,
            Some(Change::Opened { failed, of, wait }) => {
                global().set(Metric::IntakePaused, &[BREAKER], 1.0);
                let wait_ms = wait.as_millis() as u64;
                tracing::error!(
                    failed,
                    of,
                    wait_ms,
                    "the breaker stops intake: posts fail for reasons of our own; see jtav_stage_errors_total"
                );
            }
            Some(Change::Trying) => tracing::warn!("the breaker lets a few posts in to try"),
            Some(Change::Closed) => {
                global().set(Metric::IntakePaused, &[BREAKER], 0.0);
                tracing::info!("the breaker is closed, intake runs again");
            }
        }
        self.export();
    }

    fn take_inputs(&mut self) {
        while let Ok(input) = self.inputs.try_recv() {
            self.take_input(input);
        }
    }

    fn take_input(&mut self, input: Input) {
        match input {
            Input::Records => {}
            Input::Settled(settlement) => self.settle(settlement),
            Input::Control(Control::Pause { cause, taken }) => {
                self.paused_by.insert(cause);
                global().set(Metric::IntakePaused, &[cause], 1.0);
                tracing::info!(cause, "intake paused");
                // The caller may have given up waiting.
                let _ = taken.send(());
            }
            Input::Control(Control::Resume { cause, taken }) => {
                if self.paused_by.remove(cause) {
                    if cause == RESTART {
                        self.forget_outcomes();
                    }
                    global().set(Metric::IntakePaused, &[cause], 0.0);
                    tracing::info!(cause, "intake resumed");
                }
                let _ = taken.send(());
            }
            Input::Control(Control::Drain { deadline }) => self.start_drain(deadline),
        }
    }

    /// The boxes are new: what became of posts in the old ones says nothing of these. Those that went to a dead router
    /// before anybody noticed may have opened the breaker.
    fn forget_outcomes(&mut self) {
        self.breaker = Breaker::new(&self.params.settings);
        global().set(Metric::IntakePaused, &[BREAKER], 0.0);
    }

    fn start_drain(&mut self, deadline: Instant) {
        if let Some(draining) = &mut self.draining {
            draining.deadline = draining.deadline.min(deadline);
            return;
        }
        global().set(Metric::IntakePaused, &["drain"], 1.0);
        tracing::info!(in_flight = self.in_flight, "draining");
        self.draining = Some(Draining { started: Instant::now(), deadline });
        fail_point::hit(FailPoint::IngestDuringDrain, "");
    }

    /// A member that was offered no partition yet waits: the others may leave theirs to it.
    fn drain_at_the_end_of_the_stretch(&mut self) {
        let is_read = self.params.settings.stretch.is_some()
            && self.draining.is_none()
            && !self.partitions.is_empty()
            && self.assignment.is_none()
            && self.revocation.is_none()
            && self.in_flight == 0
            && self.partitions.values().all(Partition::is_done);
        if is_read {
            tracing::info!("the end of the stretch is reached");
            self.start_drain(Instant::now() + Duration::from_millis(self.params.settings.commit_timeout_ms));
        }
    }

    fn wait(&mut self, intake: Intake) {
        let wait = match intake {
            Intake::More => return,
            Intake::Soon => PERMIT_WAIT,
            Intake::Idle => IDLE_WAIT,
        };
        if let Ok(input) = self.inputs.recv_timeout(wait) {
            self.take_input(input);
        }
    }

    /// Never waits, and is called at every turn: a member that does not poll is expelled.
    fn poll_events(&mut self) {
        for _ in 0..EVENTS_PER_TURN {
            match self.consumer.poll(Duration::ZERO) {
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

    pub(crate) fn poll_error(&mut self, error: &KafkaError) {
        // librdkafka reconnects and rejoins by itself; even missing rights or a missing topic may be mended while it
        // waits. Only a dead client needs a new one. Counted and logged already where the client reports it.
        tracing::debug!(%error, "kafka consumer");
        if error.fault() == Fault::ClientDead {
            self.is_client_dead = true;
            self.fail(format!("kafka consumer is dead: {error}"));
        }
    }

    /// The end, once there is nothing left to wait for.
    fn finished(&mut self) -> Option<IngestExit> {
        if let Some(reason) = self.failed.clone() {
            // The next owner must not take this end for that of the process.
            let is_over = self.is_client_dead || self.final_commit_done();
            return is_over.then_some(IngestExit::Failed(reason));
        }
        let draining = self.draining.as_ref()?;
        let (started, deadline) = (draining.started, draining.deadline);
        let left = self.in_flight;
        if left > 0 && Instant::now() < deadline {
            return None;
        }
        if !self.final_commit_done() {
            return None;
        }
        global().observe(Metric::DrainSeconds, &["shutdown"], started.elapsed().as_secs_f64());
        global().set(Metric::IntakePaused, &["drain"], 0.0);
        Some(if left == 0 { IngestExit::Drained } else { IngestExit::DrainTimedOut { left } })
    }
}
