//! Who decodes for a thread of the pool, and what a worker's end means for its medium.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use jtav_media_codecs::{DecodeLimits, Guarded, MediaFacts, Panicked, decode_guarded};
use jtav_pipeline::{Decoded, FetchedMedia, Stage, StageError, log_name};
use jtav_schemas::AbsentReason;
use jtav_telemetry::{DecodeEnd, Metric};

use super::keeper::Keeper;
use super::orders::Ended;
use super::remote::{NoReply, Worker};
use crate::decode::params::ProcessParams;

type DecodeResult = Result<(Decoded, MediaFacts), AbsentReason>;

/// Decodes for one thread.
pub(crate) enum Engine {
    /// In this very thread.
    Here(DecodeLimits),
    /// In a process.
    Process {
        /// Where workers come from.
        keeper: Arc<Keeper>,
        /// The one that is ready.
        worker: Option<Worker>,
        /// When the one before it was seen to have ended.
        ended_at: Option<Instant>,
    },
}

/// Why a worker ended, for the metric and the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Out of its CPU time.
    CpuTime,
    /// Out of its memory.
    Memory,
    /// Out of wall time.
    Hung,
    /// Ended by somebody else, the kernel when memory runs out or a person, or before it knew of the medium.
    Killed,
    /// Anything else that ends a process, a bug of a decoder above all.
    Crashed,
    /// It sent what no worker sends.
    Nonsense,
}

impl Cause {
    fn label(self) -> DecodeEnd {
        match self {
            Cause::CpuTime => DecodeEnd::CpuTime,
            Cause::Memory => DecodeEnd::Memory,
            Cause::Hung => DecodeEnd::Hung,
            Cause::Killed => DecodeEnd::Killed,
            Cause::Crashed => DecodeEnd::Crashed,
            Cause::Nonsense => DecodeEnd::Nonsense,
        }
    }

    /// What it says of the medium; nothing where the worker was killed by somebody else.
    fn reason(self) -> Option<AbsentReason> {
        match self {
            Cause::CpuTime | Cause::Memory | Cause::Hung => Some(AbsentReason::TooLarge),
            Cause::Crashed | Cause::Nonsense => Some(AbsentReason::DecodeError),
            Cause::Killed => None,
        }
    }

    fn of(no_reply: NoReply, ended: Option<Ended>, last_words: &str) -> Self {
        // What Rust says before it aborts for want of memory; C libraries give an error instead.
        if last_words.contains("memory allocation of") {
            return Cause::Memory;
        }
        match (no_reply, ended.and_then(|ended| ended.signal)) {
            (NoReply::Hung, _) => Cause::Hung,
            (NoReply::Gone, _) => Cause::Killed,
            (NoReply::Broken, Some(libc::SIGPROF)) => Cause::CpuTime,
            // The killing is ours where the worker still ran: its words made no sense.
            (NoReply::Nonsense, _) => Cause::Nonsense,
            (NoReply::Broken, Some(libc::SIGKILL)) => Cause::Killed,
            // How it ended went down with the fork server: another try will tell.
            (NoReply::Broken, None) if ended.is_none() => Cause::Killed,
            (NoReply::Broken, _) => Cause::Crashed,
        }
    }
}

impl Engine {
    pub(crate) fn process(keeper: Arc<Keeper>) -> Self {
        Engine::Process { keeper, worker: None, ended_at: None }
    }

    /// Makes sure that a worker is ready, so that the next medium does not wait for one.
    pub(crate) fn prepare(&mut self) {
        let Engine::Process { keeper, worker, ended_at } = self else { return };
        end_if_worn(keeper, worker);
        if worker.is_none() {
            // What is wrong is said when a medium needs it.
            *worker = keeper.worker().ok();
            if let (Some(_), Some(ended_at)) = (&worker, ended_at.take()) {
                Metric::decode_worker_replacement().observe(ended_at.elapsed().as_secs_f64());
            }
        }
    }

    /// Decodes one medium.
    ///
    /// # Errors
    /// No worker is to be had, or two were killed by somebody else: says nothing of the medium, and is retryable.
    pub(crate) fn decode(&mut self, media: &FetchedMedia) -> Result<DecodeResult, StageError> {
        let (keeper, ready, ended_at) = match self {
            Engine::Here(limits) => {
                let media_type = media.media_type.as_deref();
                return Ok(counted(decode_guarded(&media.bytes, media.modality, media_type, limits, &|| ())));
            }
            Engine::Process { keeper, worker, ended_at } => (keeper, worker, ended_at),
        };
        // One that has waited for long may come from a fork server that was given up meanwhile.
        end_if_worn(keeper, ready);
        for _ in 0..2 {
            let mut worker = match ready.take() {
                Some(worker) => worker,
                None => keeper.worker().map_err(|error| no_worker(&error))?,
            };
            let no_reply = match keeper.decode(&mut worker, media) {
                Ok(outcome) => {
                    *ready = Some(worker);
                    return Ok(counted(outcome));
                }
                Err(no_reply) => no_reply,
            };
            *ended_at = Some(Instant::now());
            let (cause, _) = end(worker, no_reply, media);
            if let Some(reason) = cause.reason() {
                return Ok(Err(reason));
            }
        }
        Err(StageError::retryable(Stage::Decode, "worker_killed", "two decode workers were killed by somebody else"))
    }
}

