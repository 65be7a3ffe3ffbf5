//! Whether the actors of a generation and their threads are well: an end is told, a hang is an answer that does not come.

use std::time::Duration;

use actix_rt::Arbiter;
use jtav_pipeline::{Ends, Heartbeat};

/// What stands for what shares the system's thread: the actor of decoding, and the supervisor.
pub const SHARED_THREAD: &str = "actors";

/// How the boxes of a generation fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxFailure {
    /// An actor has ended: a panic in it or the end of its thread closes its mailbox, and whoever asks it gets errors.
    Ended(&'static str),
    /// The thread of one does not answer any more.
    Hung(&'static str),
}

/// Resolves when an actor has ended, or a thread that new boxes do without has not answered for `hung_after`. Cancellation
/// safe.
pub(crate) async fn failed(ends: &Ends, beats: &Beats, hung_after: Duration) -> BoxFailure {
    tokio::select! {
        biased;
        actor = ends.first() => BoxFailure::Ended(actor),
        thread = beats.hung(hung_after) => BoxFailure::Hung(thread),
    }
}

/// Signs of life of the threads that run actors.
#[derive(Clone, Default)]
pub struct Beats {
    /// Of the lanes' threads, where the actors of encoders, fusion and publisher run too. Posts live there: one that hangs
    /// keeps theirs, with permits and guards, for good.
    lanes: Vec<Heartbeat>,
    /// Of the thread of downloads, which new boxes do without.
    fetch: Heartbeat,
    /// Of the thread that runs everything else, the supervisor too.
    shared: Heartbeat,
}

impl Beats {
    pub(crate) fn start(lanes: &[Arbiter], fetch: &Arbiter) -> Self {
        let beats = Self { lanes: lanes.iter().map(|_| Heartbeat::default()).collect(), ..Self::default() };
        for (heartbeat, arbiter) in beats.lanes.iter().zip(lanes) {
            arbiter.spawn(heartbeat.beat());
        }
        fetch.spawn(beats.fetch.beat());
        actix_rt::spawn(beats.shared.beat());
        beats
    }

    /// Time since each thread last answered.
    pub fn ages(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let lanes = self.lanes.iter().map(|heartbeat| ("router", heartbeat.age()));
        lanes.chain([("fetch", self.fetch.age()), (SHARED_THREAD, self.shared.age())])
    }

    /// Resolves when a thread that new boxes do without has not answered for so long; looks when that may first be so.
    async fn hung(&self, after: Duration) -> &'static str {
        loop {
            let age = self.fetch.age();
            if age > after {
                return "fetch";
            }
            tokio::time::sleep(after.saturating_sub(age) + Duration::from_millis(1)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[actix_rt::test]
    async fn an_end_is_told_at_once_and_a_hang_when_its_time_is_over() {
        let (fetch, ends) = (Arbiter::new(), Ends::default());
        let beats = Beats::start(&[], &fetch);
        let lifeline = ends.lifeline("fusion");
        let hung_after = Duration::from_millis(1_500);
        let well = tokio::time::timeout(Duration::from_millis(1_800), failed(&ends, &beats, hung_after)).await;
        assert!(well.is_err(), "it beats: {well:?}");
        fetch.spawn_fn(|| std::thread::sleep(Duration::from_secs(4)));
        let started = Instant::now();
        assert_eq!(failed(&ends, &beats, hung_after).await, BoxFailure::Hung("fetch"));
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        drop(lifeline);
        assert_eq!(failed(&ends, &beats, hung_after).await, BoxFailure::Ended("fusion"));
        fetch.stop();
    }
}
