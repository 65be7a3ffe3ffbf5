//! A long run below capacity, with faults: does anything grow, is anything lost, does lag come back to 0?

mod bad_host;
pub mod book;
pub mod feed;
pub mod hostile;
pub mod isolation;
mod outage;
pub mod reader;
mod report;
pub mod sample;
mod slope;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use jtav_feed_simulator::{MediaServer, Pack, SAMPLE_FEED, feed, media_url};
use jtav_kafka::{ClientSettings, OutboundRecord, Producer, ProducerSettings, ensure_topics};
use jtav_schemas::PostV1;
use jtav_store::{RedisOptions, RedisStore, Store as _};

use self::bad_host::{BadHost, Manner};
use self::book::{Book, Expected, hash};
use self::feed::{MediaAddresses, SoakFeed};
use self::outage::{Outage, Victims};
use self::reader::Reader;
use self::report::{Capacity, Growth, OutageRecord, SoakReport, longest_gap_seconds, recoveries};
use self::sample::Sampler;
use crate::local::{self, Process};
use crate::pacing::Schedule;
use crate::process;
use crate::run::{Topics, worker_settings};
use crate::sender::{SendReport, send_all};

/// Posts under way while the capacity is measured: twice the worker's permits, so that none of them is ever idle.
const OPEN_POSTS: usize = 128;
/// The first part of the capacity's minute does not count: connections open, caches fill.
const UNCOUNTED: f64 = 0.25;
/// So long without a single new outcome, and what is open counts as lost: longer than the worker's longest deadline.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest wait for the worker to say that it is idle and has committed everything.
const IDLE: Duration = Duration::from_secs(60);
/// No outage begins in the last seconds of a soak.
const QUIET_END: Duration = Duration::from_secs(20);
/// Bytes of the worker's cache of encodings: about half of the sample feed's, so that it hits, misses and evicts all along
/// and the networks work for every other post.
const CACHE_BYTES: i64 = 32_000;
/// Differences between store and topics that are listed.
const LISTED: usize = 20;

/// What the sender expects and the reader sees.
pub type SharedBook = Arc<Mutex<Book>>;

/// Locks it; a thread that panicked while it held the lock has left a whole book.
pub fn lock(book: &SharedBook) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the command line decides.
#[derive(Debug, Clone)]
pub struct Options {
    /// Length.
    pub minutes: f64,
    /// Minutes until the slopes begin.
    pub warm_up_minutes: f64,
    /// Length of the measurement of the capacity.
    pub capacity_seconds: f64,
    /// Posts a second; none: a share of the capacity.
    pub rate: Option<f64>,
    /// That share.
    pub load: f64,
    /// Share of posts with a fault.
    pub fault_share: f64,
    /// Between two outages of store or broker; none: no outages.
    pub outage_every: Option<Duration>,
    /// Every n-th outage is a SIGKILL of the worker; 0: never.
    pub kill_every: usize,
    /// Stubs instead of the bundled networks.
    pub stub: bool,
    /// Whether the worker may close its eyes to a dead media host.
    pub circuit_breaker: bool,
    /// Whether the cache of encodings is too small for the feed, so that the networks work.
    pub small_cache: bool,
    /// Hosts that the worker may fetch from besides those of the rig.
    pub further_hosts: Vec<SocketAddr>,
    /// The worker's program.
    pub worker: Option<PathBuf>,
    /// The repository.
    pub root: PathBuf,
}

impl Options {
    /// For reports.
    fn model_name(&self) -> &'static str {
        if self.stub { "stub" } else { "models/jtav-modern" }
    }
}

/// Everything, started. Fields are dropped in this order: the worker before what it depends on.
struct Rig {
    sampler: Sampler,
    worker: Process,
    program: PathBuf,
    config: PathBuf,
    admin: SocketAddr,
    _reader: Reader,
    producer: Producer,
    feed: SoakFeed,
    book: SharedBook,
    start: Instant,
    victims: Victims,
    brokers: String,
    redis_url: String,
    _kafka: Process,
    _redis: Process,
    _media: [MediaServer; 2],
    _bad_hosts: [BadHost; 2],
    root: PathBuf,
    folder: tempfile::TempDir,
}

