//! Whether the store answers, asked once a second and remembered, so that a question to `/readyz` costs it nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jtav_store::Store;

/// From one answer to the next question.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// An answer older than this says nothing about now: whoever asks is stuck.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// The last answer of the store.
#[derive(Default)]
pub struct StoreWatch(Mutex<Option<Answer>>);

struct Answer {
    at: Instant,
    failure: Option<String>,
}

impl StoreWatch {
    /// Asks for ever. Cancellation safe: what was answered last stays.
    pub async fn ask(&self, store: &dyn Store) {
        loop {
            let failure = match tokio::time::timeout(PATIENCE, store.ping()).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("store: {error}")),
                Err(_) => Some("store: no answer".to_owned()),
            };
            self.note(Instant::now(), failure);
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    fn note(&self, at: Instant, failure: Option<String>) {
        *self.lock() = Some(Answer { at, failure });
    }

    /// Why the store cannot be counted on at `now`, if it cannot.
    pub fn problem(&self, now: Instant) -> Option<String> {
        match &*self.lock() {
            None => Some("store: not asked yet".to_owned()),
            Some(answer) => {
                let age = now.saturating_duration_since(answer.at);
                let stale = || format!("store: not asked for {} s", age.as_secs());
                answer.failure.clone().or_else(|| (age > STALE_AFTER).then(stale))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt as _;
    use futures::future::{BoxFuture, pending, ready};
    use jtav_store::{Applied, Found, LabelWrite, Standing, StoreError, StoredLabel};

    use super::*;

    /// Counts questions; answers the first `good` of them and then is silent.
    #[derive(Default)]
    struct Counted {
        asked: Arc<AtomicUsize>,
        good: usize,
    }

    impl Store for Counted {
        fn apply(&self, _: &LabelWrite) -> BoxFuture<'static, Result<Applied, StoreError>> {
            pending().boxed()
        }
        fn erase(&self, _: &str, _: u64, _: Duration) -> BoxFuture<'static, Result<u32, StoreError>> {
            pending().boxed()
        }
        fn read(&self, _: &str, _: &str) -> BoxFuture<'static, Result<Option<StoredLabel>, StoreError>> {
            pending().boxed()
        }
        fn standing(&self, _: &str, _: &str) -> BoxFuture<'static, Result<Standing, StoreError>> {
            pending().boxed()
        }
        fn look_up(
            &self,
            _: &[String],
            _: Option<&str>,
        ) -> BoxFuture<'static, Result<Vec<Result<Found, StoreError>>, StoreError>> {
            pending().boxed()
        }
        fn is_erased(&self, _: &str) -> BoxFuture<'static, Result<bool, StoreError>> {
            pending().boxed()
        }
        fn ping(&self) -> BoxFuture<'static, Result<(), StoreError>> {
            if self.asked.fetch_add(1, Ordering::SeqCst) < self.good {
                ready(Ok(())).boxed()
            } else {
                pending().boxed()
            }
        }
    }

    #[tokio::test]
    async fn a_thousand_questions_about_readiness_are_none_to_the_store_and_silence_is_noticed() {
        let watch = StoreWatch::default();
        let store = Counted { good: 1, ..Counted::default() };
        assert_eq!(watch.problem(Instant::now()).as_deref(), Some("store: not asked yet"));
        let asking = watch.ask(&store);
        tokio::pin!(asking);
        assert!(asking.as_mut().now_or_never().is_none());
        for _ in 0..1_000 {
            assert_eq!(watch.problem(Instant::now()), None);
        }
        assert_eq!(store.asked.load(Ordering::SeqCst), 1);
        assert!(tokio::time::timeout(Duration::from_millis(2_500), asking).await.is_err());
        assert_eq!(watch.problem(Instant::now()).as_deref(), Some("store: no answer"));
    }

    #[test]
    fn an_answer_that_is_too_old_is_none() {
        let watch = StoreWatch::default();
        let at = Instant::now();
        watch.note(at, None);
        assert_eq!(watch.problem(at + STALE_AFTER), None);
        assert_eq!(watch.problem(at + Duration::from_secs(11)).as_deref(), Some("store: not asked for 11 s"));
        watch.note(at, Some("store: refused".to_owned()));
        assert_eq!(watch.problem(at).as_deref(), Some("store: refused"));
    }
}
