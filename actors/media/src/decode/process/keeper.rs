//! Which fork server workers come from, and when another one takes its place.
//!
//! All that one fork server forks has one layout of addresses, so what a stranger learns from a worker that broke holds
//! for the next one. A worker that broke is therefore followed by one of a fork server that was started anew, and an
//! honest life is bounded too. Starting takes some tenths of a second, beside the decoding.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use jtav_media_codecs::DecodeLimits;
use jtav_pipeline::FetchedMedia;
use jtav_telemetry::{ForkServerStart, Metric};

use super::orders::Setup;
use super::remote::{FORK_SERVER_TIMEOUT, ForkServer, NoReply, Worker};
use super::wire::{ReplyLimits, WorkerResult};
use crate::decode::params::ProcessParams;

/// Media after which a worker is replaced although nothing is wrong: whatever one of them left behind ends with it. A fork
/// costs a few milliseconds of CPU, shared by so many media.
const MEDIA_PER_WORKER: u32 = 32;
/// Workers after which a fork server is replaced although nothing is wrong; its start costs a quarter of a second of CPU.
const WORKERS_PER_FORK_SERVER: u32 = 128;
/// Crashes of one fork server's workers while the next one is on its way, after which nothing is decoded until it is
/// there.
const CRASHES_PER_FORK_SERVER: u32 = 8;
/// A fork server that lived longer without a crash is replaced before another worker is forked; a younger one serves on
/// until the next is there, so that media that crash one after the other cannot hold up decoding.
const CALM: Duration = Duration::from_secs(5);

/// Has workers forked. The fork server is replaced as above, and started anew when it is gone.
pub(crate) struct Keeper {
    params: ProcessParams,
    setup: Setup,
    reply_limits: ReplyLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<ForkServer>>,
    /// Where the next one arrives, if it is being started.
    next: Option<Receiver<io::Result<ForkServer>>>,
}

impl Keeper {
    /// Starts a fork server and waits until it is ready.
    ///
    /// # Errors
    /// The program cannot be started, or is not one that serves as a fork server.
    pub(crate) fn start(params: ProcessParams, limits: &DecodeLimits) -> io::Result<Self> {
        let mut limits = limits.clone();
        // What could not be had is refused by the header, with a reason, and not tried.
        limits.max_image_working_bytes = limits.max_image_working_bytes.min(params.max_memory_bytes);
        // A decoder of sound that looks at the clock itself gives a reason and keeps its process.
        limits.max_audio_cpu = limits.max_audio_cpu.min(params.max_cpu / 4 * 3);
        let setup = Setup {
            max_memory_bytes: params.max_memory_bytes,
            max_cpu_ms: params.max_cpu.as_millis().clamp(1, u128::from(u64::MAX)) as u64,
            media_per_worker: MEDIA_PER_WORKER,
            limits,
        };
        let reply_limits = ReplyLimits::of(&setup.limits);
        let current = Some(Arc::new(ForkServer::start(&params, &setup)?));
        counted(ForkServerStart::Start);
        Ok(Self { params, setup, reply_limits, state: Mutex::new(State { current, next: None }) })
    }

    /// A worker that is ready for a medium.
    ///
    /// # Errors
    /// No fork server can be started, or the system gives no process.
    pub(super) fn worker(&self) -> io::Result<Worker> {
        let fork_server = self.fork_server()?;
        Worker::fork(Arc::clone(&fork_server)).or_else(|error| {
            tracing::warn!(%error, "the process that decode workers come from is gone; it is started anew");
            self.lose(&fork_server);
            Worker::fork(self.fork_server()?)
        })
    }

    /// Whether a worker has done its part, by number or because its fork server has. Takes the next fork server in where
    /// it has arrived.
    pub(super) fn is_worn(&self, worker: &Worker) -> bool {
        // Whoever holds the lock may be waiting for a fork server: then this worker is as good as any.
        if let Some(mut state) = self.try_lock()
            && state.current.as_ref().is_some_and(|current| is_worn(current))
        {
            // An error shows when somebody needs a worker.
            let _ = self.renewed(&mut state, Patience::None);
        }
        worker.served() >= MEDIA_PER_WORKER || worker.is_of_yesterday()
    }