impl Rig {
    async fn start(options: &Options) -> Result<Self> {
        let program = local::worker_program(options.worker.clone())?;
        let folder = tempfile::Builder::new().prefix("jtav-soak").tempdir()?;
        let pack = Pack::open(options.root.join(SAMPLE_FEED))?;
        let media = MediaServer::start(pack.folder(), SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let bad_media = MediaServer::start(pack.folder(), SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let bad_hosts = [BadHost::start(Manner::Hangs)?, BadHost::start(Manner::Truncates)?];
        eprintln!("starting Apache Kafka ...");
        let (kafka, brokers) = local::start_kafka(&options.root, folder.path())?;
        let (redis, redis_url) = local::start_redis(folder.path())?;
        let topics = Topics::new("soak");
        let client = ClientSettings::new(&brokers, "jtav-soak");
        ensure_topics(&client, &topics.specs(), Duration::from_secs(30)).await.context("cannot make topics")?;
        let queues = ProducerSettings { queue_max_messages: 500_000, ..ProducerSettings::default() };
        let producer = Producer::new(&client, &queues)?;

        eprintln!("starting the worker ...");
        let admin = local::free_address()?;
        let config = folder.path().join("worker.toml");
        let mut hosts = vec![media.address(), bad_media.address(), bad_hosts[0].address(), bad_hosts[1].address()];
        hosts.extend(&options.further_hosts);
        let settings = worker_settings(&own_settings(options), &brokers, &redis_url, &topics, admin, &hosts);
        std::fs::write(&config, toml::to_string(&settings)?)?;
        let worker = local::start_worker(&program, &options.root, &config, admin, folder.path())?;

        let (book, start) = (Arc::new(Mutex::new(Book::new()?)), Instant::now());
        let addresses = MediaAddresses {
            bad_base_url: bad_media.base_url(),
            hanging_url: bad_hosts[0].image_url(),
            truncating_url: bad_hosts[1].image_url(),
            sound_url: sound_url(&pack, &media)?,
        };
        let templates = feed(&pack, &media.base_url());
        let templates: Vec<PostV1> =
            templates.iter().map(|record| serde_json::from_slice(&record.value)).collect::<Result<_, _>>()?;
        Ok(Self {
            sampler: Sampler::start(worker.pid(), admin, Arc::clone(&book), start)?,
            _reader: Reader::start(&brokers, &topics, Arc::clone(&book), start)?,
            feed: SoakFeed::new(&topics.posts, templates, addresses, options.fault_share),
            victims: Victims {
                redis_socket: folder.path().join("redis.sock"),
                redis_pid: redis.pid(),
                broker_pid: kafka.pid(),
            },
            worker,
            program,
            config,
            admin,
            producer,
            book,
            start,
            brokers,
            redis_url,
            _kafka: kafka,
            _redis: redis,
            _media: [media, bad_media],
            _bad_hosts: bad_hosts,
            root: options.root.clone(),
            folder,
        })
    }

    /// Keeps a fixed number of posts under way and counts outcomes, but for those of the first part.
    async fn closed_loop(&mut self, seconds: f64, uncounted_share: f64, what: &str) -> Result<Capacity> {
        let begin = Instant::now();
        let mut sending = FuturesUnordered::new();
        let (mut counted_from, mut progress) = (None, Progress::default());
        while begin.elapsed().as_secs_f64() < seconds {
            while lock(&self.book).open() < OPEN_POSTS {
                let record = make(&mut self.feed, &self.book, self.start.elapsed());
                let producer = self.producer.clone();
                sending.push(async move { producer.send(record).await });
            }
            // Polls until nothing is ready any more: the first poll of a future hands its record over.
            while let Some(Some(sent)) = sending.next().now_or_never() {
                sent.context("the feed could not be produced")?;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            if counted_from.is_none() && begin.elapsed().as_secs_f64() >= seconds * uncounted_share {
                counted_from = Some((Instant::now(), lock(&self.book).settlements()));
            }
            if progress.is_due() {
                self.worker.check()?;
                let left = seconds - begin.elapsed().as_secs_f64();
                progress.show(&format!("{what}: {left:.0} s left, {}", self.state()));
            }
        }
        let (since, before) = counted_from.context("the capacity's measurement is too short")?;
        let (settled, seconds) = (lock(&self.book).settlements() - before, since.elapsed().as_secs_f64());
        progress.end();
        while let Some(sent) = sending.next().await {
            sent.context("the feed could not be produced")?;
        }
        ensure!(settled > 0, "nothing was labelled; the end of the worker's log:\n{}", self.worker.log_tail());
        Ok(Capacity { posts_per_second: settled as f64 / seconds, seconds, open_posts: OPEN_POSTS })
    }

    /// Offers posts at `rate`, whatever becomes of them, and brings about outages meanwhile.
    async fn soak(&mut self, rate: f64, options: &Options) -> Result<(SendReport, Vec<OutageRecord>)> {
        let schedule = Schedule::new(rate)?;
        let records = schedule.records_in(options.minutes * 60.0);
        let (begin, begin_unix) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH)?);
        let offset = self.start.elapsed();
        let Self { feed, book, producer, .. } = self;
        // Own copies, so that the outages may restart the worker meanwhile.
        let (book, producer) = (Arc::clone(book), producer.clone());
        let feed = std::cell::RefCell::new(feed);
        let sending = send_all(vec![(); records], schedule, begin, |index, ()| {
            let mut record = make(&mut feed.borrow_mut(), &book, offset + schedule.due(index));
            record.timestamp_ms = Some((begin_unix + schedule.due(index)).as_millis() as i64);
            let producer = producer.clone();
            async move {
                producer.send(record).await?;
                Ok(())
            }
            .boxed_local()
        });
        let length = schedule.due(records);
        let trouble = Trouble {
            start: self.start,
            begin,
            length,
            options,
            victims: &self.victims,
            sampler: &self.sampler,
            book: &self.book,
            program: &self.program,
            config: &self.config,
            admin: self.admin,
            root: &self.root,
            folder: self.folder.path(),
        };
        let mut outages = Vec::new();
        let sent = tokio::select! {
            sent = sending => sent,
            error = trouble.run(&mut self.worker, &mut outages) => return Err(error),
        };
        Ok((sent, outages))
    }

    /// Waits until every id has its outcome and the worker is idle; none if that does not come.
    async fn drain(&mut self) -> Result<Option<Duration>> {
        let begin = Instant::now();
        let (mut open, mut moved, mut progress) = (usize::MAX, Instant::now(), Progress::default());
        while open > 0 && moved.elapsed() < SILENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.worker.check()?;
            let now = lock(&self.book).open();
            if now < open {
                (open, moved) = (now, Instant::now());
            }
            if progress.is_due() {
                progress.show(&format!("waiting for the last outcomes: {open} open, {}", self.state()));
            }
        }
        progress.end();
        let (waiting, looks) = (Instant::now(), self.sampler.now().samples);
        while waiting.elapsed() < IDLE {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = self.sampler.now();
            if now.samples > looks + 1 && now.is_idle() {
                return Ok((open == 0).then(|| begin.elapsed()));
            }
        }
        Ok(None)
    }

