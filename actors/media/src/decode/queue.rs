//! What waits for a decode worker, and whose turn it is.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jtav_delivery::{Demand, FairQueue, Ticket};

/// What an account has used counts half after this. Seconds of a worker, and media that are being decoded count alike.
const HALF_LIFE: Duration = Duration::from_secs(10);

/// Jobs by the account that pays for them: the next one is of the account that has used the least of the workers lately.
/// Cheap to clone.
pub(crate) struct JobQueue<J>(Arc<Shared<J>>);

struct Shared<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
}

struct State<J> {
    turns: FairQueue<Arc<str>>,
    /// Those that wait for their turn, or for a worker to take it.
    jobs: HashMap<Ticket, J>,
    /// Whose turn it is.
    ready: VecDeque<Ticket>,
    max_queued: usize,
    closed: bool,
}

/// A job's place in the queue; dropped, it takes the job out unless a worker has it.
pub(crate) struct Place<J> {
    queue: JobQueue<J>,
    ticket: Ticket,
}

/// A job that a worker has, and the worker's turn; dropped when the worker is ready for the next.
pub(crate) struct Turn<J> {
    queue: JobQueue<J>,
    ticket: Ticket,
    account: Option<Arc<str>>,
    since: Instant,
}

impl<J> Clone for JobQueue<J> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<J> JobQueue<J> {
    /// For so many workers.
    pub(crate) fn new(workers: usize, max_queued: usize) -> Self {
        let turns = FairQueue::new(workers).remembering(HALF_LIFE);
        let state = State { turns, jobs: HashMap::new(), ready: VecDeque::new(), max_queued, closed: false };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// Queues a job; gives it back if the queue is full.
    pub(crate) fn push(&self, account: Option<Arc<str>>, job: J) -> Result<Place<J>, J> {
        let mut state = self.lock();
        if state.jobs.len() >= state.max_queued {
            return Err(job);
        }
        let (ticket, is_next) = state.turns.ask(Demand::place_of(account.into_iter().collect()), Instant::now());
        state.jobs.insert(ticket, job);
        state.call(is_next.then_some(ticket));
        drop(state);
        self.0.changed.notify_one();
        Ok(Place { queue: self.clone(), ticket })
    }

    /// The next job, waiting for one. None when the queue is closed and empty.
    pub(crate) fn next(&self, account: impl Fn(&J) -> Option<Arc<str>>) -> Option<(J, Turn<J>)> {
        let mut state = self.lock();
        loop {
            if let Some(ticket) = state.ready.pop_front() {
                if let Some(job) = state.jobs.remove(&ticket) {
                    let turn = Turn { queue: self.clone(), ticket, account: account(&job), since: Instant::now() };
                    return Some((job, turn));
                }
            } else if state.closed {
                return None;
            } else {
                state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Nobody will push any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        // Nothing can panic while it is held but allocation; the queue stays whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> State<J> {
    fn leave(&mut self, ticket: Ticket) {
        let next = self.turns.leave(ticket, Instant::now());
        self.call(next);
    }

    fn call(&mut self, tickets: impl IntoIterator<Item = Ticket>) {
        self.ready.extend(tickets);
    }
}

impl<J> Drop for Place<J> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        // A worker that has it gives the turn back itself.
        let Some(job) = state.jobs.remove(&self.ticket) else { return };
        state.ready.retain(|ticket| *ticket != self.ticket);
        state.leave(self.ticket);
        drop(state);
        self.queue.0.changed.notify_all();
        drop(job);
    }
}

impl<J> Drop for Turn<J> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        if let Some(account) = &self.account {
            state.turns.charge(account, self.since.elapsed().as_secs_f64(), Instant::now());
        }
        state.leave(self.ticket);
        drop(state);
        self.queue.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Job = (&'static str, u32);

    fn account(job: &Job) -> Option<Arc<str>> {
        Some(job.0.into())
    }

    fn push(queue: &JobQueue<Job>, job: Job) -> Place<Job> {
        queue.push(account(&job), job).ok().unwrap()
    }

    #[test]
    fn an_author_with_a_hundred_media_waits_behind_one_with_a_single_one() {
        let queue = JobQueue::new(1, 1_000);
        let _flood: Vec<_> = (0..100).map(|number| push(&queue, ("flood", number))).collect();
        let (first, turn) = queue.next(account).unwrap();
        assert_eq!(first, ("flood", 0));
        let _single = push(&queue, ("single", 0));
        std::thread::sleep(Duration::from_millis(5));
        drop(turn);
        let (second, turn) = queue.next(account).unwrap();
        assert_eq!(second, ("single", 0));
        drop(turn);
        assert_eq!(queue.next(account).unwrap().0, ("flood", 1));
    }

    #[test]
    fn a_job_whose_asker_has_gone_is_taken_out_and_its_turn_goes_on() {
        let queue = JobQueue::new(1, 2);
        let gone = push(&queue, ("a", 1));
        let _stays = push(&queue, ("b", 2));
        assert!(queue.push(None, ("c", 3)).is_err(), "full");
        drop(gone);
        let (job, turn) = queue.next(account).unwrap();
        assert_eq!(job, ("b", 2));
        queue.close();
        drop(turn);
        assert!(queue.next(account).is_none());
        assert_eq!(queue.lock().turns.used(), 0);
    }

    #[test]
    fn many_threads_take_every_job_once_however_many_askers_go() {
        let queue = JobQueue::<Job>::new(4, 10_000);
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let queue = queue.clone();
                std::thread::spawn(move || std::iter::from_fn(|| queue.next(account).map(|next| next.0.1)).collect())
            })
            .collect();
        let mut places = Vec::new();
        for number in 0..2_000 {
            let place = push(&queue, (["a", "b", "c"][number as usize % 3], number));
            if number % 2 == 0 { drop(place) } else { places.push(place) }
        }
        queue.close();
        let mut taken: Vec<u32> =
            workers.into_iter().flat_map(|worker| -> Vec<u32> { worker.join().unwrap() }).collect();
        taken.sort_unstable();
        assert!(taken.windows(2).all(|pair| pair[0] < pair[1]), "one twice");
        assert_eq!(taken.iter().filter(|number| *number % 2 == 1).count(), 1_000, "none that is wanted is lost");
    }
}
