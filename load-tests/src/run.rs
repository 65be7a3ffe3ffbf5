//! One run: start everything, warm up, measure, compare, write down.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use futures::FutureExt as _;
use jtav_feed_simulator::{FeedRecord, MediaServer, Pack, SAMPLE_FEED};
use jtav_kafka::{ClientSettings, Producer, ProducerSettings, TopicSpec, ensure_topics};

use crate::ceiling::{self, Ceiling, outbound};
use crate::collector::{Collector, Phase};
use crate::ledger::Ledger;
use crate::local::{self, Process};
use crate::pacing::Schedule;
use crate::process::{self, cpu_seconds_of_tree, peak_rss_mib};
use crate::report::{self, Report, Usage};
use crate::scenario::{CeilingKind, Posts, Scenario, ids, looped, records_of};
use crate::sender::{SendReport, send_all};

/// Partitions of every topic of a run.
pub const PARTITIONS: i32 = 4;
/// Header with the time a post was due, microseconds since 1970, in decimal digits.
const DUE_HEADER: &str = "jtav-load-due-us";
/// So long without a single new outcome, and what is open counts as lost.
const SILENCE: Duration = Duration::from_secs(20);
/// The longest wait for outcomes after the last send.
const DRAIN: Duration = Duration::from_secs(300);
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
    /// The repository.
    pub root: PathBuf,
}

/// Topics of a run.
pub struct Topics {
    /// Input.
    pub posts: String,
    /// Labels.
    pub sentiment: String,
    /// Vectors.
    pub embeddings: String,
    /// What was set aside.
    pub dead_letters: String,
    /// What was erased.
    pub erasures: String,
    /// For plain produce and consume.
    pub ceiling: String,
}

impl Topics {
    /// Names of their own for each run, so that a shared broker's topics are left alone.
    pub fn new(run: &str) -> Self {
        let name = |topic: &str| format!("{run}-{topic}");
        Self {
            posts: name("posts"),
            sentiment: name("sentiment"),
            embeddings: name("embeddings"),
            dead_letters: name("dead-letters"),
            erasures: name("erasures"),
            ceiling: name("ceiling"),
        }
    }

    /// All of them.
    pub fn specs(&self) -> Vec<TopicSpec> {
        [&self.posts, &self.sentiment, &self.embeddings, &self.dead_letters, &self.erasures, &self.ceiling]
            .into_iter()
            .map(|name| TopicSpec::new(name, PARTITIONS, 1))
            .collect()
    }
}

