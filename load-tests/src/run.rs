//! One run: start everything, warm up, measure, compare, write down.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use futures::FutureExt as _;
use jtav_feed_simulator::{FeedRecord, MediaServer, Pack, SAMPLE_FEED};
use jtav_kafka::{ClientSettings, Producer, ProducerSettings};
use jtav_testkit::{Book, Expected, RealKafka, RealRedis, Topics, Worker, WorkerConfig, workspace_root};

use crate::ceiling::{self, Ceiling, outbound};
use crate::collector::{Collector, Phase};
use crate::local;
use crate::pacing::Schedule;
use crate::process::{self, cpu_seconds_of_tree, peak_rss_mib};
use crate::profile::Profiler;
use crate::report::{Report, Usage};
use crate::scenario::{CeilingKind, Posts, Scenario, looped, records_of};
use crate::sender::{SendReport, send_all};
use crate::topics::{self, PARTITIONS, ceiling_topic_of, topics_of};
use crate::under_way::keep_under_way;

/// Header with the time a post was due, microseconds since 1970, in decimal digits.
const DUE_HEADER: &str = "jtav-load-due-us";
/// So long without a single new outcome, and what is open counts as lost.
const SILENCE: Duration = Duration::from_secs(20);
/// The longest wait for outcomes after the last send.
const DRAIN: Duration = Duration::from_secs(300);
/// What media may be remembered for, by workers with a cache: as a content delivery network has it.
const CACHE_CONTROL: &str = "public, max-age=3600";
/// What the forward ceiling is measured over.
const CEILING_TIME: Duration = Duration::from_secs(6);

/// What the command line decides.
#[derive(Debug)]
pub struct Options {
    /// Name of the scenario.
    pub name: String,
    /// The scenario, flags applied.
    pub scenario: Scenario,
    /// A running broker; none starts one.
    pub brokers: Option<String>,
    /// A running store; none starts one.
    pub redis_url: Option<String>,
    /// The worker's program; none takes the one beside this program.
    pub worker: Option<PathBuf>,
    /// Whether to measure the ceiling.
    pub with_ceiling: bool,
    /// Where a flame graph of the measured phase goes.
    pub profile: Option<PathBuf>,
}

/// Everything a run needs, started. Fields are dropped in this order: the worker before what it depends on.
pub struct Bench {
    worker: Worker,
    collector: Collector,
    producer: Producer,
    kafka: Option<RealKafka>,
    redis: Option<RealRedis>,
    _media: MediaServer,
    brokers: String,
    topics: Topics,
    ceiling_topic: String,
    pack: Pack,
    round: Vec<FeedRecord>,
}

