//! Whether strangers can take anything from the others: the sample feed at 70 % of what the worker can do, alone and with
//! hostile posts among it, in blocks in the order A B A B. The honest posts must come out as if the others were not there,
//! and every hostile one must come to its end.

mod kinds;
mod media;
mod outcomes;
mod report;
mod server;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use futures::FutureExt as _;
use jtav_kafka::OutboundRecord;
use jtav_testkit::metric;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use self::kinds::HostileFeed;
use self::media::Files;
use self::outcomes::OutcomeReader;
pub use self::report::HostileReport;
use self::report::{Block, LONGEST_END, Violations};
use self::server::HostileServer;
use super::options::RigOptions;
use super::rig::{RUN, Rig, UNCOUNTED, make};
use crate::collector::lock;
use crate::local;
use crate::pacing::Schedule;
use crate::process::{self, cpu_seconds_of_tree};
use crate::sender::{SendReport, send_all};
use crate::topics::topics_of;

/// Honest posts a second, as a share of the capacity.
const LOAD: f64 = 0.7;
/// Share of all posts that are hostile.
const SHARE: f64 = 0.05;
/// Bytes of the largest record that is sent, headers included; a topic takes 1,048,588 of Kafka's own default.
const PRODUCER_BYTES: &str = "2000000";

/// How much is measured.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Plan {
    /// Seconds of a block
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    pub block_seconds: f64,
    /// Pairs of blocks, one without and one with hostile posts
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub pairs: usize,
    /// Seconds over which the capacity is measured
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    pub capacity_seconds: f64,
    /// Honest posts a second [default: 70 % of the capacity]
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
}

/// What stands beside the rig.
struct Strangers {
    feed: HostileFeed,
    reader: OutcomeReader,
    producer: FutureProducer,
}

/// Counts of the worker at a moment.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    generation: f64,
    abandoned: f64,
    nothing_to_label: f64,
    cpu_seconds: f64,
}

/// Runs all blocks.
pub async fn run(plan: Plan, options: &RigOptions) -> Result<HostileReport> {
    let (date, commit, machine) = (process::utc_now(), process::commit(), process::machine());
    let server = HostileServer::start(Files::make()).await?;
    let options = RigOptions { further_hosts: server.addresses().to_vec(), ..options.clone() };
    let mut rig = Rig::start(&options).await?;
    let mut strangers = Strangers::start(&rig, server)?;
    let (rate, capacity) = match plan.rate {
        Some(rate) => (rate, None),
        None => {
            let capacity = rig.closed_loop(plan.capacity_seconds, UNCOUNTED, "measuring the capacity").await?;
            (LOAD * capacity.posts_per_second, Some(capacity.posts_per_second))
        }
    };
    rest(&mut rig, &strangers).await?;
    strangers.reader.book().take_honest();
    let started = counts(&rig)?;
    let mut blocks = Vec::new();
    for pair in 0..plan.pairs {
        for with in [false, true] {
            let number = 2 * pair + usize::from(with) + 1;
            let name = format!("block {number} of {}", 2 * plan.pairs);
            blocks.push(block(&mut rig, &mut strangers, rate, plan.block_seconds, with, &name).await?);
        }
    }
    let (ended, tally) = (counts(&rig)?, lock(&rig.book).tally());
    let book = strangers.reader.book();
    let violations = Violations {
        lost: tally.lost,
        set_aside: tally.set_aside,
        duplicates_visible: tally.duplicates_visible,
        restarts: (ended.generation - started.generation) as u64,
        abandoned: (ended.abandoned - started.abandoned) as u64,
        unended: book.open() as u64,
        unended_keys: book.open_keys(20),
        silent: book.silent(),
        silent_counted: (ended.nothing_to_label - started.nothing_to_label) as u64,
    };
    Ok(HostileReport {
        format: 1,
        date,
        commit,
        machine,
        model: options.model_name().to_owned(),
        share: SHARE,
        capacity_posts_per_second: capacity,
        load: LOAD,
        rate_per_second: rate,
        block_seconds: plan.block_seconds,
        blocks,
        kinds: book.kinds().clone(),
        verdict: violations,
    })
}

impl Strangers {
    fn start(rig: &Rig, server: HostileServer) -> Result<Self> {
        let topics = topics_of(RUN);
        let producer = ClientConfig::new()
            .set("bootstrap.servers", rig.brokers())
            .set("client.id", "jtav-load-hostile")
            .set("message.max.bytes", PRODUCER_BYTES)
            .create()
            .context("cannot create the strangers' producer")?;
        let reader = OutcomeReader::start(rig.brokers(), &topics)?;
        Ok(Self { feed: HostileFeed::new(&topics.input, server), reader, producer })
    }
}

