//! The last events, in memory, for every reader of the stream. Readers are woken in batches and take what they want under a
//! lock that is held for as long as a few hundred of them are looked at; a reader that is slow costs the others nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::watch;

use super::Event;
use crate::filter::Filter;
use crate::positions::Positions;

/// Events that one look passes at most.
const LOOK_AT: usize = 512;

/// Bytes from which no further event is taken along.
const PIECE_BYTES: usize = 64 << 10;

/// The last events of the sentiment topic, in the order in which they were read.
pub struct Recent {
    inner: RwLock<Inner>,
    capacity: usize,
    head: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<Arc<Event>>,
    /// Number of the first of `events`.
    first: u64,
    /// From here on, by partition, every event is in `events`.
    covered: Positions,
    /// After the last record that was read.
    head: Positions,
    /// Numbers of what is held of a post, in order; labels that were taken back are not among them.
    of_post: HashMap<String, VecDeque<u64>>,
}

/// Where a reader stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Cursor {
    /// Number of the next event.
    number: u64,
    /// By partition; events before it are passed over.
    pub positions: Positions,
}

/// How a reader that comes back goes on.
#[derive(Debug, PartialEq)]
pub enum Resume {
    /// From memory.
    Memory(Cursor),
    /// First from the topic: what lies between its position and `until`; then it asks again.
    Log {
        /// Not included.
        until: Positions,
    },
}

/// What a look came to.
#[derive(Debug, Default)]
pub struct Taken {
    /// What is wanted, in order, each with the position after it.
    pub events: Vec<(Arc<Event>, Positions)>,
    /// There is more to look at.
    pub has_more: bool,
    /// The reader was so slow that events it has not seen are gone; it has to come back by its position.
    pub is_lost: bool,
}

impl Recent {
    /// Holds so many events.
    pub fn new(capacity: usize) -> Self {
        Self { inner: RwLock::default(), capacity: capacity.max(1), head: watch::channel(0).0 }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything and stands here: events follow from these positions on.
    pub fn start(&self, positions: Positions) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.first += inner.events.len() as u64;
        inner.events.clear();
        inner.of_post.clear();
        (inner.covered, inner.head) = (positions.clone(), positions);
    }

    /// Adds an event. Readers are not woken: [`Self::wake`] does. An erasure takes back the labels of its post that are held: who
    /// comes later is not told of them any more.
    pub fn push(&self, event: Event) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.head.pass(event.partition, event.offset);
        inner.covered.0.entry(event.partition).or_insert(event.offset);
        if event.label().is_none() {
            inner.take_back(&event.post_id);
        }
        let number = inner.next();
        inner.of_post.entry(event.post_id.clone()).or_default().push_back(number);
        inner.events.push_back(Arc::new(event));
        while inner.events.len() > self.capacity {
            inner.forget_first();
        }
    }

    /// Whether the post of a label from the topic is known to have been erased after it.
    pub fn is_erased_after(&self, label: &Event) -> bool {
        let inner = self.read();
        let held = inner.of_post.get(&label.post_id).into_iter().flatten();
        held.filter_map(|number| inner.event(*number))
            .any(|event| event.label().is_none() && event.partition == label.partition && event.offset > label.offset)
    }

    /// Passes a record that is no event.
    pub fn pass(&self, partition: i32, offset: i64) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.covered.0.entry(partition).or_insert(offset);
        inner.head.pass(partition, offset);
    }

    /// Wakes all who wait for what was pushed.
    pub fn wake(&self) {
        let next = self.read().next();
        self.head.send_if_modified(|head| std::mem::replace(head, next) != next);
    }

    /// Tells of new events.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// After the last record that was read.
    pub fn head(&self) -> Positions {
        self.read().head.clone()
    }

    /// A reader that wants what comes from now on, after up to `recent` wanted events from before.
    pub fn live(&self, filter: &Filter, recent: usize) -> Cursor {
        let inner = self.read();
        let mut number = inner.next();
        let mut left = recent;
        for event in inner.events.iter().rev() {
            if left == 0 {
                break;
            }
            number -= 1;
            left -= usize::from(event.is_wanted(filter));
        }
        let mut positions = inner.covered.clone();
        for event in inner.events.iter().take((number - inner.first) as usize) {
            positions.pass(event.partition, event.offset);
        }
        if number == inner.next() {
            positions = inner.head.clone();
        }
        Cursor { number, positions }
    }

    /// A reader that comes back with the position of the last event that it saw.
    pub fn resume(&self, positions: &Positions) -> Resume {
        let inner = self.read();
        let is_held = inner.covered.0.iter().all(|(partition, from)| positions.next(*partition) >= *from);
        if is_held {
            return Resume::Memory(Cursor { number: inner.first, positions: positions.clone() });
        }
        Resume::Log { until: inner.head.clone() }
    }

    /// The next wanted events, up to `most` of them and until they have `PIECE_BYTES`; moves the cursor behind them.
    pub fn take(&self, cursor: &mut Cursor, filter: &Filter, most: usize) -> Taken {
        let inner = self.read();
        if cursor.number < inner.first {
            return Taken { is_lost: true, ..Taken::default() };
        }
        let (mut taken, mut bytes) = (Taken::default(), 0);
        let start = (cursor.number - inner.first) as usize;
        for event in inner.events.iter().skip(start).take(LOOK_AT) {
            if taken.events.len() >= most || bytes >= PIECE_BYTES {
                break;
            }
            cursor.number += 1;
            if event.offset < cursor.positions.next(event.partition) {
                continue;
            }
            cursor.positions.pass(event.partition, event.offset);
            if event.is_wanted(filter) {
                bytes += event.data.len();
                taken.events.push((Arc::clone(event), cursor.positions.clone()));
            }
        }
        taken.has_more = cursor.number < inner.next();
        taken
    }
}

impl Inner {
    fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn event(&self, number: u64) -> Option<&Arc<Event>> {
        self.events.get(number.checked_sub(self.first)? as usize)
    }

    /// Each label is taken back once, so the cost is that of having pushed it.
    fn take_back(&mut self, post_id: &str) {
        for number in self.of_post.remove(post_id).into_iter().flatten() {
            if let Some(event) = self.events.get_mut((number - self.first) as usize) {
                *event = Arc::new(event.taken_back());
            }
        }
    }

    fn forget_first(&mut self) {
        let Some(gone) = self.events.pop_front() else { return };
        self.covered.pass(gone.partition, gone.offset);
        if let Some(held) = self.of_post.get_mut(&gone.post_id)
            && held.front() == Some(&self.first)
        {
            held.pop_front();
            if held.is_empty() {
                self.of_post.remove(&gone.post_id);
            }
        }
        self.first += 1;
    }
}

#[cfg(test)]
#[path = "recent_tests.rs"]
mod tests;