impl Bench {
    /// Starts everything; returns when the worker is ready.
    pub async fn start(options: &Options) -> Result<Self> {
        // Before all else: what is missing is said at once.
        local::worker_program(options.worker.clone())?;
        let pack = Pack::open(workspace_root().join(SAMPLE_FEED))?;
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let media = MediaServer::start_cacheable(pack.folder(), anywhere, CACHE_CONTROL)?;
        let round = records_of(&pack, options.scenario.posts, &media.base_url())?;

        let kafka = options.brokers.is_none().then(local::start_kafka).transpose()?;
        let brokers = kafka.as_ref().map(|kafka| kafka.brokers().to_owned()).or_else(|| options.brokers.clone());
        let brokers = brokers.context("Invariant: a broker was given or started")?;
        let redis = options.redis_url.is_none().then(local::start_redis).transpose()?;
        let redis_url = redis.as_ref().map(|redis| redis.url(0)).or_else(|| options.redis_url.clone());
        let redis_url = redis_url.context("Invariant: a store was given or started")?;

        let name = format!("load-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
        let (topics, ceiling_topic) = (topics_of(&name), ceiling_topic_of(&name));
        let client = ClientSettings::new(&brokers, "jtav-load");
        topics::make(&client, topics.all().into_iter().chain([&ceiling_topic[..]])).await?;
        let collector = Collector::start(&brokers, &topics)?;
        // An open loop never waits for room in the client's queue.
        let queues = ProducerSettings {
            queue_max_messages: 2_000_000,
            queue_max_kbytes: 1 << 20,
            ..ProducerSettings::default()
        };
        let producer = Producer::new(&client, &queues)?;

        eprintln!("starting the worker ...");
        let with_media = options.scenario.posts != Posts::Texts;
        let hosts = if with_media { vec![media.address()] } else { Vec::new() };
        let config = worker_config(&options.scenario, &brokers, &topics, &redis_url, &hosts);
        let worker = local::start_worker(options.worker.clone(), &config)?;
        Ok(Self {
            worker,
            collector,
            producer,
            kafka,
            redis,
            _media: media,
            brokers,
            topics,
            ceiling_topic,
            pack,
            round,
        })
    }

    /// Sends the records on schedule and waits until each has an outcome, or nothing moves any more.
    pub async fn phase(&mut self, schedule: Schedule, records: &[FeedRecord]) -> Result<(SendReport, usize, Phase)> {
        let start = Instant::now();
        self.collector.begin(book_of(schedule, records)?, start);
        let start_unix = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let (producer, topic) = (self.producer.clone(), self.topics.input.clone());
        let count = records.len();
        let backlog = Cell::new(0);
        let collector = &self.collector;
        let sending = send_all(records.to_vec(), schedule, start, |index, mut record| {
            let due = start_unix + schedule.due(index);
            record.timestamp_ms = Some(due.as_millis() as i64);
            record.headers.push((DUE_HEADER.to_owned(), Some(due.as_micros().to_string().into())));
            if index + 1 == count {
                backlog.set(collector.open());
            }
            let (producer, record) = (producer.clone(), outbound(&topic, &record));
            async move {
                producer.send(record).await?;
                Ok(())
            }
            .boxed_local()
        });
        let worker = &mut self.worker;
        let watching = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if let Err(error) = worker.check() {
                    return error;
                }
            }
        };
        let sent = tokio::select! {
            sent = sending => sent,
            error = watching => return Err(error),
        };
        let refused: Vec<_> = sent.refused.iter().map(|index| id(&records[*index])).collect();
        self.collector.refuse(refused.iter().map(AsRef::as_ref));
        let phase = self.rest().await?;
        if let Some(error) = &phase.error {
            eprintln!("the collector met an error (librdkafka goes on by itself after most): {error}");
        }
        Ok((sent, backlog.get(), phase))
    }

    async fn drain(&mut self) -> Result<()> {
        let deadline = Instant::now() + DRAIN;
        let (mut open, mut moved) = (self.collector.open(), Instant::now());
        while open > 0 && moved.elapsed() < SILENCE && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.worker.check()?;
            let now_open = self.collector.open();
            if now_open < open {
                (open, moved) = (now_open, Instant::now());
            }
        }
        Ok(())
    }

    /// Keeps so many posts under way for `seconds`. `made` counts the posts, whose outcomes go into the phase that was begun.
    pub async fn keep_under_way(&self, posts: usize, seconds: f64, made: &Cell<usize>) -> Result<()> {
        let (round, collector) = (&self.round, &self.collector);
        let send = || {
            let index = made.replace(made.get() + 1);
            let record = round[index % round.len()].with_id_suffix(&format!("~kept~{}", index / round.len() + 1));
            collector.expect(&labelled(&record));
            let (producer, record) = (self.producer.clone(), outbound(&self.topics.input, &record));
            async move {
                producer.send(record).await?;
                anyhow::Ok(())
            }
        };
        keep_under_way(posts, seconds, || collector.open(), send, |_| Ok(())).await
    }

    /// Waits until every post of the phase has an outcome, or nothing moves any more, and ends the phase.
    pub async fn rest(&mut self) -> Result<Phase> {
        self.drain().await?;
        self.collector.end().context("Invariant: a phase was begun")
    }

    /// Sends the posts of the warm-up, whose outcomes count nowhere.
    pub async fn warm_up(&mut self, scenario: &Scenario) -> Result<()> {
        let schedule = Schedule::new(scenario.rate_per_second)?;
        let posts = schedule.records_in(scenario.warm_up_seconds);
        let (_, _, phase) = self.phase(schedule, &looped(&self.round, posts, "~warm")).await?;
        let counts = phase.book.counts();
        if counts.labelled == 0 {
            bail!(
                "not one of {posts} posts of the warm-up was labelled ({} dead-lettered); the end of the worker's log:\n{}",
                counts.dead_lettered,
                self.worker.log_tail()
            );
        }
        Ok(())
    }

    fn pids(&self) -> [Option<u32>; 3] {
        [Some(self.worker.pid()), self.kafka.as_ref().map(RealKafka::pid), self.redis.as_ref().map(RealRedis::pid)]
    }

    /// Where its outcomes are booked.
    pub fn collector(&self) -> &Collector {
        &self.collector
    }

    /// The store, if it is this run's own.
    pub fn redis(&self) -> Option<&RealRedis> {
        self.redis.as_ref()
    }

    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The records of one round.
    pub fn round(&self) -> &[FeedRecord] {
        &self.round
    }

    /// CPU seconds of worker, broker and store; none of what is not ours.
    pub fn cpu_now(&self) -> Result<[Option<f64>; 3]> {
        let [worker, kafka, redis] = self.pids().map(|pid| pid.map(cpu_seconds_of_tree).transpose());
        Ok([worker?, kafka?, redis?])
    }

    /// What they took since `before`.
    fn usage_since(&self, before: [Option<f64>; 3], settled: usize) -> Result<[Option<Usage>; 3]> {
        let after = self.cpu_now()?;
        let usage = |index: usize| -> Result<Option<Usage>> {
            let (Some(pid), Some(after), Some(before)) = (self.pids()[index], after[index], before[index]) else {
                return Ok(None);
            };
            let cpu_seconds = after - before;
            let cpu_ms_per_post = cpu_seconds * 1e3 / settled.max(1) as f64;
            Ok(Some(Usage { cpu_seconds, cpu_ms_per_post, peak_rss_mib: peak_rss_mib(pid)? }))
        };
        Ok([usage(0)?, usage(1)?, usage(2)?])
    }

    /// The ceiling, or why there is none.
    async fn ceiling_if_wanted(&self, options: &Options, records: &[FeedRecord]) -> (Option<Ceiling>, Option<String>) {
        if !options.with_ceiling {
            return (None, Some("left out (--no-ceiling)".to_owned()));
        }
        eprintln!("measuring the ceiling ...");
        match self.ceiling(options, records).await {
            Ok(ceiling) => (Some(ceiling), None),
            // The run itself is worth keeping.
            Err(error) => (None, Some(format!("not measured: {error:#}"))),
        }
    }

    async fn ceiling(&self, options: &Options, records: &[FeedRecord]) -> Result<Ceiling> {
        match options.scenario.ceiling {
            CeilingKind::Broker => {
                ceiling::broker(&self.producer, &self.brokers, &self.ceiling_topic, PARTITIONS, records).await
            }
            CeilingKind::Forward => {
                let (pack, posts) = (self.pack.clone(), options.scenario.posts);
                let model = workspace_root().join(model_path(&options.scenario));
                tokio::task::spawn_blocking(move || ceiling::forward(&pack, posts, &model, CEILING_TIME)).await?
            }
        }
    }
}

