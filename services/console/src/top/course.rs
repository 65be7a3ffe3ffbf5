//! What a worker has said, as far as rates need it. Pure: times come from outside.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::figures::Figures;
use super::scrape::Scrape;

/// Rates are over a window of this length, or up to twice as long.
const WINDOW: Duration = Duration::from_millis(2_500);
/// Rates that are kept for their course.
const MAX_RATES: usize = 240;
const RECEIVED: &str = "jtav_ingest_records_total";

/// One worker.
#[derive(Debug, Clone)]
pub struct Worker {
    /// As it was named, made visible.
    pub name: String,
    /// What is known of it.
    pub state: State,
    /// Posts a second from one answer to the next, oldest first.
    pub rates: VecDeque<f64>,
    /// Answers that rates begin at, oldest first: two at most.
    anchors: VecDeque<(Instant, Arc<Scrape>)>,
    last: Option<(Instant, f64)>,
}

/// What is known of a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It has not been asked yet.
    Waiting,
    /// It does not answer, and why.
    Away(String),
    /// It answers.
    Here(Box<Figures>),
}

impl Worker {
    pub fn new(name: String) -> Self {
        Self { name, state: State::Waiting, rates: VecDeque::new(), anchors: VecDeque::new(), last: None }
    }

    pub fn figures(&self) -> Option<&Figures> {
        match &self.state {
            State::Here(figures) => Some(figures),
            State::Waiting | State::Away(_) => None,
        }
    }

    /// Takes an answer that began to be read at `at`, or why there is none.
    pub fn take(&mut self, at: Instant, answer: Result<Scrape, String>) {
        let scrape = match answer {
            Ok(scrape) => Arc::new(scrape),
            Err(why) => {
                // Rates over a time that nobody saw would be of no time at all.
                (self.state, self.last) = (State::Away(why), None);
                self.anchors.clear();
                return;
            }
        };
        let received = scrape.sum(RECEIVED, &[]);
        if let Some((before, count)) = self.last.replace((at, received)) {
            let seconds = at.saturating_duration_since(before).as_secs_f64();
            let rise = if received < count { received } else { received - count };
            self.rates.push_back(if seconds > 0.0 { rise / seconds } else { 0.0 });
            if self.rates.len() > MAX_RATES {
                self.rates.pop_front();
            }
        }
        let old = self.anchors.front();
        let window = old.map_or(Duration::ZERO, |(before, _)| at.saturating_duration_since(*before));
        self.state = State::Here(Box::new(Figures::of(old.map(|(_, scrape)| &**scrape), &scrape, window)));
        if self.anchors.back().is_none_or(|(before, _)| at.saturating_duration_since(*before) >= WINDOW) {
            self.anchors.push_back((at, scrape));
            if self.anchors.len() > 2 {
                self.anchors.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(received: u64) -> Result<Scrape, String> {
        Scrape::read(&format!("{RECEIVED}{{partition=\"0\"}} {received}\n"))
    }

    fn rate(worker: &Worker) -> f64 {
        worker.figures().unwrap().received.per_second
    }

    #[test]
    fn rates_are_over_some_seconds_and_little_is_kept_for_them() {
        let (mut worker, start) = (Worker::new("a".to_owned()), Instant::now());
        for second in 0..600_u64 {
            // Ten a second, then none.
            worker.take(start + Duration::from_secs(second), answer(second.min(300) * 10));
            assert!(worker.anchors.len() <= 2 && worker.rates.len() <= MAX_RATES);
            match second {
                0 => assert_eq!(rate(&worker), 0.0),
                1..=300 => assert_eq!(rate(&worker), 10.0, "second {second}"),
                310.. => assert_eq!(rate(&worker), 0.0, "second {second}"),
                _ => {}
            }
        }
    }

    #[test]
    fn a_worker_that_was_away_has_no_rates_over_that_time() {
        let (mut worker, start) = (Worker::new("a".to_owned()), Instant::now());
        worker.take(start, answer(10));
        worker.take(start + Duration::from_secs(1), Err("connection refused".to_owned()));
        assert_eq!((worker.figures(), &worker.state), (None, &State::Away("connection refused".to_owned())));
        worker.take(start + Duration::from_secs(9), answer(5_000));
        assert_eq!(rate(&worker), 0.0);
        worker.take(start + Duration::from_secs(10), answer(5));
        assert_eq!((rate(&worker), worker.rates.back()), (5.0, Some(&5.0)), "it began anew");
    }
}
