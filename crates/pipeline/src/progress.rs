//! How long a thread has been at what it does. A thread that hangs ends nothing and says nothing; its age does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

/// Time between two beats of an arbiter.
const BEAT_EVERY: Duration = Duration::from_millis(500);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the first call, never 0.
fn now_ms() -> u64 {
    START.elapsed().as_millis() as u64 + 1
}

fn age(since_ms: u64) -> Duration {
    Duration::from_millis(now_ms().saturating_sub(since_ms))
}

/// Since when each of some threads has worked on what it has in hand. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress(Arc<[AtomicU64]>);

impl Progress {
    /// Of so many threads, none of which works.
    pub fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| AtomicU64::new(0)).collect())
    }

    /// A thread has something in hand now, or is at the next part of it; until the work is dropped.
    pub fn begin(&self, thread: usize) -> Work {
        if let Some(since) = self.0.get(thread) {
            since.store(now_ms(), Ordering::Relaxed);
        }
        Work { progress: self.clone(), thread }
    }

    /// Time since the thread that is at it longest began; zero where none works.
    pub fn age(&self) -> Duration {
        let begun = self.0.iter().map(|since| since.load(Ordering::Relaxed)).filter(|since| *since > 0);
        begun.min().map_or(Duration::ZERO, age)
    }

    /// No thread has anything in hand.
    pub fn is_idle(&self) -> bool {
        self.0.iter().all(|since| since.load(Ordering::Relaxed) == 0)
    }
}

/// Something that a thread has in hand.
#[derive(Debug)]
pub struct Work {
    progress: Progress,
    thread: usize,
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(since) = self.progress.0.get(self.thread) {
            since.store(0, Ordering::Relaxed);
        }
    }
}

/// The sign of life of a thread that runs actors: any of them that blocks it stops the beat. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Heartbeat(Arc<AtomicU64>);

impl Default for Heartbeat {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(now_ms())))
    }
}

impl Heartbeat {
    /// Beats, to be spawned on the thread; ends when nobody asks for the age any more.
    pub fn beat(&self) -> impl Future<Output = ()> + Send + 'static {
        let last: Weak<AtomicU64> = Arc::downgrade(&self.0);
        async move {
            while let Some(last) = last.upgrade() {
                last.store(now_ms(), Ordering::Relaxed);
                drop(last);
                tokio::time::sleep(BEAT_EVERY).await;
            }
        }
    }

    /// Time since the last beat: up to half a second where all is well.
    pub fn age(&self) -> Duration {
        age(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_that_of_the_thread_that_is_at_it_longest() {
        let progress = Progress::new(2);
        assert!(progress.is_idle() && progress.age().is_zero());
        let started = Instant::now();
        let first = progress.begin(0);
        std::thread::sleep(Duration::from_millis(30));
        let second = progress.begin(1);
        assert!(progress.age() >= Duration::from_millis(25), "{:?}", progress.age());
        drop(first);
        // Of the second now, which began so much later, however long a crowded machine takes to get here.
        let age = progress.age();
        assert!(age + Duration::from_millis(25) <= started.elapsed() && !progress.is_idle(), "{age:?}");
        drop(second);
        assert!(progress.is_idle());
    }

    #[tokio::test]
    async fn a_thread_that_is_blocked_does_not_beat_and_one_that_is_free_again_does() {
        let heartbeat = Heartbeat::default();
        let beating = tokio::spawn(heartbeat.beat());
        tokio::task::yield_now().await;
        std::thread::sleep(3 * BEAT_EVERY);
        assert!(heartbeat.age() > 2 * BEAT_EVERY, "{:?}", heartbeat.age());
        let beats_again = async {
            while heartbeat.age() > 2 * BEAT_EVERY {
                tokio::time::sleep(BEAT_EVERY / 10).await;
            }
        };
        // However long a crowded machine takes.
        tokio::time::timeout(60 * BEAT_EVERY, beats_again).await.unwrap();
        drop(heartbeat);
        tokio::time::timeout(60 * BEAT_EVERY, beating).await.unwrap().unwrap();
    }
}