/// Everything a run needs, started. Fields are dropped in this order: the worker before what it depends on.
struct Bench {
    worker: Process,
    collector: Collector,
    producer: Producer,
    kafka: Option<Process>,
    redis: Option<Process>,
    _media: MediaServer,
    brokers: String,
    topics: Topics,
    pack: Pack,
    round: Vec<FeedRecord>,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn start(options: &Options) -> Result<Self> {
        let program = local::worker_program(options.worker.clone())?;
        // Short, because a unix socket's path may have 107 bytes.
        let folder = tempfile::Builder::new().prefix("jtav-load").tempdir()?;
        let pack = Pack::open(options.root.join(SAMPLE_FEED))?;
        let media = MediaServer::start(pack.folder(), SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let round = records_of(&pack, options.scenario.posts, &media.base_url())?;

        let (kafka, brokers) = match &options.brokers {
            Some(brokers) => (None, brokers.clone()),
            None => {
                eprintln!("starting Apache Kafka ...");
                let (process, address) = local::start_kafka(&options.root, folder.path())?;
                (Some(process), address)
            }
        };
        let (redis, redis_url) = match &options.redis_url {
            Some(url) => (None, url.clone()),
            None => {
                let (process, url) = local::start_redis(folder.path())?;
                (Some(process), url)
            }
        };
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let topics = Topics::new(&format!("load-{stamp}"));
        let client = ClientSettings::new(&brokers, "jtav-load");
        ensure_topics(&client, &topics.specs(), Duration::from_secs(30))
            .await
            .with_context(|| format!("cannot make topics at {brokers}: is Kafka running there?"))?;
        let collector = Collector::start(&brokers, &topics.sentiment, &topics.dead_letters, PARTITIONS)?;
        // An open loop never waits for room in the client's queue.
        let queues = ProducerSettings {
            queue_max_messages: 2_000_000,
            queue_max_kbytes: 1 << 20,
            ..ProducerSettings::default()
        };
        let producer = Producer::new(&client, &queues)?;

        eprintln!("starting the worker ...");
        let admin = local::free_address()?;
        let config = folder.path().join("worker.toml");
        let hosts: &[SocketAddr] = if options.scenario.posts == Posts::All { &[media.address()] } else { &[] };
        let settings = worker_settings(&options.scenario.worker, &brokers, &redis_url, &topics, admin, hosts);
        std::fs::write(&config, toml::to_string(&settings)?)?;
        let worker = local::start_worker(&program, &options.root, &config, admin, folder.path())?;
        Ok(Self {
            worker,
            collector,
            producer,
            kafka,
            redis,
            _media: media,
            brokers,
            topics,
            pack,
            round,
            _folder: folder,
        })
    }

    /// Sends the records on schedule and waits until each has an outcome, or nothing moves any more.
    async fn phase(&mut self, schedule: Schedule, records: &[FeedRecord]) -> Result<(SendReport, usize, Phase)> {
        let start = Instant::now();
        self.collector.begin(Ledger::new(schedule, ids(records))?, start);
        let start_unix = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let (producer, topic) = (self.producer.clone(), self.topics.posts.clone());
        let count = records.len();
        let backlog = std::cell::Cell::new(0);
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
        self.collector.refuse(&sent.refused);
        self.drain().await?;
        let phase = self.collector.end().context("Invariant: a phase was begun")?;
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

    async fn warm_up(&mut self, scenario: &Scenario) -> Result<()> {
        let schedule = Schedule::new(scenario.rate_per_second)?;
        let posts = schedule.records_in(scenario.warm_up_seconds);
        let (_, _, phase) = self.phase(schedule, &looped(&self.round, posts, "~warm")).await?;
        let counts = phase.ledger.counts();
        if counts.labelled == 0 {
            bail!(
                "not one of {posts} posts of the warm-up was labelled ({} dead-lettered); the end of the worker's log:\n{}",
                counts.dead_lettered,
                self.worker.log_tail()
            );
        }
        Ok(())
    }

    fn cpu_now(&self) -> Result<[f64; 3]> {
        let of = |process: Option<&Process>| process.map_or(Ok(0.0), |process| cpu_seconds_of_tree(process.pid()));
        Ok([of(Some(&self.worker))?, of(self.kafka.as_ref())?, of(self.redis.as_ref())?])
    }

    async fn ceiling(&self, options: &Options, records: &[FeedRecord]) -> Result<Ceiling> {
        match options.scenario.ceiling {
            CeilingKind::Broker => {
                ceiling::broker(&self.producer, &self.brokers, &self.topics.ceiling, PARTITIONS, records).await
            }
            CeilingKind::Forward => {
                let (pack, posts) = (self.pack.clone(), options.scenario.posts);
                let model = options.root.join(model_path(&options.scenario));
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

/// The given settings, and over them those that point the worker at this run's broker, store and media hosts.
pub fn worker_settings(
    own: &toml::Table,
    brokers: &str,
    redis_url: &str,
    topics: &Topics,
    admin: SocketAddr,
    media_hosts: &[SocketAddr],
) -> toml::Table {
    let mut settings = own.clone();
    let mut set = |section: &str, key: &str, value: toml::Value| {
        let section = settings.entry(section.to_owned()).or_insert_with(|| toml::Table::new().into());
        if let Some(section) = section.as_table_mut() {
            section.insert(key.to_owned(), value);
        }
    };
    set("kafka", "brokers", brokers.into());
    set("kafka", "group_id", format!("{}-worker", topics.posts).into());
    set("kafka", "input_topic", topics.posts.as_str().into());
    set("kafka", "sentiment_topic", topics.sentiment.as_str().into());
    set("kafka", "embeddings_topic", topics.embeddings.as_str().into());
    set("kafka", "dead_letters_topic", topics.dead_letters.as_str().into());
    set("kafka", "erasures_topic", topics.erasures.as_str().into());
    set("store", "url", redis_url.into());
    set("admin", "listen", admin.to_string().into());
    if !media_hosts.is_empty() {
        let hosts: Vec<String> = media_hosts.iter().map(SocketAddr::to_string).collect();
        set("media", "allow", hosts.into());
    }
    settings
}

/// Runs the scenario and returns its report, not yet written.
pub async fn run(options: &Options) -> Result<Report> {
    let scenario = &options.scenario;
    let schedule = Schedule::new(scenario.rate_per_second)?;
    let machine = process::machine();
    let commit = report::commit(&options.root);
    let mut bench = Bench::start(options).await?;

    eprintln!("warming up: {} s at {} posts a second ...", scenario.warm_up_seconds, scenario.rate_per_second);
    bench.warm_up(scenario).await?;
    eprintln!("measuring: {} s at {} posts a second ...", scenario.seconds, scenario.rate_per_second);
    let records = looped(&bench.round, schedule.records_in(scenario.seconds), "");
    let before = bench.cpu_now()?;
    let (send, backlog_at_last_send, phase) = bench.phase(schedule, &records).await?;
    let after = bench.cpu_now()?;

    let counts = phase.ledger.counts();
    let settled = counts.labelled + counts.dead_lettered;
    let usage = |process: &Process, index: usize| -> Result<Usage> {
        let cpu_seconds = after[index] - before[index];
        let cpu_ms_per_post = cpu_seconds * 1e3 / settled.max(1) as f64;
        Ok(Usage { cpu_seconds, cpu_ms_per_post, peak_rss_mib: peak_rss_mib(process.pid())? })
    };
    let worker = usage(&bench.worker, 0)?;
    let kafka = bench.kafka.as_ref().map(|process| usage(process, 1)).transpose()?;
    let redis = bench.redis.as_ref().map(|process| usage(process, 2)).transpose()?;
    // One interval more, as in the arrival rate: n posts are n intervals.
    let span = phase.ledger.last_outcome().as_secs_f64() + 1.0 / schedule.rate_per_second();
    let achieved = settled as f64 / span;

    let (ceiling, ceiling_left_out) = if options.with_ceiling {
        eprintln!("measuring the ceiling ...");
        match bench.ceiling(options, &records).await {
            Ok(ceiling) => (Some(ceiling), None),
            // The run itself is worth keeping.
            Err(error) => (None, Some(format!("not measured: {error:#}"))),
        }
    } else {
        (None, Some("left out (--no-ceiling)".to_owned()))
    };
    Ok(Report {
        format: 1,
        date: process::output_of("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]).context("`date` failed")?,
        commit,
        machine,
        name: options.name.clone(),
        scenario: scenario.clone(),
        broker: options.brokers.clone().unwrap_or_else(|| "own".to_owned()),
        saturated: achieved < 0.95 * send.arrival_rate_per_second,
        send,
        achieved_rate_per_second: achieved,
        backlog_at_last_send,
        lost_ids: phase.ledger.lost_ids(10),
        latency: phase.ledger.latency(),
        counts,
        modalities: phase.modalities,
        worker,
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
        let (admin, media) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        let settings = worker_settings(&scenario.worker, "b:9", "redis+unix:///s", &Topics::new("r"), admin, &[media]);
        assert_eq!(settings["kafka"]["brokers"].as_str(), Some("b:9"));
        assert_eq!(settings["kafka"]["client_id"].as_str(), Some("c"));
        assert_eq!(settings["kafka"]["input_topic"].as_str(), Some("r-posts"));
        assert_eq!(settings["model"]["stub"].as_bool(), Some(true));
        assert_eq!(settings["media"]["allow"][0].as_str(), Some("127.0.0.1:2"));
    }
}
