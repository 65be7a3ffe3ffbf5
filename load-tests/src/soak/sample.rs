//! One look a second at the worker: what the kernel says of its process, what it says of itself.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use jtav_testkit::metric;
use serde::Serialize;

use crate::collector::{SharedBook, lock};
use crate::local;
use crate::process::process;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Bytes of the unit of memory here.
const MB: f64 = 1e6;

/// Columns of samples, all of one length. A value that could not be read is null.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Series {
    /// Since the start of the soak.
    pub seconds: Vec<f64>,
    /// VmRSS, millions of bytes.
    pub resident_mb: Vec<Option<f64>>,
    /// RssAnon: heap and stacks, without mapped files.
    pub anonymous_mb: Vec<Option<f64>>,
    /// Entries of /proc/PID/fd.
    pub file_descriptors: Vec<Option<f64>>,
    pub threads: Vec<Option<f64>>,
    /// Age of the oldest unsettled record, the largest of the partitions.
    pub event_lag_seconds: Vec<Option<f64>>,
    /// High watermark minus committed position, all partitions.
    pub consumer_lag_records: Vec<Option<f64>>,
    /// Posts inside the worker.
    pub in_flight_posts: Vec<Option<f64>>,
    /// Reserved bytes of the media budget, millions.
    pub media_in_flight_mb: Vec<Option<f64>>,
    /// Received minus settled minus in flight.
    pub conservation_gap: Vec<Option<f64>>,
    /// Outcomes that readers of the output topics saw in this second.
    pub settled_per_second: Vec<Option<f64>>,
}

/// A metric of the worker at its last look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// Of the latest sample.
    pub event_lag_seconds: Option<f64>,
    /// Of the latest sample.
    pub consumer_lag_records: Option<f64>,
    /// Of the latest sample.
    pub in_flight_posts: Option<f64>,
    /// Of the latest sample.
    pub conservation_gap: Option<f64>,
    /// Of the latest sample.
    pub resident_mb: Option<f64>,
    /// Looks so far.
    pub samples: usize,
}

impl Now {
    /// Whether nothing is under way in the worker and everything is committed.
    pub fn is_idle(&self) -> bool {
        let values = [self.event_lag_seconds, self.consumer_lag_records, self.in_flight_posts, self.conservation_gap];
        values.iter().all(|value| *value == Some(0.0))
    }
}