/// The checkpoint the worker runs: its default unless the scenario names another.
fn model_path(scenario: &Scenario) -> &Path {
    let named = scenario.worker.get("model").and_then(|model| model.get("path")).and_then(toml::Value::as_str);
    Path::new(named.unwrap_or("models/jtav-modern"))
}

/// The settings of the scenario, and over them those that point the worker at this run's broker, store and media hosts.
fn worker_config(
    scenario: &Scenario,
    brokers: &str,
    topics: &Topics,
    redis_url: &str,
    media_hosts: &[SocketAddr],
) -> WorkerConfig {
    let config =
        WorkerConfig::of(scenario.worker.clone()).set("kafka.brokers", brokers).topics(topics).redis(redis_url);
    if media_hosts.is_empty() { config } else { config.media_hosts(media_hosts) }
}

fn id(record: &FeedRecord) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&record.key)
}

fn labelled(record: &FeedRecord) -> Expected {
    Expected::Labelled { id: id(record).into_owned(), revision: 0 }
}

/// Every post is to be labelled.
fn book_of(schedule: Schedule, records: &[FeedRecord]) -> Result<Book> {
    let mut book = Book::new()?;
    for (index, record) in records.iter().enumerate() {
        book.expect(&labelled(record), schedule.due(index));
    }
    Ok(book)
}

