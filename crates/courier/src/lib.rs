//! Answers that come from threads outside a runtime: those of device threads, and of the Kafka client.
//!
//! Waking a task of a single-threaded runtime from another thread costs a system call each time, whether or not that runtime
//! is about to look anyway. A batch of 32 answers, each with a channel of its own, makes 32 of them. A [`Courier`]
//! takes the answers of all posts to the thread where they are waited for in one queue and hands them out there, so that those
//! that come together wake it once.

use std::cell::RefCell;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Parcels that are opened before others of the thread get their turn.
const PARCELS_PER_TURN: usize = 64;

/// What is carried. Opening it sends an answer, which must take next to no time.
pub trait Parcel: Send {
    /// Called on the thread where the courier lives; elsewhere if that thread's runtime has ended.
    fn open(self: Box<Self>);
}

/// Carries parcels to the runtime that it was made in. Cheap to clone. Its queue holds no more than the answers that are
/// waited for: what bounds the questions bounds it.
#[derive(Debug, Clone)]
pub struct Courier(Option<UnboundedSender<Box<dyn Parcel>>>);

thread_local! {
    /// Of the runtime that ran on this thread last.
    static OF_THIS_THREAD: RefCell<Option<UnboundedSender<Box<dyn Parcel>>>> = const { RefCell::new(None) };
}

impl Courier {
    /// The courier to this thread, one for all callers. Outside a runtime it is one that opens parcels wherever they are
    /// given to it.
    pub fn here() -> Self {
        let Ok(runtime) = Handle::try_current() else { return Self(None) };
        let kept = OF_THIS_THREAD.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            // A new runtime may run on the thread of one that has ended.
            let sender = kept.take().filter(|sender| !sender.is_closed());
            let sender = sender.unwrap_or_else(|| {
                let (sender, parcels) = unbounded_channel();
                runtime.spawn(hand_out(parcels));
                sender
            });
            *kept = Some(sender.clone());
            sender
        });
        // A thread that ends has none any more.
        Self(kept.ok())
    }

    /// Hands a parcel over; from any thread, without waiting.
    pub fn carry(&self, parcel: Box<dyn Parcel>) {
        match &self.0 {
            None => parcel.open(),
            Some(sender) => {
                if let Err(unsent) = sender.send(parcel) {
                    unsent.0.open();
                }
            }
        }
    }

    /// Whether both lead to the same queue.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => one.same_channel(other),
            (None, None) => true,
            _ => false,
        }
    }
}

async fn hand_out(mut parcels: UnboundedReceiver<Box<dyn Parcel>>) {
    let mut turn = Vec::with_capacity(PARCELS_PER_TURN);
    while parcels.recv_many(&mut turn, PARCELS_PER_TURN).await > 0 {
        turn.drain(..).for_each(Parcel::open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};
    use tokio::sync::oneshot;

    struct Answer(oneshot::Sender<std::thread::ThreadId>);

    impl Parcel for Answer {
        fn open(self: Box<Self>) {
            let _ = self.0.send(std::thread::current().id());
        }
    }

    fn single_threaded() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn parcels_are_opened_on_the_thread_where_the_courier_was_made() {
        let opened = single_threaded().block_on(async {
            let courier = Courier::here();
            let answers = (0..100).map(|_| {
                let (sender, answer) = oneshot::channel();
                let courier = courier.clone();
                std::thread::spawn(move || courier.carry(Box::new(Answer(sender))));
                answer
            });
            futures::future::join_all(answers.collect::<Vec<_>>()).await
        });
        assert!(opened.into_iter().all(|thread| thread.unwrap() == std::thread::current().id()));
    }

    /// Counts how often the runtime would be woken.
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn parcels_that_come_together_wake_the_thread_once() {
        let (sender, parcels) = unbounded_channel::<Box<dyn Parcel>>();
        let courier = Courier(Some(sender));
        let wakes = Arc::new(Counting(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&wakes));
        let mut handing_out = Box::pin(hand_out(parcels));
        assert!(handing_out.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let answers: Vec<_> = (0..500)
            .map(|_| {
                let (sender, answer) = oneshot::channel();
                courier.carry(Box::new(Answer(sender)));
                answer
            })
            .collect();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        // As tokio's budget lets it: a few turns.
        for _ in 0..50 {
            let _ = handing_out.as_mut().poll(&mut Context::from_waker(&waker));
        }
        assert!(answers.into_iter().all(|mut answer| answer.try_recv().is_ok()));
    }

    #[test]
    fn what_comes_after_the_end_of_the_runtime_is_opened_all_the_same() {
        let courier = single_threaded().block_on(async { Courier::here() });
        for courier in [courier, Courier::here()] {
            let (sender, mut answer) = oneshot::channel();
            courier.carry(Box::new(Answer(sender)));
            assert_eq!(answer.try_recv().unwrap(), std::thread::current().id());
        }
        let next = single_threaded();
        let (sender, answer) = oneshot::channel();
        let courier = next.block_on(async { Courier::here() });
        std::thread::spawn(move || courier.carry(Box::new(Answer(sender)))).join().unwrap();
        assert!(next.block_on(answer).is_ok(), "the next runtime on a thread has a courier of its own");
    }
}