    /// Has a medium decoded. A worker that gave no reply must be ended.
    pub(super) fn decode(&self, worker: &mut Worker, media: &FetchedMedia) -> Result<WorkerResult, NoReply> {
        worker.decode(media, self.params.max_wall, &self.reply_limits)
    }

    fn fork_server(&self) -> io::Result<Arc<ForkServer>> {
        let mut state = self.lock();
        match &state.current {
            Some(current) if !is_worn(current) => Ok(Arc::clone(current)),
            Some(current) => {
                let patience = if may_serve_on(current) { Patience::None } else { Patience::Long };
                self.renewed(&mut state, patience)
            }
            None => self.renewed(&mut state, Patience::Long),
        }
    }

    /// The next fork server if it is there or is waited for, else the current one.
    fn renewed(&self, state: &mut State, patience: Patience) -> io::Result<Arc<ForkServer>> {
        let next = match &state.next {
            Some(next) => next,
            None => state.next.insert(self.begin()?),
        };
        let arrived = match patience {
            Patience::Long => match next.recv_timeout(FORK_SERVER_TIMEOUT) {
                Ok(started) => Some(started),
                Err(RecvTimeoutError::Timeout) => Some(Err(io::ErrorKind::TimedOut.into())),
                Err(RecvTimeoutError::Disconnected) => Some(Err(io::ErrorKind::BrokenPipe.into())),
            },
            Patience::None => match next.try_recv() {
                Ok(started) => Some(started),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(Err(io::ErrorKind::BrokenPipe.into())),
            },
        };
        let Some(started) = arrived else {
            return state.current.clone().ok_or_else(|| io::ErrorKind::NotConnected.into());
        };
        state.next = None;
        let fresh = match (started, &state.current) {
            (Ok(fresh), _) => Arc::new(fresh),
            // One that is worn is better than none.
            (Err(error), Some(current)) => {
                tracing::warn!(%error, "the process that decode workers come from cannot be started anew");
                return Ok(Arc::clone(current));
            }
            (Err(error), None) => return Err(error),
        };
        counted(match &state.current {
            None => ForkServerStart::Gone,
            Some(old) if old.crashes() > 0 => ForkServerStart::Crash,
            Some(_) => ForkServerStart::Age,
        });
        if let Some(old) = state.current.replace(Arc::clone(&fresh)) {
            old.retire();
        }
        Ok(fresh)
    }

    /// Starts the next one on a thread of its own.
    fn begin(&self) -> io::Result<Receiver<io::Result<ForkServer>>> {
        let (arrival, next) = sync_channel(1);
        let (params, setup) = (self.params.clone(), self.setup.clone());
        let start = move || {
            // Nobody waits for it any more: dropped, it ends.
            let _ = arrival.send(ForkServer::start(&params, &setup));
        };
        std::thread::Builder::new().name("fork-server".to_owned()).spawn(start)?;
        Ok(next)
    }

    fn lose(&self, fork_server: &Arc<ForkServer>) {
        let mut state = self.lock();
        if state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, fork_server)) {
            fork_server.retire();
            state.current = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held but allocation; the state stays whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Takes what is there.
    None,
    /// As long as a start may take.
    Long,
}

fn is_worn(fork_server: &ForkServer) -> bool {
    fork_server.crashes() > 0 || fork_server.forks() >= WORKERS_PER_FORK_SERVER
}

/// Whether workers may still come from a worn fork server while the next one is being started.
fn may_serve_on(fork_server: &ForkServer) -> bool {
    fork_server.crashes() == 0 || (fork_server.age() < CALM && fork_server.crashes() < CRASHES_PER_FORK_SERVER)
}

fn counted(cause: ForkServerStart) {
    Metric::decode_fork_server_starts(cause).inc();
}
