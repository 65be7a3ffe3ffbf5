//! What the media cache is worth on a feed in which few media are in many posts: the throughput with it against that
//! without, the same posts in the same order, in blocks in the order A B A B.

mod feed;
mod media;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use jtav_feed_simulator::{MediaServer, Pack, SAMPLE_FEED};
use jtav_kafka::{ClientSettings, Producer, ProducerSettings};
use jtav_testkit::{Book, Worker, WorkerConfig, metric, workspace_root};
use serde::Serialize;

use self::feed::ZipfFeed;
use crate::collector::{SharedBook, collect, lock};
use crate::files;
use crate::local;
use crate::process::{self, Machine, cpu_seconds_of_tree};
use crate::reader::Reader;
use crate::topics::{self, topics_of};
use crate::under_way::keep_under_way;

/// Different images.
const IMAGES: usize = 640;
/// Different clips.
const CLIPS: usize = 1_000;
/// The k-th most frequent medium is in a post with a probability like 1 / k^EXPONENT.
const EXPONENT: f64 = 1.0;
/// Posts under way at every moment: enough for full batches, and few enough that none runs into its deadline where every
/// medium has to be encoded on a busy machine.
const OPEN_POSTS: usize = 32;
/// What the media server lets be remembered, as a content delivery network would.
const CACHE_CONTROL: &str = "public, max-age=600";
/// So long without a single new outcome, and what is open counts as lost.
const SILENCE: Duration = Duration::from_secs(60);

/// How much is measured, and with which worker.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Seconds of a block; there are four
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    pub block_seconds: f64,
    /// Seconds before the first block of each worker, which fill its cache
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    pub warm_up_seconds: f64,
    /// Stubs instead of the bundled networks
    #[arg(long)]
    pub stub: bool,
    /// The worker's program [default: jtav beside this program]
    #[arg(long, value_name = "FILE")]
    pub worker: Option<PathBuf>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Block {
    /// Whether the worker had its cache.
    pub with_cache: bool,
    /// Outcomes by seconds.
    pub posts_per_second: f64,
    /// CPU of the worker, milliseconds a post.
    pub cpu_ms_per_post: f64,
    /// Media whose encoding was known, by all media.
    pub hit_ratio: f64,
    /// Media that were not even asked for, by all media.
    pub url_hit_ratio: f64,
    /// Downloaded, megabytes a second.
    pub downloaded_mb_per_second: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct ZipfReport {
    /// Version of this layout.
    pub format: u32,
    /// UTC, RFC 3339.
    pub date: String,
    /// Commit of the checkout.
    pub commit: String,
    /// Where.
    pub machine: Machine,
    /// `models/jtav-modern` or `stub`.
    pub model: String,
    /// Of the distribution.
    pub exponent: f64,
    /// Different images.
    pub images: usize,
    /// Different clips.
    pub clips: usize,
    /// Length of a block.
    pub block_seconds: f64,
    /// Warm-up of each kind before its first block.
    pub warm_up_seconds: f64,
    /// In the order in which they ran.
    pub blocks: Vec<Block>,
    /// Throughput with by throughput without, of each pair of blocks.
    pub ratios: Vec<f64>,
    /// Encodings held at the end, bytes.
    pub cache_bytes: f64,
    /// Encodings that gave way.
    pub evictions: f64,
    /// Posts without a label.
    pub lost: u64,
}

/// What both workers stand on.
struct Ground<'a> {
    options: &'a Options,
    brokers: &'a str,
    redis_url: &'a str,
    media: &'a MediaServer,
    texts: Vec<String>,
    files: media::Files,
}

/// One worker with topics of its own.
struct Variant {
    with_cache: bool,
    worker: Worker,
    feed: ZipfFeed,
    book: SharedBook,
    _reader: Reader,
    producer: Producer,
    start: Instant,
}

/// What a worker counts.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    settled: f64,
    cpu_seconds: f64,
    hits: f64,
    misses: f64,
    by_url: f64,
    downloaded_bytes: f64,
}

