//! Broker, store, media hosts, worker and feed of a soak and its kin.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use futures::{FutureExt as _, StreamExt as _};
use jtav_feed_simulator::{MediaServer, Pack, SAMPLE_FEED, feed, media_url};
use jtav_kafka::{ClientSettings, OutboundRecord, Producer, ProducerSettings};
use jtav_schemas::PostV1;
use jtav_store::Store as _;
use jtav_testkit::{Book, Worker, hash, workspace_root};

use super::bad_host::{BadHost, Manner};
use super::feed::{MediaAddresses, SoakFeed};
use super::options::{RigOptions, SoakPlan};
use super::outage::{OutageRecord, Victims};
use super::progress::Progress;
use super::report::Capacity;
use super::sample::{Sampler, state};
use super::trouble::Trouble;
use crate::collector::{SharedBook, collect, lock};
use crate::local;
use crate::pacing::Schedule;
use crate::reader::Reader;
use crate::sender::{SendReport, send_all};
use crate::topics::{self, topics_of};
use crate::under_way::{Counted, keep_under_way};

/// Names the topics.
pub const RUN: &str = "soak";
/// Of the store.
const DATABASE: u8 = 0;
/// Posts under way while the capacity is measured: twice the worker's permits, so that none of them is ever idle.
const OPEN_POSTS: usize = 128;
/// The first part of the capacity's minute does not count: connections open, caches fill.
pub const UNCOUNTED: f64 = 0.25;
/// So long without a single new outcome, and what is open counts as lost: longer than the worker's longest deadline.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest wait for the worker to say that it is idle and has committed everything.
const IDLE: Duration = Duration::from_secs(60);
/// Differences between store and topics that are listed.
const LISTED: usize = 20;

/// Everything, started. Fields are dropped in this order: the worker before what it depends on.
pub struct Rig {
    /// Looks at the worker once a second.
    pub sampler: Sampler,
    pub worker: Worker,
    _reader: Reader,
    /// Of honest posts.
    pub producer: Producer,
    /// Of honest posts.
    pub feed: SoakFeed,
    /// Of honest posts.
    pub book: SharedBook,
    /// Times of samples and book count from here.
    pub start: Instant,
    victims: Victims,
    _media: [MediaServer; 2],
    _bad_hosts: [BadHost; 2],
}

impl Rig {
    /// Starts everything; returns when the worker is ready.
    pub async fn start(options: &RigOptions) -> Result<Self> {
        // Before all else: what is missing is said at once.
        local::worker_program(options.worker.clone())?;
        let pack = Pack::open(workspace_root().join(SAMPLE_FEED))?;
        let media = MediaServer::on_loopback(pack.folder())?;
        let bad_media = MediaServer::on_loopback(pack.folder())?;
        let bad_hosts = [BadHost::start(Manner::Hangs)?, BadHost::start(Manner::Truncates)?];
        let victims = Victims { broker: local::start_kafka()?, redis: local::start_redis()? };
        let (brokers, topics) = (victims.broker.brokers().to_owned(), topics_of(RUN));
        let client = ClientSettings::new(&brokers, "jtav-soak");
        topics::make(&client, topics.all()).await?;
        let queues = ProducerSettings { queue_max_messages: 500_000, ..ProducerSettings::default() };
        let producer = Producer::new(&client, &queues)?;

        eprintln!("starting the worker ...");
        let mut hosts = vec![media.address(), bad_media.address(), bad_hosts[0].address(), bad_hosts[1].address()];
        hosts.extend(&options.further_hosts);
        let config = options.worker_config().set("kafka.brokers", &brokers[..]).topics(&topics);
        let config = config.redis(&victims.redis.url(DATABASE)).media_hosts(&hosts);
        let worker = local::start_worker(options.worker.clone(), &config)?;

        let (book, start) = (Arc::new(Mutex::new(Book::new()?)), Instant::now());
        let addresses = MediaAddresses {
            bad_base_url: bad_media.base_url(),
            hanging_url: bad_hosts[0].image_url(),
            truncating_url: bad_hosts[1].image_url(),
            sound_url: sound_url(&pack, &media)?,
        };
        let templates = posts_of(&pack, &media)?;
        Ok(Self {
            sampler: Sampler::start(worker.pid(), worker.admin(), Arc::clone(&book), start)?,
            _reader: collect(&brokers, &topics, Arc::clone(&book), start)?,
            feed: SoakFeed::new(&topics.input, templates, addresses, options.fault_share),
            victims,
            worker,
            producer,
            book,
            start,
            _media: [media, bad_media],
            _bad_hosts: bad_hosts,
        })
    }