/// A thread that looks.
pub struct Sampler {
    series: Arc<Mutex<Series>>,
    pid: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Looks at process `pid` and its admin server; seconds count from `start`.
    pub fn start(pid: u32, admin: SocketAddr, book: SharedBook, start: Instant) -> Result<Self> {
        let series = Arc::new(Mutex::new(Series::default()));
        let (pid, stop) = (Arc::new(AtomicU32::new(pid)), Arc::new(AtomicBool::new(false)));
        let (shared, process, stopped) = (Arc::clone(&series), Arc::clone(&pid), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("sampler".to_owned()).spawn(move || {
            let (mut settled, mut last, mut next) = (0, Instant::now(), Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                let exposition = local::metrics(admin).ok();
                let now_settled = lock(&book).settlements();
                let rate = (now_settled - settled) as f64 / last.elapsed().as_secs_f64().max(1e-3);
                (settled, last) = (now_settled, Instant::now());
                let mut series = shared.lock().unwrap_or_else(PoisonError::into_inner);
                series.push(start.elapsed(), process.load(Ordering::Relaxed), exposition.as_deref(), rate);
                drop(series);
                next = (next + EVERY).max(Instant::now());
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        })?;
        Ok(Self { series, pid, stop, thread: Some(thread) })
    }

    /// Looks at another process from now on.
    pub fn follow(&self, pid: u32) {
        self.pid.store(pid, Ordering::Relaxed);
    }

    /// The latest sample.
    pub fn now(&self) -> Now {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let last = |column: &[Option<f64>]| column.last().copied().flatten();
        Now {
            event_lag_seconds: last(&series.event_lag_seconds),
            consumer_lag_records: last(&series.consumer_lag_records),
            in_flight_posts: last(&series.in_flight_posts),
            conservation_gap: last(&series.conservation_gap),
            resident_mb: last(&series.resident_mb),
            samples: series.seconds.len(),
        }
    }

    /// All samples.
    pub fn series(&self) -> Series {
        self.series.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

impl Series {
    fn push(&mut self, at: Duration, pid: u32, exposition: Option<&str>, settled_per_second: f64) {
        let process = process(pid).ok();
        let status = process.as_ref().and_then(|process| process.status().ok());
        let status = status.as_ref();
        let mb = |kib: u64| kib as f64 * 1024.0 / MB;
        let metric = |name: &str, join: fn(f64, f64) -> f64| metric(exposition?, name, join);
        let sum: fn(f64, f64) -> f64 = |a, b| a + b;
        self.seconds.push(at.as_secs_f64());
        self.resident_mb.push(status.and_then(|status| status.vmrss).map(mb));
        self.anonymous_mb.push(status.and_then(|status| status.rssanon).map(mb));
        self.file_descriptors.push(process.and_then(|process| process.fd().ok()).map(|open| open.count() as f64));
        self.threads.push(status.map(|status| status.threads as f64));
        self.event_lag_seconds.push(metric("jtav_event_lag_seconds", f64::max));
        self.consumer_lag_records.push(metric("jtav_consumer_lag_records", sum));
        self.in_flight_posts.push(metric("jtav_delivery_in_flight_posts", sum));
        self.media_in_flight_mb.push(metric("jtav_inflight_bytes", sum).map(|bytes| bytes / MB));
        self.conservation_gap.push(metric("jtav_conservation_gap", sum));
        self.settled_per_second.push(Some(settled_per_second));
    }

    /// `(seconds, value)` of a column, without what could not be read.
    pub fn points(&self, column: &[Option<f64>]) -> Vec<(f64, f64)> {
        self.seconds.iter().zip(column).filter_map(|(seconds, value)| Some((*seconds, (*value)?))).collect()
    }
}

/// One line about now.
pub fn state(sampler: &Sampler, book: &SharedBook) -> String {
    let now = sampler.now();
    let number = |value: Option<f64>| value.map_or("?".to_owned(), |value| format!("{value:.0}"));
    let book = lock(book);
    format!(
        "{} settled, {} open, lag {} s, {} MB",
        book.settlements(),
        book.open(),
        number(now.event_lag_seconds),
        number(now.resident_mb)
    )
}

#[cfg(test)]
impl Series {
    /// Five minutes in which memory grows by 5 MB an hour and the conservation gap is open for five seconds.
    pub fn of_a_quiet_run(lag: impl Fn(f64) -> f64) -> Self {
        let seconds: Vec<f64> = (0..300).map(f64::from).collect();
        let column = |of: &dyn Fn(f64) -> f64| seconds.iter().map(|second| Some(of(*second))).collect::<Vec<_>>();
        Self {
            event_lag_seconds: column(&lag),
            conservation_gap: column(&|second| if (10.0..15.0).contains(&second) { 1.0 } else { 0.0 }),
            resident_mb: column(&|second| 300.0 + second / 3600.0 * 5.0),
            anonymous_mb: column(&|_| 200.0),
            file_descriptors: column(&|_| 50.0),
            threads: column(&|_| 20.0),
            consumer_lag_records: column(&|_| 0.0),
            in_flight_posts: column(&|_| 0.0),
            media_in_flight_mb: column(&|_| 0.0),
            settled_per_second: column(&|_| 10.0),
            seconds: seconds.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_with_its_memory_descriptors_and_threads() {
        let mut series = Series::default();
        series.push(Duration::from_secs(1), std::process::id(), Some("jtav_inflight_bytes 2000000\n"), 3.0);
        assert!(series.resident_mb[0].unwrap() > 1.0 && series.anonymous_mb[0].is_some());
        assert!(series.file_descriptors[0].unwrap() >= 3.0 && series.threads[0].unwrap() >= 1.0);
        assert_eq!((series.media_in_flight_mb[0], series.event_lag_seconds[0]), (Some(2.0), None));
    }

    #[test]
    fn a_process_that_is_gone_leaves_holes() {
        let mut series = Series::default();
        series.push(Duration::ZERO, u32::MAX, None, 0.0);
        assert_eq!(series.resident_mb, [None]);
        assert!(series.points(&series.resident_mb).is_empty());
    }
}
