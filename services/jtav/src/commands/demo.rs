//! `jtav demo`: the whole system on one machine with nothing installed: in-process Kafka, a local media server (the
//! one address that may be fetched from), the real networks, the embedded store.

mod said;
mod view;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use jtav_feed_processor::admin::Admin;
use jtav_feed_processor::networks::fit_to_model;
use jtav_feed_processor::{Networks, Worker, exit};
use jtav_feed_simulator::{FeedRecord, KafkaSink, MediaServer, Pack, PlayOptions, SAMPLE_FEED, demo_feed, play};
use jtav_kafka::{InProcessCluster, Producer, ProducerSettings};
use jtav_pipeline::{Observer, PostReport};
use jtav_query::{ServeParams, Server};
use jtav_settings::{Device, Settings, StoreKind, bundled};
use jtav_store::EmbeddedStore;
use tokio::sync::{mpsc, oneshot};

use self::view::{Tally, View};
use crate::failure::coded;
use crate::output::errln;
use crate::setup::{self, LogFormatArg};

/// Partitions of the input topic.
const PARTITIONS: i32 = 4;
/// Without any outcome for so long, the demo gives up and says so.
const SILENCE: Duration = Duration::from_secs(60);

/// `jtav demo`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  jtav demo\n  jtav demo --json | jq .latency_ms\n  jtav demo --serve    then open http://127.0.0.1:9700: the feed, and why"
)]
pub struct DemoArgs {
    /// One line of JSON, last on stdout, in place of the live view.
    #[arg(long)]
    json: bool,
    /// Stay alive after the feed: serve the page and the API, and /metrics and /describe of the worker, until Ctrl-C.
    #[arg(long)]
    serve: bool,
    /// Where --serve listens with the page and the API; port 0 is any free one.
    #[arg(long, default_value = "127.0.0.1:9700", value_name = "ADDRESS")]
    page: SocketAddr,
    /// Where --serve listens with /metrics, /healthz, /readyz, /describe of the worker.
    #[arg(long, default_value = "127.0.0.1:9600", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Data pack to play in place of the bundled one.
    #[arg(long, value_name = "DIR")]
    feed: Option<PathBuf>,
    /// Checkpoint in place of the bundled one.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Posts a second; without it as fast as they are taken.
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// `auto` (a GPU if there is one), `cpu` or `cuda:0`.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: Device,
}

pub fn run(arguments: &DemoArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, if arguments.json { "warn" } else { "error" });
    let view = View::new(arguments.json, std::io::stdout().is_terminal());
    let folder = match &arguments.feed {
        Some(folder) => folder.clone(),
        None => bundled(SAMPLE_FEED)?,
    };
    let pack = Pack::open(&folder).map_err(anyhow::Error::from).map_err(coded(exit::DATA))?;
    let media = MediaServer::on_loopback(pack.folder())?;
    let records = demo_feed(&pack, &media.base_url());
    let cluster = InProcessCluster::create(1)?;
    let settings = Arc::new(settings(arguments, &cluster, media.address()));
    for (_, topic) in settings.kafka.topics() {
        cluster.create_topic(topic, PARTITIONS)?;
    }
    let ran =
        setup::in_system(label_feed(arguments, Arc::clone(&settings), &cluster, &records, view, &media.base_url()))?;
    if !ran.missing.is_empty() {
        let (count, ids) = (ran.missing.len(), ran.missing.join(", "));
        anyhow::bail!("{count} of {} records have no outcome: {ids}; RUST_LOG=info says more", records.len());
    }
    Ok(if ran.gap == 0 { exit::OK } else { exit::FAILURE })
}

fn settings(arguments: &DemoArgs, cluster: &InProcessCluster, media: SocketAddr) -> Settings {
    let mut settings = Settings::default();
    settings.kafka.brokers = cluster.bootstrap().to_owned();
    settings.kafka.group_id = "jtav-demo".to_owned();
    settings.media.allow = vec![media];
    settings.store.kind = StoreKind::Embedded;
    settings.admin.listen = arguments.listen;
    settings.serve.listen = arguments.page;
    setup::with_model(&mut settings, arguments.model.as_deref());
    settings.model.device = arguments.device;
    fit_to_model(&mut settings);
    settings
}

/// Hands each outcome to the view.
struct Reports(mpsc::UnboundedSender<PostReport>);

impl Observer for Reports {
    fn settled(&self, report: PostReport) {
        // Bounded by the number of posts in the feed.
        let _ = self.0.send(report);
    }
}

/// What a demo came to.
struct Ran {
    gap: i64,
    /// Keys of records without an outcome.
    missing: Vec<String>,
}

