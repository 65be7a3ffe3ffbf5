//! Looks on while a run is under way: holds committed positions against visible outcomes, memory against its ceiling,
//! and notes how long a fault was felt after its end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jtav_kafka::{ClientSettings, TopicTail, group_positions, watermarks};
use jtav_store::Store;
use jtav_testkit::{Finding, Harm, Progress, Topics};

/// Time between two looks.
const PACE: Duration = Duration::from_millis(300);

/// Longest wait for a broker that may be away.
const PATIENCE: Duration = Duration::from_secs(3);

/// The same for the last look, when everything is there.
const LAST_PATIENCE: Duration = Duration::from_secs(60);

/// Resident memory that no worker may exceed, the networks replaced by stubs (S6).
pub const RESIDENT_CEILING_BYTES: u64 = 1 << 30;

/// What the watch has seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub findings: Vec<Finding>,
    /// Looks that were complete.
    pub looks: usize,
    /// Seconds from the end of each fault until everything that lay on the input topic by then was committed.
    pub recovered_s: Vec<f64>,
    /// Most memory that one worker held.
    pub resident_bytes: u64,
}

/// The end of a fault that is still felt.
struct Mark {
    at: Instant,
    /// Ends of the input topic at that time, once known.
    ends: Option<BTreeMap<i32, i64>>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    marks: Mutex<Vec<Mark>>,
    /// Process ids of the workers.
    workers: Mutex<Vec<u32>>,
    /// Why the last look was not complete.
    trouble: Mutex<String>,
}

/// A thread that looks on.
pub struct Watch {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<Seen>>,
}

impl Watch {
    /// Begins to look; must be called inside a tokio runtime.
    pub fn start(client: ClientSettings, topics: Topics, store: Arc<dyn Store>) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Handle::current();
        let seen_by = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            let seen = Looking::new(client, topics, store, runtime).and_then(|looking| looking.run(&seen_by));
            if let Err(error) = &seen {
                *lock(&seen_by.trouble) = format!("{error:#}");
            }
            seen
        })?;
        Ok(Self { shared, thread })
    }

    /// A fault is over now.
    pub fn healed(&self) {
        lock(&self.shared.marks).push(Mark { at: Instant::now(), ends: None });
    }

    /// Whether no fault is felt any more.
    pub fn all_recovered(&self) -> bool {
        lock(&self.shared.marks).is_empty()
    }

    /// Whether it has ended, which it should not before it is told.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// What keeps the watch from seeing, for a person.
    pub fn trouble(&self) -> String {
        let ended = if self.has_ended() { "the watch has ended; " } else { "" };
        format!("{ended}{}", lock(&self.shared.trouble))
    }

    /// These processes are the workers from now on.
    pub fn workers(&self, pids: Vec<u32>) {
        *lock(&self.shared.workers) = pids;
    }

    /// Ends the watch after one more look.
    pub fn end(self) -> Result<Seen> {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the watch panicked"))?
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Looking {
    client: ClientSettings,
    topics: Topics,
    store: Arc<dyn Store>,
    runtime: tokio::runtime::Handle,
    tails: [TopicTail; 4],
    progress: Progress,
    seen: Seen,
}

impl Looking {
    fn new(
        client: ClientSettings,
        topics: Topics,
        store: Arc<dyn Store>,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self> {
        let tail = |topic: &str| TopicTail::new(&client, topic, Duration::from_secs(20)).context(topic.to_owned());
        let tails =
            [tail(&topics.input)?, tail(&topics.sentiment)?, tail(&topics.dead_letters)?, tail(&topics.erasures)?];
        Ok(Self { client, topics, store, runtime, tails, progress: Progress::default(), seen: Seen::default() })
    }

    fn run(mut self, shared: &Shared) -> Result<Seen> {
        loop {
            let is_last = shared.ended.load(Ordering::Relaxed);
            let looked = self.look(shared, if is_last { LAST_PATIENCE } else { PATIENCE });
            *lock(&shared.trouble) = looked.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
            if looked.is_ok() {
                self.seen.looks += 1;
            }
            self.look_at_memory(&lock(&shared.workers));
            if is_last {
                // The end is quiet: what cannot be seen then is a fault of the harness.
                looked.context("the watch's last look")?;
                return Ok(self.seen);
            }
            std::thread::sleep(PACE);
        }
    }

    /// One look; fails while broker or store are away.
    fn look(&mut self, shared: &Shared, patience: Duration) -> Result<()> {
        let committed = group_positions(&self.client, &self.topics.group, &self.topics.input, patience)?;
        self.settle_marks(shared, &committed)?;
        // After the positions: what they stand on is visible by now.
        let progress = &mut self.progress;
        let [input, sentiment, dead_letters, erasures] = &mut self.tails;
        input.catch_up(patience, |record| progress.input(&record))?;
        sentiment.catch_up(patience, |record| progress.sentiment(&record))?;
        dead_letters.catch_up(patience, |record| progress.dead_letter(&record))?;
        erasures.catch_up(patience, |record| progress.erasure(&record))?;
        let findings = self.runtime.block_on(self.progress.check(&committed, &*self.store))?;
        self.seen.findings.extend(findings);
        Ok(())
    }

    fn settle_marks(&mut self, shared: &Shared, committed: &BTreeMap<i32, i64>) -> Result<()> {
        let is_open = lock(&shared.marks).iter().any(|mark| mark.ends.is_none());
        if is_open {
            let ends: BTreeMap<i32, i64> = watermarks(&self.client, &self.topics.input, PATIENCE)?
                .into_iter()
                .map(|(partition, (_, high))| (partition, high))
                .collect();
            for mark in lock(&shared.marks).iter_mut().filter(|mark| mark.ends.is_none()) {
                mark.ends = Some(ends.clone());
            }
        }
        let recovered = &mut self.seen.recovered_s;
        lock(&shared.marks).retain(|mark| {
            let Some(ends) = &mark.ends else { return true };
            let done =
                ends.iter().all(|(partition, end)| *end == 0 || committed.get(partition).is_some_and(|at| at >= end));
            if done {
                recovered.push(mark.at.elapsed().as_secs_f64());
            }
            !done
        });
        Ok(())
    }

    fn look_at_memory(&mut self, pids: &[u32]) {
        for pid in pids {
            let Some(bytes) = jtav_testkit::resident_bytes(*pid) else { continue };
            if bytes > RESIDENT_CEILING_BYTES && self.seen.resident_bytes <= RESIDENT_CEILING_BYTES {
                let text =
                    format!("a worker holds {} MiB, the ceiling is {}", bytes >> 20, RESIDENT_CEILING_BYTES >> 20);
                self.seen.findings.push(Finding { harm: Harm::Wrong, text });
            }
            self.seen.resident_bytes = self.seen.resident_bytes.max(bytes);
        }
    }
}