    /// Where the store says something else than the topics; at most some of them.
    async fn store_differences(&self) -> Result<Vec<String>> {
        let store = RedisStore::new(RedisOptions::new(self.redis_url.clone()))?;
        let (stored, model) = {
            let book = lock(&self.book);
            (book.stored(), book.model_version().unwrap_or_default().to_owned())
        };
        eprintln!("comparing the store with the topics: {} posts ...", stored.len());
        let ask = |(id, expected): (String, Option<(u64, u64)>)| {
            let (store, model) = (&store, &model);
            async move {
                let label = store.read(&id, model).await?;
                let held = label.map(|label| (label.revision, hash(label.event_id.as_bytes())));
                let is_erased = expected.is_none() && !store.is_erased(&id).await?;
                anyhow::Ok((held != expected || is_erased).then_some(id))
            }
        };
        let mut answers = futures::stream::iter(stored).map(ask).buffer_unordered(64);
        let mut differing = Vec::new();
        while let Some(answer) = answers.next().await {
            differing.extend(answer.context("reading the store")?);
            if differing.len() == LISTED {
                break;
            }
        }
        Ok(differing)
    }

    fn state(&self) -> String {
        state(&self.sampler, &self.book)
    }
}

/// One line about now.
fn state(sampler: &Sampler, book: &SharedBook) -> String {
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

/// What goes wrong while the posts are sent, and the progress line.
struct Trouble<'a> {
    start: Instant,
    begin: Instant,
    length: Duration,
    options: &'a Options,
    victims: &'a Victims,
    sampler: &'a Sampler,
    book: &'a SharedBook,
    program: &'a Path,
    config: &'a Path,
    admin: SocketAddr,
    root: &'a Path,
    folder: &'a Path,
}