/// Runs worker and feed side by side.
async fn label_feed(
    arguments: &DemoArgs,
    settings: Arc<Settings>,
    cluster: &InProcessCluster,
    records: &[FeedRecord],
    mut view: View,
    media_url: &str,
) -> anyhow::Result<Ran> {
    view.say("loading and warming the networks …")?;
    let decoders = setup::decoders(&settings);
    let networks = Networks::load(&settings, setup::exit_on_device_fault()).map_err(coded(exit::CONFIG))?;
    let decoders = decoders()?;
    let model_version = networks.model_version.to_string();
    say_what_runs(&view, &model_version, cluster, media_url)?;
    let (sender, mut reports) = mpsc::unbounded_channel();
    let client = cluster.client("jtav-demo");
    let worker = Worker::new(
        Arc::clone(&settings),
        client.clone(),
        Arc::new(EmbeddedStore::new()),
        networks,
        decoders,
        Arc::new(Reports(sender)),
    );
    let served = if arguments.serve { Some(serve(&worker)?) } else { None };
    let (stop, stopped) = oneshot::channel::<()>();
    let running = {
        let worker = worker.clone();
        actix_rt::spawn(async move {
            worker
                .run(async {
                    let _ = stopped.await;
                })
                .await
        })
    };

    let started = Instant::now();
    let sink = KafkaSink::new(Producer::new(&client, &ProducerSettings::default())?, &settings.kafka.input_topic);
    let tally = play_and_watch(arguments.rate, records, &sink, &mut reports, &mut view).await?;
    let wall = started.elapsed();

    let summarise = || summarise(&view, &worker, &tally, wall, &model_version);
    // Without --serve the summary comes after the drain, when nothing can be in flight any more.
    let early = if let Some((admin, server)) = &served {
        until_idle(&worker).await;
        let ran = summarise()?;
        errln!("\nthe worker's /metrics /healthz /readyz /describe at http://{}", admin.address);
        errln!("the page, and the API at /docs, until Ctrl-C: {}", server.url());
        setup::shutdown_signal().await;
        Some(ran)
    } else {
        None
    };
    if let Some((admin, server)) = served {
        server.stop().await;
        let _ = stop.send(());
        running.await.context("the worker's task")??;
        admin.stop().await;
    } else {
        let _ = stop.send(());
        running.await.context("the worker's task")??;
    }
    early.map_or_else(summarise, Ok)
}

/// The readers' side over the demo's own store and topics. It may be asked by this machine alone, without a key.
fn serve(worker: &Worker) -> anyhow::Result<(Admin, Server)> {
    let params = worker.params();
    let settings = &params.boxes.settings;
    anyhow::ensure!(
        settings.serve.listen.ip().is_loopback(),
        "--page {}: the demo serves this machine alone",
        settings.serve.listen
    );
    let admin = Admin::start(worker.clone(), settings.admin.listen)?;
    let server = Server::start(ServeParams {
        settings: Arc::clone(settings),
        client: params.client.clone(),
        store: Arc::clone(&params.store),
        vectors: None,
        worker: Some(worker.clone()),
        networks: Some(params.boxes.networks.clone()),
        decoders: params.boxes.decoders.clone(),
        is_read_only: true,
    })?;
    Ok((admin, server))
}

fn say_what_runs(view: &View, model_version: &str, cluster: &InProcessCluster, media_url: &str) -> anyhow::Result<()> {
    view.say(&format!("model    {model_version}"))?;
    view.say(&format!("kafka    in-process cluster at {}, {PARTITIONS} partitions", cluster.bootstrap()))?;
    view.say(&format!("media    {media_url}, the only address that is not public and may be fetched from"))?;
    view.say("store    embedded")?;
    view.say(
        "columns  post, label with its probability (? where it is not certain), its text with the words that weighed most, mood, parts",
    )?;
    view.say("moods    of music: Q1 happy and excited, Q2 tense or angry, Q3 sad and tired, Q4 calm and content\n")?;
    Ok(())
}

fn summarise(view: &View, worker: &Worker, tally: &Tally, wall: Duration, model_version: &str) -> anyhow::Result<Ran> {
    let params = worker.params();
    let in_flight = params.permits.in_flight();
    // By what was produced: a record that never came in is missing too.
    let unseen = tally.records() as i64 - tally.settled() as i64;
    let gap = if unseen != 0 { unseen } else { params.conservation.gap(in_flight) };
    view.summary(tally, wall, params.boxes.cache.stats(), gap, in_flight, model_version)?;
    Ok(Ran { gap, missing: tally.missing() })
}

async fn play_and_watch(
    rate_per_second: Option<f64>,
    records: &[FeedRecord],
    sink: &KafkaSink,
    reports: &mut mpsc::UnboundedReceiver<PostReport>,
    view: &mut View,
) -> anyhow::Result<Tally> {
    let options = PlayOptions { rate_per_second, ..PlayOptions::default() };
    let playing = play(records, sink, &options, |_| {});
    let (played, tally) = futures::future::join(playing, watch(reports, records, view)).await;
    played.context("the feed could not be played")?;
    tally
}

/// A post's permit comes back a moment after its outcome.
async fn until_idle(worker: &Worker) {
    for _ in 0..100 {
        if worker.params().permits.in_flight() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Takes outcomes until every record has one, or none has got its own for a long time: one that is given back and comes again
/// for ever does not count as life.
async fn watch(
    reports: &mut mpsc::UnboundedReceiver<PostReport>,
    records: &[FeedRecord],
    view: &mut View,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::new(records.iter().map(|record| record.key.clone()));
    let mut deadline = tokio::time::Instant::now() + SILENCE;
    while tally.settled() < tally.records() {
        match tokio::time::timeout_at(deadline, reports.recv()).await {
            Ok(Some(report)) => {
                if tally.add(&report) {
                    deadline = tokio::time::Instant::now() + SILENCE;
                }
                view.post(&report, &tally)?;
            }
            Ok(None) | Err(_) => {
                view.say("no outcome for a minute; giving up")?;
                break;
            }
        }
    }
    Ok(tally)
}
