use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::{Demand, FairQueue, Ticket};

/// A [`FairQueue`] to wait at. Cheap to clone; all clones share the places.
#[derive(Debug)]
pub struct Shares<G: Clone + Eq + Hash>(Arc<Mutex<State<G>>>);

#[derive(Debug)]
struct State<G> {
    queue: FairQueue<G>,
    waking: HashMap<Ticket, oneshot::Sender<()>>,
}

/// What was given, or a place in the queue. Given back when dropped.
#[derive(Debug)]
pub struct Share<G: Clone + Eq + Hash> {
    shares: Shares<G>,
    ticket: Ticket,
}

impl<G: Clone + Eq + Hash> Clone for Shares<G> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<G: Clone + Eq + Hash> Shares<G> {
    /// Of the places of `queue`.
    pub fn new(queue: FairQueue<G>) -> Self {
        Self(Arc::new(Mutex::new(State { queue, waking: HashMap::new() })))
    }

    /// What is wanted if it is there, without waiting.
    pub fn try_take(&self, demand: Demand<G>) -> Option<Share<G>> {
        let (ticket, taken) = self.lock().queue.ask(demand, Instant::now());
        let share = Share { shares: self.clone(), ticket };
        // Dropped, it leaves the queue.
        taken.then_some(share)
    }

    /// Waits for what is wanted. Cancellation safe: dropped, it leaves the queue.
    pub async fn take(&self, demand: Demand<G>) -> Share<G> {
        let (share, woken) = {
            let mut state = self.lock();
            let (ticket, taken) = state.queue.ask(demand, Instant::now());
            let share = Share { shares: self.clone(), ticket };
            if taken {
                return share;
            }
            let (wake, woken) = oneshot::channel();
            state.waking.insert(ticket, wake);
            (share, woken)
        };
        // The sender leaves the table only to send, or with this share.
        let _ = woken.await;
        share
    }

    /// Has so many places from now on; what is taken stays taken.
    pub fn resize(&self, capacity: usize) {
        let mut state = self.lock();
        let served = state.queue.resize(capacity, Instant::now());
        state.wake(served);
    }

    pub fn waiting(&self) -> usize {
        self.lock().queue.waiting()
    }

    /// Places that are taken.
    pub fn used(&self) -> usize {
        self.lock().queue.used()
    }

    fn lock(&self) -> MutexGuard<'_, State<G>> {
        // Nothing can panic while it is held but allocation; the queue stays whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<G: Clone + Eq + Hash> Share<G> {
    /// Parts from what it holds of groups and limits, which can then be given back before its place.
    pub fn split(&self) -> Option<Share<G>> {
        let ticket = self.shares.lock().queue.split(self.ticket)?;
        Some(Share { shares: self.shares.clone(), ticket })
    }
}

impl<G: Clone + Eq + Hash> Drop for Share<G> {
    fn drop(&mut self) {
        let mut state = self.shares.lock();
        state.waking.remove(&self.ticket);
        let served = state.queue.leave(self.ticket, Instant::now());
        state.wake(served);
    }
}

impl<G> State<G> {
    fn wake(&mut self, served: Vec<Ticket>) {
        for ticket in served {
            // Whoever has left meanwhile gives it back by that: his share is dropped after this.
            if let Some(wake) = self.waking.remove(&ticket) {
                let _ = wake.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn one(group: &'static str) -> Demand<&'static str> {
        Demand::place_of(vec![group])
    }

    #[tokio::test]
    async fn who_stops_waiting_leaves_the_queue_also_when_it_was_served_meanwhile() {
        let shares = Shares::new(FairQueue::new(1));
        let held = shares.take(one("a")).await;
        let mut left = Box::pin(shares.take(one("b")));
        let mut stays = pin!(shares.take(one("c")));
        assert!(poll(left.as_mut()).is_none() && poll(stays.as_mut()).is_none());
        assert!(shares.try_take(one("d")).is_none());
        assert_eq!(shares.waiting(), 2, "asking without waiting leaves nothing behind");
        drop(held);
        // It has the place and was never polled again.
        drop(left);
        let share = poll(stays).unwrap();
        assert_eq!((shares.waiting(), shares.used()), (0, 1));
        drop(share);
        assert_eq!(shares.used(), 0);
        assert!(shares.lock().waking.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_tasks_that_come_go_and_give_up_never_exceed_the_places_and_all_are_served() {
        const PLACES: usize = 3;
        let shares = Shares::new(FairQueue::new(PLACES));
        let inside = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..300usize)
            .map(|number| {
                let (shares, inside) = (shares.clone(), Arc::clone(&inside));
                tokio::spawn(async move {
                    let taking = shares.take(Demand::place_of(vec![number % 7]));
                    let patience = std::time::Duration::from_micros(if number % 3 == 0 { 200 } else { 60_000_000 });
                    let Ok(share) = tokio::time::timeout(patience, taking).await else { return false };
                    assert!(inside.fetch_add(1, SeqCst) < PLACES);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, SeqCst);
                    drop(share);
                    true
                })
            })
            .collect();
        let mut served = 0;
        for (number, task) in tasks.into_iter().enumerate() {
            let was_served = task.await.unwrap();
            served += usize::from(was_served);
            assert!(was_served || number % 3 == 0, "a lost wake-up");
        }
        assert!(served >= 200);
        assert_eq!((shares.waiting(), shares.used()), (0, 0));
    }
}