/// Runs the scenario and returns its report, not yet written.
pub async fn run(options: &Options) -> Result<Report> {
    let scenario = &options.scenario;
    let schedule = Schedule::new(scenario.rate_per_second)?;
    let (machine, commit) = (process::machine(), process::commit());
    let mut bench = Bench::start(options).await?;

    eprintln!("warming up: {} s at {} posts a second ...", scenario.warm_up_seconds, scenario.rate_per_second);
    bench.warm_up(scenario).await?;
    eprintln!("measuring: {} s at {} posts a second ...", scenario.seconds, scenario.rate_per_second);
    let records = looped(&bench.round, schedule.records_in(scenario.seconds), "");
    let profiler = options.profile.as_ref().map(|_| Profiler::start(bench.worker.pid())).transpose()?;
    let before = bench.cpu_now()?;
    let (send, backlog_at_last_send, phase) = bench.phase(schedule, &records).await?;
    let counts = phase.book.counts();
    let settled = counts.labelled + counts.dead_lettered;
    let [worker, kafka, redis] = bench.usage_since(before, settled)?;
    if let (Some(profiler), Some(svg)) = (profiler, &options.profile) {
        eprintln!("unwinding the stacks ...");
        println!("{}flame graph: {}", profiler.finish(svg)?, svg.display());
    }
    // One interval more, as in the arrival rate: n posts are n intervals.
    let span = phase.book.last_settled_at().as_secs_f64() + 1.0 / schedule.rate_per_second();
    let achieved = settled as f64 / span;
    let (ceiling, ceiling_left_out) = bench.ceiling_if_wanted(options, &records).await;
    Ok(Report {
        format: 1,
        date: process::utc_now(),
        commit,
        machine,
        name: options.name.clone(),
        scenario: scenario.clone(),
        broker: options.brokers.clone().unwrap_or_else(|| "own".to_owned()),
        saturated: achieved < 0.95 * send.arrival_rate_per_second,
        send,
        achieved_rate_per_second: achieved,
        backlog_at_last_send,
        lost_ids: phase.book.open_ids(10),
        latency: phase.book.latency(),
        counts,
        modalities: phase.modalities,
        worker: worker.context("Invariant: the worker is ours")?,
        kafka,
        redis,
        ceiling,
        ceiling_left_out,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_is_pointed_at_this_run_and_keeps_the_settings_of_the_scenario() {
        let scenario: Scenario = toml::from_str(
            "description = 'd'\nposts = 'all'\nrate_per_second = 1.0\nseconds = 1\nwarm_up_seconds = 1\n\
             ceiling = 'broker'\n[worker.model]\nstub = true\n[worker.kafka]\nbrokers = 'elsewhere:1'\nclient_id = 'c'\n",
        )
        .unwrap();
        let media = "127.0.0.1:2".parse().unwrap();
        let config = worker_config(&scenario, "b:9", &topics_of("r"), "redis+unix:///s", &[media]);
        let settings: toml::Table = config.to_toml().parse().unwrap();
        assert_eq!(settings["kafka"]["brokers"].as_str(), Some("b:9"));
        assert_eq!(settings["kafka"]["client_id"].as_str(), Some("c"));
        assert_eq!(settings["kafka"]["input_topic"].as_str(), Some("r-posts"));
        assert_eq!(settings["model"]["stub"].as_bool(), Some(true));
        assert_eq!(settings["media"]["allow"][0].as_str(), Some("127.0.0.1:2"));
    }
}