impl Variant {
    async fn start(ground: &Ground<'_>, with_cache: bool) -> Result<Self> {
        let Ground { options, brokers, redis_url, media, .. } = ground;
        let name = if with_cache { "zipf-with" } else { "zipf-without" };
        let topics = topics_of(name);
        let client = ClientSettings::new(*brokers, name);
        topics::make(&client, topics.all()).await?;
        let producer = Producer::new(&client, &ProducerSettings::default())?;
        let mut config = WorkerConfig::new(brokers).topics(&topics).redis(redis_url).media_hosts(&[media.address()]);
        if !with_cache {
            config = config.set("cache.max_bytes", 0);
        }
        if options.stub {
            config = config.set("model.stub", true);
        }
        let worker = local::start_worker(options.worker.clone(), &config)?;
        let (book, start) = (Arc::new(Mutex::new(Book::new()?)), Instant::now());
        let reader = collect(brokers, &topics, Arc::clone(&book), start)?;
        let (texts, files) = (ground.texts.clone(), ground.files.clone());
        let feed = ZipfFeed::new(&topics.input, &media.base_url(), texts, files, EXPONENT);
        Ok(Self { with_cache, worker, feed, book, _reader: reader, producer, start })
    }

    /// Keeps a fixed number of posts under way.
    async fn block(&mut self, seconds: f64, what: &str) -> Result<Block> {
        let name = if self.with_cache { "with" } else { "without" };
        eprintln!("{what}: {seconds:.0} s {name} the cache ...");
        let (begin, before) = (Instant::now(), self.counts()?);
        let Self { feed, book, producer, start, .. } = &mut *self;
        let (book, start) = (&*book, *start);
        let send = || {
            let (record, expected) = feed.next();
            lock(book).expect(&expected, start.elapsed());
            let producer = producer.clone();
            async move {
                producer.send(record).await?;
                anyhow::Ok(())
            }
        };
        keep_under_way(OPEN_POSTS, seconds, || lock(book).open(), send, |_| Ok(())).await?;
        let (after, elapsed) = (self.counts()?, begin.elapsed().as_secs_f64());
        self.drain().await?;
        let of = |count: fn(Counts) -> f64| count(after) - count(before);
        let (settled, media) = (of(|counts| counts.settled), of(|counts| counts.hits + counts.misses));
        ensure!(settled > 0.0, "nothing was labelled; the end of the worker's log:\n{}", self.worker.log_tail());
        Ok(Block {
            with_cache: self.with_cache,
            posts_per_second: settled / elapsed,
            cpu_ms_per_post: of(|counts| counts.cpu_seconds) * 1e3 / settled,
            hit_ratio: of(|counts| counts.hits) / media.max(1.0),
            url_hit_ratio: of(|counts| counts.by_url) / media.max(1.0),
            downloaded_mb_per_second: of(|counts| counts.downloaded_bytes) / 1e6 / elapsed,
        })
    }

    /// Waits until every post has its outcome, so that the next block has the machine for itself.
    async fn drain(&mut self) -> Result<()> {
        let (mut open, mut moved) = (usize::MAX, Instant::now());
        while open > 0 && moved.elapsed() < SILENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.worker.check()?;
            let now = lock(&self.book).open();
            if now < open {
                (open, moved) = (now, Instant::now());
            }
        }
        Ok(())
    }

    fn counts(&mut self) -> Result<Counts> {
        self.worker.check()?;
        let text = local::metrics(self.worker.admin())?;
        // The other two results are answers of the server.
        let unasked: String = text
            .lines()
            .filter(|line| line.contains("result=\"fresh\"") || line.contains("result=\"joined\""))
            .map(|line| format!("{line}\n"))
            .collect();
        Ok(Counts {
            settled: lock(&self.book).settlements() as f64,
            cpu_seconds: cpu_seconds_of_tree(self.worker.pid())?,
            hits: total(&text, "jtav_cache_hits_total"),
            misses: total(&text, "jtav_cache_misses_total"),
            by_url: total(&unasked, "jtav_cache_urls_total"),
            downloaded_bytes: total(&text, "jtav_media_fetched_bytes_total"),
        })
    }
}

/// All series of a metric together; 0 where there is none yet.
fn total(exposition: &str, name: &str) -> f64 {
    metric(exposition, name, |a, b| a + b).unwrap_or(0.0)
}