    /// Where the broker listens.
    pub fn brokers(&self) -> &str {
        self.victims.broker.brokers()
    }

    /// Keeps a fixed number of posts under way and counts outcomes, but for those of the first part.
    pub async fn closed_loop(&mut self, seconds: f64, uncounted_share: f64, what: &str) -> Result<Capacity> {
        let (mut counted, mut progress) = (Counted::default(), Progress::default());
        let Self { feed, book, producer, worker, sampler, start, .. } = self;
        let (book, sampler, start) = (&*book, &*sampler, *start);
        let send = || {
            let (record, producer) = (make(feed, book, start.elapsed()), producer.clone());
            async move {
                producer.send(record).await?;
                anyhow::Ok(())
            }
        };
        let look = |elapsed: Duration| -> Result<()> {
            let elapsed = elapsed.as_secs_f64();
            if elapsed >= seconds * uncounted_share {
                counted.look(lock(book).settlements());
            }
            if progress.is_due() {
                worker.check()?;
                let left = seconds - elapsed;
                progress.show(&format!("{what}: {left:.0} s left, {}", state(sampler, book)));
            }
            Ok(())
        };
        keep_under_way(OPEN_POSTS, seconds, || lock(book).open(), send, look).await?;
        progress.end();
        let (settled, seconds) = counted.outcomes().context("the capacity's measurement is too short")?;
        ensure!(settled > 0, "nothing was labelled; the end of the worker's log:\n{}", self.worker.log_tail());
        Ok(Capacity { posts_per_second: settled as f64 / seconds, seconds, open_posts: OPEN_POSTS })
    }

    /// Offers posts at `rate`, whatever becomes of them, and brings about outages meanwhile.
    pub async fn soak(&mut self, rate: f64, plan: &SoakPlan) -> Result<(SendReport, Vec<OutageRecord>)> {
        let schedule = Schedule::new(rate)?;
        let records = schedule.records_in(plan.minutes * 60.0);
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
        let mut trouble = Trouble {
            start: self.start,
            begin,
            length,
            plan,
            victims: &mut self.victims,
            sampler: &self.sampler,
            book: &self.book,
        };
        let mut outages = Vec::new();
        let sent = tokio::select! {
            sent = sending => sent,
            error = trouble.run(&mut self.worker, &mut outages) => return Err(error),
        };
        Ok((sent, outages))
    }

    /// Waits until every id has its outcome and the worker is idle; none if that does not come.
    pub async fn drain(&mut self) -> Result<Option<Duration>> {
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
    pub async fn store_differences(&self) -> Result<Vec<String>> {
        let store = self.victims.redis.store(DATABASE)?;
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

    /// One line about now.
    pub fn state(&self) -> String {
        state(&self.sampler, &self.book)
    }
}

/// Makes the next record and books what must become of it.
pub fn make(feed: &mut SoakFeed, book: &SharedBook, due: Duration) -> OutboundRecord {
    let (record, expected) = feed.next();
    lock(book).expect(&expected, due);
    record
}

/// The posts of the sample feed.
fn posts_of(pack: &Pack, media: &MediaServer) -> Result<Vec<PostV1>> {
    let records = feed(pack, &media.base_url());
    Ok(records.iter().map(|record| serde_json::from_slice(&record.value)).collect::<Result<_, _>>()?)
}

/// A sound file of the sample feed.
fn sound_url(pack: &Pack, media: &MediaServer) -> Result<String> {
    let path = pack.posts().iter().find_map(|post| post.audio.as_ref().map(|audio| audio.path.clone()));
    Ok(media_url(&media.base_url(), &path.context("the sample feed has no sound")?))
}
