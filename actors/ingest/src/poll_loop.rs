//! The thread that owns consumer and ledgers. Everything here runs on it, one thing after the other, and nothing waits
//! for a post.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use jtav_delivery::{Outcome, Settlement, SettlementSink};
use jtav_kafka::Wake;
use jtav_pipeline::{FailPoint, fail_point};
use jtav_telemetry::{Conservation, Metric};
use tokio::sync::{oneshot, watch};

use crate::consumer::Consumer;
use crate::member::admission::Intake;
use crate::member::turn::Control;
use crate::member::{Member, Surroundings};
use crate::note::Owner;
use crate::params::{IngestError, IngestExit, IngestParams};
use crate::status::IngestStatus;

/// Longest wait for a settlement, a command or a record: each of them ends it. Rebalances and answers to commits do not
/// and wait as long at most, so it is short; an idle thread goes round fifty times a second.
const IDLE_WAIT: Duration = Duration::from_millis(20);

/// The same while a record waits for a permit, which comes free just after its settlement wakes this thread, or for the
/// answer to a commit.
const PERMIT_WAIT: Duration = Duration::from_millis(1);

/// A worker with as many posts inside as there may be is told of thousands of settlements a second. After the first one the
/// thread waits so long for others, and lets as many posts in with one turn: each turn asks the consumer and the clock, and each
/// wake-up is a system call of the thread that settles.
const GATHER_WAIT: Duration = Duration::from_micros(300);

/// What reaches the thread.
#[derive(Debug)]
pub(crate) enum Input {
    Settled(Settlement),
    Control {
        control: Control,
        taken: Option<oneshot::Sender<()>>,
    },
    /// A partition that had no record has some now.
    Records,
}

/// Where guards report. Counting happens here and not on the thread, so that the law of conservation holds even for a
/// post that is settled after the thread has ended.
struct Sink {
    inputs: Sender<Input>,
    conservation: Arc<Conservation>,
}

impl SettlementSink for Sink {
    fn settled(&self, settlement: Settlement) {
        self.conservation.settled();
        if settlement.outcome == Outcome::Abandoned {
            Metric::abandoned().inc();
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
    let wake = wake(inputs.clone(), &records_waiting);
    let consumer = jtav_kafka::Consumer::new(&params.client, &params.consumer, wake)?;
    let (exited, exit) = watch::channel(None);
    let status = Arc::new(IngestStatus::new());
    let sink = Arc::new(Sink { inputs: inputs.clone(), conservation: Arc::clone(&params.conservation) });
    let surroundings =
        Surroundings { clock: Box::new(Instant::now), sink, status: Arc::clone(&status), owner: Owner::this_process() };
    let member = Member::new(&params, consumer, surroundings);
    let mut poll_loop = PollLoop { member, inputs: received, records_waiting, status: Arc::clone(&status) };
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

struct PollLoop<C> {
    member: Member<C>,
    inputs: Receiver<Input>,
    /// A wake-up is on its way that this thread has not answered yet.
    records_waiting: Arc<AtomicBool>,
    status: Arc<IngestStatus>,
}

impl<C: Consumer> PollLoop<C> {
    /// Settlements come before new input, so that a flood of records cannot starve commits (vector #20403).
    fn run(&mut self) -> IngestExit {
        loop {
            self.status.progress();
            fail_point::hit(FailPoint::IngestPoll, "");
            while let Ok(input) = self.inputs.try_recv() {
                self.take_input(input);
            }
            // Before the turn looks for records, so that what comes during the look wakes the thread again.
            self.records_waiting.store(false, Ordering::Release);
            match self.member.turn() {
                ControlFlow::Continue(intake) => self.wait(intake),
                ControlFlow::Break(exit) => return exit,
            }
        }
    }

    fn take_input(&mut self, input: Input) {
        match input {
            Input::Records => {}
            Input::Settled(settlement) => self.member.settle(settlement),
            Input::Control { control, taken } => {
                self.member.control(control);
                if let Some(taken) = taken {
                    // The caller may have given up waiting.
                    let _ = taken.send(());
                }
            }
        }
    }

    fn wait(&mut self, intake: Intake) {
        let wait = match intake {
            Intake::More => return,
            Intake::Soon => PERMIT_WAIT,
            Intake::Idle => IDLE_WAIT,
        };
        if let Ok(input) = self.inputs.recv_timeout(wait) {
            let is_settlement = matches!(input, Input::Settled(_));
            self.take_input(input);
            if is_settlement && intake == Intake::Soon {
                std::thread::sleep(GATHER_WAIT);
            }
        }
    }
}
