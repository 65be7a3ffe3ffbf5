//! The byte budget of media in flight (ADR 24), to wait at: a body takes its bytes as they come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jtav_telemetry::{Metric, ShareKind};
use tokio::sync::oneshot;

use super::bank::{Account, Bank};

/// Bytes that a body takes ahead of what has come: one step for many pieces.
const STEP_BYTES: usize = 128 << 10;

/// Bytes that media may hold together. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ByteBudget(Arc<Mutex<State>>);

struct State {
    bank: Bank,
    waking: HashMap<Account, oneshot::Sender<()>>,
}

/// A body's share of the budget, given back when it is dropped.
pub(crate) struct Reservation {
    budget: ByteBudget,
    account: Account,
    most: usize,
}

impl ByteBudget {
    /// `bytes` for media of at most `cap`, of which `bodies` are downloaded at once at most.
    pub(crate) fn new(bytes: u32, cap: u32, bodies: usize) -> Self {
        let bank = Bank::new(bytes.into(), cap.into(), bodies as u64);
        Self(Arc::new(Mutex::new(State { bank, waking: HashMap::new() })))
    }

    /// An empty share for a body of at most `most` bytes.
    pub(crate) fn open(&self, most: usize) -> Reservation {
        let account = self.lock().bank.open(most as u64);
        Reservation { budget: self.clone(), account, most }
    }

    /// The whole share of a medium that is at hand. Cancellation safe.
    pub(crate) async fn reserve(&self, bytes: usize) -> Reservation {
        let mut reservation = self.open(bytes);
        reservation.grow_to(bytes).await;
        reservation.finish(bytes);
        reservation
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while it is held but allocation; the books stay whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the books, and wakes who is served by that.
    fn change(&self, change: impl FnOnce(&mut Bank) -> Vec<Account>) {
        let mut state = self.lock();
        let before = state.bank.total();
        for served in change(&mut state.bank) {
            if let Some(wake) = state.waking.remove(&served) {
                let _ = wake.send(());
            }
        }
        count(before, state.bank.total());
    }
}

fn count(before: u64, after: u64) {
    if before != after {
        Metric::in_flight_bytes().shift(after as f64 - before as f64);
    }
}

impl Reservation {
    /// It has become known that the body has no more than `most` bytes.
    pub(crate) fn expect(&mut self, most: usize) {
        self.most = most.min(self.most);
        let most = self.most as u64;
        self.budget.change(|bank| bank.expect(self.account, most));
    }

    /// Waits until it holds at least `bytes`. Cancellation safe: it holds what it held before, or that.
    pub(crate) async fn grow_to(&mut self, bytes: usize) {
        if bytes as u64 <= self.bytes() {
            return;
        }
        let Some(woken) = self.ask(bytes) else { return };
        let waiting = Waiting { reservation: self, since: Instant::now() };
        // The sender leaves the table only to send, or with who waits.
        let _ = woken.await;
        drop(waiting);
    }

    fn ask(&mut self, bytes: usize) -> Option<oneshot::Receiver<()>> {
        let ahead = bytes.next_multiple_of(STEP_BYTES).min(self.most.max(bytes)) as u64;
        let mut state = self.budget.lock();
        let before = state.bank.total();
        let mut is_held = state.bank.ask(self.account, ahead);
        if !is_held {
            // Without the step then.
            state.bank.withdraw(self.account);
            is_held = state.bank.ask(self.account, bytes as u64);
        }
        count(before, state.bank.total());
        if is_held {
            return None;
        }
        let (wake, woken) = oneshot::channel();
        state.waking.insert(self.account, wake);
        Some(woken)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.budget.lock().bank.held(self.account)
    }

    /// The body has ended: gives back what it did not need.
    pub(crate) fn finish(&mut self, bytes: usize) {
        self.budget.change(|bank| bank.finish(self.account, bytes as u64));
    }
}

/// Leaves the queue when it is dropped.
struct Waiting<'a> {
    reservation: &'a Reservation,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.reservation.budget.lock();
        state.waking.remove(&self.reservation.account);
        state.bank.withdraw(self.reservation.account);
        Metric::share_wait_seconds(ShareKind::Bytes).observe(self.since.elapsed().as_secs_f64());
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.change(|bank| bank.close(self.account));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn shares_never_exceed_the_budget_and_come_back_when_dropped() {
        let budget = ByteBudget::new(100, 100, 1);
        let first = budget.reserve(70).await;
        assert!(budget.reserve(31).now_or_never().is_none());
        assert_eq!(budget.lock().bank.total(), 70, "whoever gives up holds nothing");
        let second = budget.reserve(30).await;
        assert!(budget.reserve(1).now_or_never().is_none());
        drop((first, second));
        assert_eq!(budget.reserve(100).await.bytes(), 100);
    }

    #[tokio::test]
    async fn a_body_holds_what_has_come_and_a_step_and_in_the_end_what_it_is() {
        let budget = ByteBudget::new(8 << 20, 4 << 20, 1);
        let mut body = budget.open(4 << 20);
        body.grow_to(1).await;
        assert_eq!(body.bytes(), STEP_BYTES as u64);
        body.grow_to(STEP_BYTES + 1).await;
        assert_eq!(body.bytes(), 2 * STEP_BYTES as u64);
        body.expect(2 * STEP_BYTES + 5);
        body.grow_to(2 * STEP_BYTES + 3).await;
        assert_eq!(body.bytes(), 2 * STEP_BYTES as u64 + 5, "no more than it can be");
        body.finish(7);
        assert_eq!((body.bytes(), budget.lock().bank.total()), (7, 7));
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_what_is_given_back() {
        let budget = ByteBudget::new(100, 100, 1);
        let held = budget.reserve(70).await;
        let mut waiting = Box::pin(budget.reserve(50));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        assert_eq!(waiting.await.bytes(), 50);
        assert!(budget.lock().waking.is_empty());
    }
}