/// Runs the four blocks.
pub async fn run(options: &Options) -> Result<ZipfReport> {
    // Before all else: what is missing is said at once.
    local::worker_program(options.worker.clone())?;
    let (date, commit, machine) = (process::utc_now(), process::commit(), process::machine());
    let folder = tempfile::Builder::new().prefix("jtav-zipf").tempdir()?;
    let pack = Pack::open(workspace_root().join(SAMPLE_FEED))?;
    eprintln!("making {IMAGES} images and {CLIPS} clips ...");
    let files = media::make(&pack, &folder.path().join("media"), IMAGES, CLIPS)?;
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = MediaServer::start_cacheable(folder.path().join("media"), anywhere, CACHE_CONTROL)?;
    let (kafka, redis) = (local::start_kafka()?, local::start_redis()?);
    eprintln!("starting two workers ...");
    let ground = Ground {
        options,
        brokers: kafka.brokers(),
        redis_url: &redis.url(0),
        media: &server,
        texts: pack.posts().iter().flat_map(|post| post.texts.iter().map(|part| part.text.clone())).collect(),
        files,
    };
    let (mut without, mut with) = (Variant::start(&ground, false).await?, Variant::start(&ground, true).await?);
    let mut blocks = Vec::new();
    without.block(options.warm_up_seconds, "warming up").await?;
    with.block(options.warm_up_seconds, "warming up").await?;
    for pair in 0..2 {
        blocks.push(without.block(options.block_seconds, &format!("block {} of 4", 2 * pair + 1)).await?);
        blocks.push(with.block(options.block_seconds, &format!("block {} of 4", 2 * pair + 2)).await?);
    }
    let end = local::metrics(with.worker.admin())?;
    let tallies = [&without, &with].map(|variant| lock(&variant.book).tally());
    Ok(ZipfReport {
        format: 1,
        date,
        commit,
        machine,
        model: if options.stub { "stub" } else { "models/jtav-modern" }.to_owned(),
        exponent: EXPONENT,
        images: IMAGES,
        clips: CLIPS,
        block_seconds: options.block_seconds,
        warm_up_seconds: options.warm_up_seconds,
        ratios: blocks.chunks(2).map(|pair| pair[1].posts_per_second / pair[0].posts_per_second).collect(),
        blocks,
        cache_bytes: total(&end, "jtav_cache_bytes"),
        evictions: total(&end, "jtav_cache_evictions_total"),
        lost: tallies.iter().map(|tally| tally.lost).sum(),
    })
}

impl ZipfReport {
    /// Heading and tables.
    pub fn markdown(&self) -> String {
        let row = |(index, block): (usize, &Block)| {
            format!(
                "| {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} |\n",
                index + 1,
                if block.with_cache { "with" } else { "without" },
                block.posts_per_second,
                block.cpu_ms_per_post,
                100.0 * block.hit_ratio,
                100.0 * block.url_hit_ratio,
                block.downloaded_mb_per_second,
            )
        };
        let rows: String = self.blocks.iter().enumerate().map(row).collect();
        let ratios: Vec<String> = self.ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        format!(
            "# The media cache on a Zipf feed, {}\n\n`make load-test ARGS=\"zipf --block-seconds {} --warm-up-seconds {}\"`. \
             Commit {}; {}. Networks: {}.\n\n\
             Each post has a text, one of {} images and one of {} clips; the k-th most frequent comes with a probability like\n\
             1 / k^{}, drawn with a fixed seed, so that both workers see the same posts in the same order. The files are those of\n\
             the sample feed, each many times with a mark in its metadata: other bytes, the same picture or sound. They are served\n\
             with `cache-control: {CACHE_CONTROL}`. {OPEN_POSTS} posts are under way at every moment; the worker without the cache\n\
             (`cache.max_bytes = 0`) and the one with it take turns, {} s each after {} s of warming up.\n\n\
             | block | cache | posts a second | CPU-ms a post | known, % of media | not asked for, % | MB a second |\n\
             |---|---|---|---|---|---|---|\n{rows}\n\
             With / without, of each pair of blocks: **{}**. Encodings held at the end: {:.0} kB; given way: {:.0}. Posts lost: {}.\n",
            self.date,
            self.block_seconds,
            self.warm_up_seconds,
            self.commit,
            self.machine,
            self.model,
            self.images,
            self.clips,
            self.exponent,
            self.block_seconds,
            self.warm_up_seconds,
            ratios.join(", "),
            self.cache_bytes / 1e3,
            self.evictions,
            self.lost,
        )
    }

    /// Writes `media-cache.json` and `.md`.
    pub fn write(&self, folder: &Path) -> Result<[PathBuf; 2]> {
        files::write(
            folder,
            "media-cache",
            [("json", serde_json::to_string_pretty(self)? + "\n"), ("md", self.markdown())],
        )
    }
}
