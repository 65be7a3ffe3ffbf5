//! Streams that are open, in all and for each reader.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jtav_telemetry::Metric;

use crate::guard::Reader;

/// A bounded number of seats.
pub struct Seats {
    most: usize,
    most_each: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_reader: HashMap<Reader, usize>,
}

/// One seat; free again when dropped.
pub struct Seat {
    seats: Arc<Seats>,
    reader: Reader,
}

impl Seats {
    /// So many in all, and for each reader.
    pub fn new(most: usize, most_each: usize) -> Arc<Self> {
        Arc::new(Self { most, most_each, taken: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat, if one is free.
    pub fn take(self: &Arc<Self>, reader: Reader) -> Option<Seat> {
        let mut taken = self.lock();
        if taken.all >= self.most || taken.by_reader.get(&reader).is_some_and(|own| *own >= self.most_each) {
            return None;
        }
        taken.all += 1;
        *taken.by_reader.entry(reader.clone()).or_default() += 1;
        Metric::stream_readers().set(taken.all as f64);
        Some(Seat { seats: Arc::clone(self), reader })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.all -= 1;
        let left = taken.by_reader.get_mut(&self.reader).map(|own| {
            *own -= 1;
            *own
        });
        if left == Some(0) {
            taken.by_reader.remove(&self.reader);
        }
        Metric::stream_readers().set(taken.all as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reader_cannot_take_every_seat_and_a_seat_that_is_left_is_free() {
        let seats = Seats::new(3, 2);
        let reader = |name: &str| Reader::Key(name.to_owned());
        let first = seats.take(reader("a")).unwrap();
        let _second = seats.take(reader("a")).unwrap();
        assert!(seats.take(reader("a")).is_none());
        let _third = seats.take(reader("b")).unwrap();
        assert!(seats.take(reader("c")).is_none());
        drop(first);
        assert!(seats.take(reader("a")).is_some());
        let taken = seats.lock();
        assert_eq!((taken.all, taken.by_reader.len()), (2, 1));
    }
}
