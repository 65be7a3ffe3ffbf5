use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, Context, Handler, Message, ResponseFuture};
use jtav_pipeline::Description;
use jtav_telemetry::PauseCause;
use serde_json::json;
use tokio::sync::{oneshot, watch};

use crate::member::turn::Control;
use crate::params::{IngestError, IngestExit, IngestParams};
use crate::poll_loop::{Input, spawn};
use crate::status::IngestStatus;

/// Stops intake for a cause; several causes may hold at once. Replies when the poll thread has taken it: from then on no
/// post is let in. Polling, settlements and commits go on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Pause {
    /// Metric label, for example `breaker`.
    pub cause: PauseCause,
}

/// Lifts one cause; intake runs again when none is left. Replies when the poll thread has taken it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Resume {
    /// As given to [`Pause`].
    pub cause: PauseCause,
}

/// Stops intake for good, waits until what is in flight is settled or `timeout` has passed, commits, leaves the group.
/// Replies with the end of the thread, at most `commit_timeout_ms` and the time to leave the group after `timeout`. A
/// second one can only shorten the wait.
#[derive(Debug, Message)]
#[rtype(result = "IngestExit")]
pub struct Drain {
    /// Patience with posts in flight.
    pub timeout: Duration,
}

/// Asks for the observable state.
#[derive(Debug, Message)]
#[rtype(result = "Description")]
pub struct Describe;

/// Control shell of the poll thread. Dropping it drains with no patience: what is settled is committed, the rest comes
/// again.
pub struct IngestActor {
    inputs: Sender<Input>,
    status: Arc<IngestStatus>,
    exit: watch::Receiver<Option<IngestExit>>,
}

/// A running ingest. Dropping the handle stops nothing; dropping the last address does.
#[derive(Clone)]
pub struct IngestHandle {
    /// Control.
    pub addr: Addr<IngestActor>,
    /// Heartbeat and state, readable without the actor.
    pub status: Arc<IngestStatus>,
    exit: watch::Receiver<Option<IngestExit>>,
}

impl IngestHandle {
    /// Joins the group and starts polling; no network call is waited for. Must run inside an actix system.
    pub fn start(params: IngestParams) -> Result<Self, IngestError> {
        let thread = spawn(params)?;
        let status = Arc::clone(&thread.status);
        let exit = thread.exit.clone();
        let actor = IngestActor { inputs: thread.inputs, status: thread.status, exit: thread.exit };
        Ok(Self { addr: actor.start(), status, exit })
    }

    /// How the thread ended, waiting for it. Cancellation safe.
    pub async fn exited(&self) -> IngestExit {
        wait_for(self.exit.clone()).await
    }

    /// How the thread ended, if it has.
    pub fn exit(&self) -> Option<IngestExit> {
        self.exit.borrow().clone()
    }

    /// Time since the poll thread last went round; see [`IngestStatus::progress_age`].
    pub fn progress_age(&self) -> Duration {
        self.status.progress_age()
    }
}

async fn wait_for(mut exit: watch::Receiver<Option<IngestExit>>) -> IngestExit {
    match exit.wait_for(Option::is_some).await {
        Ok(value) => value.clone().unwrap_or_else(vanished),
        Err(_) => vanished(),
    }
}

fn vanished() -> IngestExit {
    IngestExit::Failed("the poll thread vanished without a word".to_owned())
}

impl Actor for IngestActor {
    type Context = Context<Self>;
}

impl Drop for IngestActor {
    fn drop(&mut self) {
        self.drain(Instant::now());
    }
}

impl IngestActor {
    /// Hands a command over and waits until it is taken; a thread that has ended needs no command.
    fn command(&self, control: Control) -> ResponseFuture<()> {
        let (taken, wait) = oneshot::channel();
        let _ = self.inputs.send(Input::Control { control, taken: Some(taken) });
        Box::pin(async move {
            let _ = wait.await;
        })
    }

    /// Its end is what tells that it was taken.
    fn drain(&self, deadline: Instant) {
        let _ = self.inputs.send(Input::Control { control: Control::Drain { deadline }, taken: None });
    }
}

impl Handler<Pause> for IngestActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: Pause, _: &mut Self::Context) -> Self::Result {
        self.command(Control::Pause { cause: message.cause })
    }
}

impl Handler<Resume> for IngestActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: Resume, _: &mut Self::Context) -> Self::Result {
        self.command(Control::Resume { cause: message.cause })
    }
}

impl Handler<Drain> for IngestActor {
    type Result = ResponseFuture<IngestExit>;

    fn handle(&mut self, message: Drain, _: &mut Self::Context) -> Self::Result {
        self.drain(Instant::now() + message.timeout);
        Box::pin(wait_for(self.exit.clone()))
    }
}

impl Handler<Describe> for IngestActor {
    type Result = actix::MessageResult<Describe>;

    fn handle(&mut self, _: Describe, _: &mut Self::Context) -> Self::Result {
        let snapshot = self.status.snapshot();
        let partitions: Vec<_> = snapshot
            .partitions
            .iter()
            .map(|p| {
                json!({
                    "partition": p.partition, "epoch": p.epoch, "pending": p.pending, "window": p.window,
                    "committed": p.committed, "lag_records": p.lag_records,
                    "event_lag_seconds": p.event_lag_seconds, "paused": p.paused, "revoking": p.revoking,
                    "rewinds": p.rewinds, "held": p.held, "careful_until": p.careful_until,
                    "suspect": p.suspect.map(|(offset, ends)| json!({ "offset": offset, "ends": ends })),
                })
            })
            .collect();
        actix::MessageResult(Description::from([
            ("partitions".to_owned(), json!(partitions)),
            ("in_flight".to_owned(), json!(snapshot.in_flight)),
            ("paused_by".to_owned(), json!(snapshot.paused_by.iter().map(|cause| cause.as_str()).collect::<Vec<_>>())),
            ("starved".to_owned(), json!(snapshot.starved)),
            ("draining".to_owned(), json!(snapshot.draining)),
            ("progress_age_ms".to_owned(), json!(self.status.progress_age().as_millis() as u64)),
            ("exited".to_owned(), json!(self.exit.borrow().as_ref().map(|exit| format!("{exit:?}")))),
        ]))
    }
}