impl Trouble<'_> {
    /// Ends only with an error: the worker is gone, an outage could not be brought about.
    async fn run(&self, worker: &mut Process, outages: &mut Vec<OutageRecord>) -> anyhow::Error {
        let mut progress = Progress::default();
        loop {
            if let Err(error) = self.step(worker, outages, &mut progress).await {
                return error;
            }
        }
    }

    async fn step(&self, worker: &mut Process, outages: &mut Vec<OutageRecord>, progress: &mut Progress) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(500)).await;
        worker.check()?;
        if progress.is_due() {
            let left = self.length.saturating_sub(self.begin.elapsed()).as_secs();
            let (minutes, seconds) = (left / 60, left % 60);
            let outages = outages.len();
            progress.show(&format!(
                "soaking: {minutes}:{seconds:02} left, {outages} outages, {}",
                state(self.sampler, self.book)
            ));
        }
        let Some(every) = self.options.outage_every else { return Ok(()) };
        let due = every * (outages.len() as u32 + 1);
        if self.begin.elapsed() < due || self.begin.elapsed() + QUIET_END > self.length {
            return Ok(());
        }
        let number = outages.len();
        let is_kill = self.options.kill_every > 0 && number % self.options.kill_every == self.options.kill_every - 1;
        let outage = if is_kill { Outage::WorkerKilled } else { Outage::ROUND[number % Outage::ROUND.len()] };
        let at_seconds = self.start.elapsed().as_secs_f64();
        if is_kill {
            self.restart(worker).await?
        } else {
            self.victims.suffer(outage).await?
        }
        let over_at_seconds = self.start.elapsed().as_secs_f64();
        outages.push(OutageRecord { outage, at_seconds, over_at_seconds, recovered_after_seconds: None });
        Ok(())
    }

    async fn restart(&self, worker: &mut Process) -> Result<()> {
        worker.kill()?;
        let [program, root, config, folder] =
            [self.program, self.root, self.config, self.folder].map(Path::to_path_buf);
        let admin = self.admin;
        let started =
            tokio::task::spawn_blocking(move || local::start_worker(&program, &root, &config, admin, &folder));
        *worker = started.await??;
        self.sampler.follow(worker.pid());
        Ok(())
    }
}

/// A line on stderr that is written over on a terminal and comes now and then elsewhere.
struct Progress {
    last: Option<Instant>,
    is_terminal: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { last: None, is_terminal: std::io::stderr().is_terminal() }
    }
}

impl Progress {
    fn is_due(&mut self) -> bool {
        let every = Duration::from_secs(if self.is_terminal { 1 } else { 15 });
        if self.last.is_some_and(|last| last.elapsed() < every) {
            return false;
        }
        self.last = Some(Instant::now());
        true
    }

    fn show(&self, line: &str) {
        if self.is_terminal {
            eprint!("\r\x1b[K{line}");
        } else {
            eprintln!("{line}");
        }
    }

