//! The sentiment topic: labels and erasures for the stream, the page and its counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jtav_kafka::{ClientSettings, KafkaError, Record, watermarks};
use jtav_schemas::Label;
use jtav_telemetry::{Metric, StreamEventKind};

use super::{Event, Following, Recent};
use crate::positions::Positions;

/// Readers are woken so often at most: a thousand of them, five hundred times a second, would keep a core busy.
const WAKE_EVERY: Duration = Duration::from_millis(25);
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Events seen since the start.
#[derive(Default)]
pub struct Counts {
    labels: [AtomicU64; Label::ALL.len()],
    certain: AtomicU64,
    erasures: AtomicU64,
}

impl Counts {
    fn count(&self, event: &Event) {
        match event.label() {
            Some(label) => {
                self.labels[label as usize].fetch_add(1, Ordering::Relaxed);
                let is_certain = event.facets.as_ref().is_some_and(crate::filter::Facets::is_certain);
                self.certain.fetch_add(u64::from(is_certain), Ordering::Relaxed);
                Metric::stream_events(StreamEventKind::Label).inc();
            }
            None => {
                self.erasures.fetch_add(1, Ordering::Relaxed);
                Metric::stream_events(StreamEventKind::Erasure).inc();
            }
        }
    }

    /// Labels of one kind.
    pub fn of(&self, label: Label) -> u64 {
        self.labels[label as usize].load(Ordering::Relaxed)
    }

    /// Labels that were certain.
    pub fn certain(&self) -> u64 {
        self.certain.load(Ordering::Relaxed)
    }

    /// Erasures.
    pub fn erasures(&self) -> u64 {
        self.erasures.load(Ordering::Relaxed)
    }
}

type OnErasure = Box<dyn Fn(&str) + Send>;

/// Reads labels and erasures.
pub(crate) struct Labels {
    pub(crate) recent: Arc<Recent>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) recent_events: usize,
    /// What else forgets a post.
    pub(crate) on_erasure: OnErasure,
    last_wake: Instant,
}

impl Labels {
    pub(crate) fn new(recent: Arc<Recent>, counts: Arc<Counts>, recent_events: usize, on_erasure: OnErasure) -> Self {
        Self { recent, counts, recent_events, on_erasure, last_wake: Instant::now() }
    }

    fn wake(&mut self) {
        self.recent.wake();
        self.last_wake = Instant::now();
    }
}

impl Following for Labels {
    /// As far back as memory goes.
    fn starts(&mut self, client: &ClientSettings, topic: &str) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let marks = watermarks(client, topic, ASK_TIMEOUT)?;
        let each = (self.recent_events / marks.len().max(1)).max(1) as i64;
        let starts: BTreeMap<i32, i64> =
            marks.into_iter().map(|(partition, (low, high))| (partition, low.max(high - each))).collect();
        self.recent.start(Positions(starts.clone()));
        Ok(starts)
    }

    fn record(&mut self, record: Record) {
        match Event::read(&record) {
            Some(event) => {
                if event.label().is_none() {
                    (self.on_erasure)(&event.post_id);
                }
                self.counts.count(&event);
                self.recent.push(event);
            }
            None => {
                Metric::stream_events(StreamEventKind::Foreign).inc();
                self.recent.pass(record.partition, record.offset);
            }
        }
        if self.last_wake.elapsed() >= WAKE_EVERY {
            self.wake();
        }
    }

    fn pause(&mut self) {
        self.wake();
    }
}