fn end_if_worn(keeper: &Keeper, ready: &mut Option<Worker>) {
    if let Some(worn) = ready.take_if(|worker| keeper.is_worn(worker)) {
        worn.end();
    }
}

/// What a medium is told; a panic is counted, and damage.
fn counted<T>(guarded: Guarded<T>) -> Result<T, AbsentReason> {
    guarded.unwrap_or_else(|Panicked| {
        Metric::stage_errors(Stage::Decode, "decoder_panicked", false).inc();
        tracing::warn!("a media decoder panicked; the medium counts as damaged");
        Err(AbsentReason::DecodeError)
    })
}

fn no_worker(error: &io::Error) -> StageError {
    StageError::retryable(Stage::Decode, "no_worker", format!("no decode worker could be started: {error}"))
}

/// Ends a worker that gave no reply; says why in metric and log.
fn end(worker: Worker, no_reply: NoReply, media: &FetchedMedia) -> (Cause, Option<Ended>) {
    let home = worker.home();
    let (ended, last_words) = worker.end();
    let cause = Cause::of(no_reply, ended, &last_words);
    if matches!(cause, Cause::Crashed | Cause::Nonsense) {
        home.count_crash();
    }
    Metric::decode_worker_ends(cause.label()).inc();
    tracing::warn!(
        cause = cause.label().as_str(),
        modality = media.modality.as_str(),
        bytes = media.bytes.len(),
        blake3 = log_name(&media.content_hash),
        last_words,
        "a decode worker ended with the medium it had in hand; a new one takes over"
    );
    (cause, ended)
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Engine::Process { worker, .. } = self
            && let Some(worker) = worker.take()
        {
            worker.end();
        }
    }
}

/// What decoding one medium took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Wall time of decoding, forking not included.
    pub elapsed: std::time::Duration,
    /// Most memory that the worker had resident, bytes: the medium's and the program's own.
    pub peak_memory_bytes: Option<u64>,
}

/// Decodes media one by one, each in a worker of its own: for a person who wants to know what each takes.
pub struct OneByOne(Keeper);

impl OneByOne {
    /// Starts what workers come from.
    ///
    /// # Errors
    /// The program cannot be started, or is not one that serves decode workers.
    pub fn start(params: ProcessParams, limits: &DecodeLimits) -> io::Result<Self> {
        Keeper::start(params, limits).map(Self)
    }

    /// Decodes one medium; blocks.
    ///
    /// # Errors
    /// No worker is to be had, or somebody else killed it. The inner one is the medium's.
    pub fn decode(&self, media: &FetchedMedia) -> io::Result<(DecodeResult, Usage)> {
        let mut worker = self.0.worker()?;
        let started = Instant::now();
        let outcome = self.0.decode(&mut worker, media);
        let elapsed = started.elapsed();
        let (result, ended) = match outcome {
            Ok(outcome) => (counted(outcome), worker.end().0),
            Err(no_reply) => {
                let (cause, ended) = end(worker, no_reply, media);
                (Err(cause.reason().ok_or_else(|| io::Error::other("somebody killed the decode worker"))?), ended)
            }
        };
        Ok((result, Usage { elapsed, peak_memory_bytes: ended.map(|ended| ended.max_resident_kib << 10) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_decoder_is_a_counted_decode_error() {
        let panics = Metric::stage_errors(Stage::Decode, "decoder_panicked", false);
        let before = panics.value();
        let result: Guarded<()> = Err(Panicked);
        assert_eq!(counted(result), Err(AbsentReason::DecodeError));
        assert_eq!(panics.value(), before + 1.0);
    }

    fn signal(signal: i32) -> Option<Ended> {
        Some(Ended { signal: Some(signal), max_resident_kib: 0 })
    }

    #[test]
    fn how_a_worker_ended_says_what_its_medium_is_told() {
        let cases = [
            (NoReply::Broken, signal(libc::SIGSEGV), "", Some(AbsentReason::DecodeError)),
            (NoReply::Broken, signal(libc::SIGABRT), "corrupted double-linked list", Some(AbsentReason::DecodeError)),
            (NoReply::Broken, signal(libc::SIGPROF), "", Some(AbsentReason::TooLarge)),
            (
                NoReply::Broken,
                signal(libc::SIGSEGV),
                "memory allocation of 9 bytes failed",
                Some(AbsentReason::TooLarge),
            ),
            (NoReply::Hung, signal(libc::SIGKILL), "", Some(AbsentReason::TooLarge)),
            (NoReply::Nonsense, signal(libc::SIGKILL), "", Some(AbsentReason::DecodeError)),
            (NoReply::Broken, Some(Ended { signal: None, max_resident_kib: 0 }), "", Some(AbsentReason::DecodeError)),
            (NoReply::Broken, None, "", None),
            (NoReply::Broken, signal(libc::SIGKILL), "", None),
            (NoReply::Gone, signal(libc::SIGSEGV), "", None),
        ];
        for (no_reply, ended, last_words, reason) in cases {
            let cause = Cause::of(no_reply, ended, last_words);
            assert_eq!(cause.reason(), reason, "{no_reply:?} {ended:?} {last_words}");
        }
    }
}