    fn end(&self) {
        if self.is_terminal {
            eprintln!();
        }
    }
}

/// Makes the next record and books what must become of it.
fn make(feed: &mut SoakFeed, book: &SharedBook, due: Duration) -> OutboundRecord {
    let (record, expected): (OutboundRecord, Expected) = feed.next();
    lock(book).expect(&expected, due);
    record
}

/// A sound file of the sample feed.
fn sound_url(pack: &Pack, media: &MediaServer) -> Result<String> {
    let path = pack.posts().iter().find_map(|post| post.audio.as_ref().map(|audio| audio.path.clone()));
    Ok(media_url(&media.base_url(), &path.context("the sample feed has no sound")?))
}

/// What differs from the worker's defaults.
fn own_settings(options: &Options) -> toml::Table {
    let mut settings = toml::Table::new();
    let section = |key: &str, value: toml::Value| toml::Value::Table(toml::Table::from_iter([(key.to_owned(), value)]));
    if options.small_cache {
        settings.insert("cache".to_owned(), section("max_bytes", CACHE_BYTES.into()));
    }
    if !options.circuit_breaker {
        settings.insert("media".to_owned(), section("circuit_failures", 0.into()));
    }
    if options.stub {
        settings.insert("model".to_owned(), section("stub", true.into()));
    }
    settings
}

/// Measures the capacity, soaks, waits for the last outcome and judges.
pub async fn run(options: &Options) -> Result<SoakReport> {
    let machine = process::machine();
    let date = process::output_of("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]).context("`date` failed")?;
    let commit = crate::report::commit(&options.root);
    let mut rig = Rig::start(options).await?;
    let capacity = rig.closed_loop(options.capacity_seconds, UNCOUNTED, "measuring the capacity").await?;
    if rig.drain().await?.is_none() {
        bail!(
            "the worker did not come to rest after its capacity was measured: {}; the end of its log:\n{}",
            rig.state(),
            rig.worker.log_tail()
        );
    }
    let rate = options.rate.unwrap_or(options.load * capacity.posts_per_second);
    eprintln!(
        "capacity {:.1} posts a second; soaking for {:.0} minutes at {rate:.1} a second ...",
        capacity.posts_per_second, options.minutes
    );
    lock(&rig.book).reset_latencies();
    let soak_from = rig.start.elapsed().as_secs_f64();
    let (sent, mut outages) = rig.soak(rate, options).await?;
    let soak_until = rig.start.elapsed().as_secs_f64();
    let drained = rig.drain().await?;
    let store_differences = rig.store_differences().await?;

    let series = rig.sampler.series();
    recoveries(&mut outages, &series);
    let warm_up_seconds = soak_from + options.warm_up_minutes * 60.0;
    // Another process after a kill has other memory.
    let until = outages.iter().find(|record| record.outage == Outage::WorkerKilled).map(|record| record.at_seconds);
    let growth = Growth::of(&series, warm_up_seconds, until.unwrap_or(soak_until));
    let book = lock(&rig.book);
    let mut report = SoakReport {
        format: 1,
        date,
        commit,
        machine,
        model: options.model_name().to_owned(),
        minutes: options.minutes,
        soak_from_seconds: soak_from,
        warm_up_seconds,
        capacity,
        posts_per_second: rate,
        generator_late_by_at_most_ms: sent.max_lateness_ms,
        refused_by_broker: sent.refused.len(),
        post_faults: rig.feed.faults().clone(),
        outages,
        tally: book.tally(),
        lost_ids: book.open_ids(10),
        store_differences,
        latency_ms: [50.0, 99.0, 100.0].map(|percentile| book.latency_ms(percentile)),
        growth,
        at_the_end_idle: drained.is_some(),
        drained_after_seconds: drained.map(|drained| drained.as_secs_f64()),
        conservation_gap_longest_seconds: longest_gap_seconds(&series),
        problems: Vec::new(),
        series,
    };
    report.judge();
    Ok(report)
}
