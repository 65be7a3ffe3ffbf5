//! Calls of scripts, gathered: those that a thread makes in one turn travel as one request.
//!
//! A post asks the store twice, and hundreds are inside at once. By itself each call has a message to the task of the connection, a
//! timer, and futures in boxes around both; those that go together have one of each (ADR 54).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike as _, ConnectionManager};
use redis::{ErrorKind, Pipeline, RedisResult, Script, ServerErrorKind, Value};
use tokio::sync::oneshot;

use crate::script::ScriptCall;

/// Calls of one request. The answers of a request are told when the last of them has come, so the first should not wait for
/// hundreds.
const MOST_TOGETHER: usize = 64;

/// What a call came to; dropped without an answer where none came in time.
pub(crate) type Answer = RedisResult<Value>;

/// Calls of one thread that have not left yet. Bounded by those who wait for them: their permits.
#[derive(Default)]
pub(crate) struct Gather {
    waiting: Mutex<Vec<Waiting>>,
}

struct Waiting {
    call: ScriptCall,
    answer: oneshot::Sender<Answer>,
}

impl Gather {
    /// Lets a call leave with the others of this turn; answers come within `timeout` or not at all. Needs a tokio runtime. Giving
    /// up the answer takes back a call that has not left yet, and no other.
    pub(crate) fn ask(
        self: &Arc<Self>,
        call: ScriptCall,
        manager: &ConnectionManager,
        timeout: Duration,
    ) -> oneshot::Receiver<Answer> {
        let (answer, receiver) = oneshot::channel();
        // Each departure takes as many as it may: one is needed for the first, and one more for the first beyond.
        let needs_departure = {
            let mut waiting = self.lock();
            waiting.push(Waiting { call, answer });
            waiting.len() % MOST_TOGETHER == 1
        };
        // Not under the lock: a runtime that ends drops what it is given at once.
        if needs_departure {
            tokio::spawn(Departure(Some(Arc::clone(self))).send(manager.clone(), timeout));
        }
        receiver
    }

    fn take(&self) -> (Request, Vec<oneshot::Sender<Answer>>) {
        let mut waiting = self.lock();
        let count = waiting.len().min(MOST_TOGETHER);
        let mut request = Request { pipeline: Pipeline::with_capacity(count), scripts: Vec::with_capacity(count) };
        let mut answers = Vec::with_capacity(count);
        for Waiting { call, answer } in waiting.drain(..count).filter(|waiting| !waiting.answer.is_closed()) {
            request.pipeline.add_command(call.command);
            request.scripts.push(call.script);
            answers.push(answer);
        }
        (request, answers)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a request's worth of calls, once, even where its runtime ends before: left behind, they would keep those of the next
/// runtime on this thread from a departure of their own.
struct Departure(Option<Arc<Gather>>);

impl Departure {
    async fn send(mut self, manager: ConnectionManager, timeout: Duration) {
        let Some((request, answers)) = self.0.take().map(|gather| gather.take()) else { return };
        if !answers.is_empty() {
            // Whoever still waits then hears that nothing came: the senders are dropped.
            let _ = tokio::time::timeout(timeout, request.send(manager, answers)).await;
        }
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        if let Some(gather) = self.0.take() {
            drop(gather.take());
        }
    }
}

/// Calls that travel together, and the script of each.
struct Request {
    pipeline: Pipeline,
    scripts: Vec<&'static Script>,
}

impl Request {
    /// Tells each what came of it: a server's refusal of one is no other's, a lost connection is that of all.
    async fn send(&self, mut redis: ConnectionManager, answers: Vec<oneshot::Sender<Answer>>) {
        let values = match redis.req_packed_commands(&self.pipeline, 0, answers.len()).await {
            Ok(values) => values,
            Err(error) => {
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
                return;
            }
        };
        let mut unknown = Vec::new();
        for (at, (value, answer)) in values.into_iter().zip(answers).enumerate() {
            match value.extract_error() {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    unknown.push((at, answer))
                }
                // The caller may have given up.
                value => drop(answer.send(value)),
            }
        }
        if !unknown.is_empty() {
            self.teach(&mut redis, unknown).await;
        }
    }

    /// A server that was started anew, or took over, knows no script: it is taught those it lacks, and asked again.
    async fn teach(&self, redis: &mut ConnectionManager, unknown: Vec<(usize, oneshot::Sender<Answer>)>) {
        let mut taught: Vec<&str> = Vec::new();
        let commands: Vec<_> = self.pipeline.cmd_iter().collect();
        for (at, answer) in unknown {
            let script = self.scripts[at];
            let asked = async {
                if !taught.contains(&script.get_hash()) {
                    script.load_async(redis).await?;
                    taught.push(script.get_hash());
                }
                redis.req_packed_command(commands[at]).await?.extract_error()
            };
            let _ = answer.send(asked.await);
        }
    }
}