/// A block: honest posts and, in some blocks, the others among them.
async fn block(
    rig: &mut Rig,
    strangers: &mut Strangers,
    rate: f64,
    seconds: f64,
    with: bool,
    name: &str,
) -> Result<Block> {
    eprintln!("{name}: {seconds:.0} s, {}", if with { "with hostile posts" } else { "honest posts alone" });
    lock(&rig.book).reset_latencies();
    let (before, settled_before) = (counts(rig)?, lock(&rig.book).settlements());
    let begin = Instant::now();
    let [sent, sent_hostile] = send_both(rig, strangers, rate, seconds, with, begin).await?;
    let settled = lock(&rig.book).settlements() - settled_before;
    let after = counts(rig)?;
    let drain_seconds = rest(rig, strangers).await?;
    let book = lock(&rig.book);
    Ok(Block {
        with_hostile: with,
        honest_sent: sent.sent as u64,
        hostile_sent: sent_hostile.sent as u64,
        generator_late_ms: sent.max_lateness_ms,
        arrival_rate_per_second: sent.arrival_rate_per_second,
        achieved_rate_per_second: settled as f64 / begin.elapsed().as_secs_f64().min(seconds),
        p50_ms: book.latency_ms(50.0),
        p99_ms: book.latency_ms(99.0),
        max_ms: book.latency_ms(100.0),
        worker_cpu_seconds: after.cpu_seconds - before.cpu_seconds,
        drain_seconds,
        honest_parts: strangers.reader.book().take_honest(),
    })
}

/// Sends all posts of a block when they are due, counted from `begin`: what became of honest and of hostile ones.
async fn send_both(
    rig: &mut Rig,
    strangers: &mut Strangers,
    rate: f64,
    seconds: f64,
    with: bool,
    begin: Instant,
) -> Result<[SendReport; 2]> {
    let begin_unix = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let schedule = Schedule::new(rate)?;
    let offset = rig.start.elapsed();
    let Rig { feed, book, producer, worker, .. } = &mut *rig;
    let honest = send_all(vec![(); schedule.records_in(seconds)], schedule, begin, |index, ()| {
        let mut record = make(feed, book, offset + schedule.due(index));
        record.timestamp_ms = Some((begin_unix + schedule.due(index)).as_millis() as i64);
        let producer = producer.clone();
        async move {
            producer.send(record).await?;
            Ok(())
        }
        .boxed_local()
    });
    // Of all posts that many are hostile, so of the honest ones a little more.
    let among = Schedule::new(rate * SHARE / (1.0 - SHARE))?;
    let hostile_posts = if with { among.records_in(seconds) } else { 0 };
    let Strangers { feed, reader, producer } = strangers;
    let hostile = send_all(vec![(); hostile_posts], among, begin, |index, ()| {
        let hostile = feed.next();
        reader.book().expect(&hostile, begin + among.due(index));
        let producer = producer.clone();
        async move {
            for record in hostile.records {
                send(&producer, record).await?;
            }
            Ok(())
        }
        .boxed_local()
    });
    let watching = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Err(error) = worker.check() {
                return error;
            }
        }
    };
    let (sent, sent_hostile): (SendReport, SendReport) = tokio::select! {
        sent = futures::future::join(honest, hostile) => sent,
        error = watching => return Err(error),
    };
    for sent in [&sent, &sent_hostile] {
        if let Some(error) = &sent.first_error {
            bail!("a record could not be produced, and nothing was measured: {error}");
        }
    }
    Ok([sent, sent_hostile])
}

/// Until every post has ended and the worker is idle; none if that does not come.
async fn rest(rig: &mut Rig, strangers: &Strangers) -> Result<Option<f64>> {
    let begin = Instant::now();
    while strangers.reader.book().open() > 0 && begin.elapsed() < LONGEST_END {
        tokio::time::sleep(Duration::from_millis(100)).await;
        rig.worker.check()?;
    }
    let idle = rig.drain().await?;
    Ok(idle.map(|_| begin.elapsed().as_secs_f64()))
}

async fn send(producer: &FutureProducer, record: OutboundRecord) -> Result<()> {
    let headers = record
        .headers
        .iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: value.as_deref() }));
    let key = record.key.unwrap_or_default();
    let mut outbound = FutureRecord::to(&record.topic).key(&key[..]).headers(headers);
    if let Some(value) = &record.value {
        outbound = outbound.payload(&value[..]);
    }
    producer.send(outbound, Duration::from_secs(30)).await.map_err(|(error, _)| error)?;
    Ok(())
}

fn counts(rig: &Rig) -> Result<Counts> {
    let exposition = local::metrics(rig.worker.admin())?;
    let sum = |name: &str| metric(&exposition, name, |a, b| a + b).unwrap_or(0.0);
    Ok(Counts {
        generation: sum("jtav_pipeline_generation"),
        abandoned: sum("jtav_delivery_abandoned_total"),
        nothing_to_label: nothing_to_label(&exposition),
        cpu_seconds: cpu_seconds_of_tree(rig.worker.pid())?,
    })
}

/// Posts that ended without a record anywhere.
fn nothing_to_label(exposition: &str) -> f64 {
    let lines = exposition.lines().filter(|line| line.starts_with("jtav_posts_total{"));
    let ours = lines.filter(|line| line.contains(r#"reason="nothing_to_label""#));
    ours.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
