//! `jtav feed`: plays a data pack into a broker.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jtav_feed_processor::exit;
use jtav_feed_simulator::{KafkaSink, MediaServer, Pack, PlayOptions, SAMPLE_FEED, feed, play};
use jtav_kafka::{ClientSettings, Producer, ProducerSettings, check_passthrough};
use jtav_settings::bundled;

use crate::failure::coded;
use crate::output::{errln, outln};
use crate::setup::{self, LogFormatArg};

/// `jtav feed`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  jtav feed services/feed-simulator/sample-feed --brokers localhost:9092 --topic posts --rate 20 \\\n      \
                        --serve-media 127.0.0.1:8090\n\nAllow the address on the worker: media.allow = [\"127.0.0.1:8090\"]."
)]
pub struct FeedArgs {
    /// Data pack: a folder with posts.jsonl [default: the bundled sample feed].
    pack: Option<PathBuf>,
    /// Kafka brokers.
    #[arg(long, default_value = "localhost:9092")]
    brokers: String,
    /// Topic to produce to.
    #[arg(long, default_value = "posts")]
    topic: String,
    /// Posts a second; without it as fast as the broker takes them.
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Rounds; 0 plays for ever. Ids get a suffix from the second round on.
    #[arg(long = "loop", default_value_t = 1, value_name = "N")]
    loops: u32,
    /// Serve the media here while playing, and until Ctrl-C with --keep-serving.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    serve_media: SocketAddr,
    /// Base URL that posts name, where it differs from the address served (behind a proxy, in a container).
    #[arg(long, value_name = "URL")]
    media_url: Option<String>,
    /// Keep serving the media after the last post, until Ctrl-C: workers may still be fetching.
    #[arg(long)]
    keep_serving: bool,
    /// Settings of librdkafka, for example security.protocol=SASL_SSL.
    #[arg(long, value_name = "KEY=VALUE")]
    kafka: Vec<String>,
}

pub fn run(arguments: &FeedArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "warn");
    let folder = match &arguments.pack {
        Some(pack) => pack.clone(),
        None => bundled(SAMPLE_FEED)?,
    };
    let pack = Pack::open(&folder).map_err(anyhow::Error::from).map_err(coded(exit::DATA))?;
    let media = MediaServer::start(pack.folder(), arguments.serve_media)
        .with_context(|| format!("--serve-media {}", arguments.serve_media))?;
    let base_url = arguments.media_url.clone().unwrap_or_else(|| media.base_url());
    let records = feed(&pack, &base_url);
    let producer = Producer::new(&client(arguments)?, &ProducerSettings::default())?;
    let sink = KafkaSink::new(producer, &arguments.topic);
    errln!(
        "{} posts of {} to {} at {}; media at {base_url}",
        records.len(),
        pack.name(),
        arguments.topic,
        arguments.brokers
    );
    let options = PlayOptions { rate_per_second: arguments.rate, loops: arguments.loops, ..PlayOptions::default() };
    let bar = progress(records.len() as u64 * u64::from(arguments.loops));
    let counts = setup::in_system(async {
        let playing = play(&records, &sink, &options, |counts| bar.set_position(counts.acknowledged));
        tokio::select! {
            counts = playing => Ok(Some(counts?)),
            () = setup::shutdown_signal() => Ok(None),
        }
    })?;
    bar.finish_and_clear();
    let Some(counts) = counts else { return Ok(exit::OK) };
    outln!(
        "{} sent, {} acknowledged, {} failed, {:.1} posts/s",
        counts.sent,
        counts.acknowledged,
        counts.failed,
        counts.sent_per_second()
    )?;
    if arguments.keep_serving {
        errln!("media stay served at {base_url}; Ctrl-C ends");
        setup::in_system(async {
            setup::shutdown_signal().await;
            Ok(())
        })?;
    }
    match counts.first_error {
        Some(error) => Err(coded(exit::UNAVAILABLE)(anyhow::anyhow!("{} posts failed: {error}", counts.failed))),
        None => Ok(exit::OK),
    }
}

fn client(arguments: &FeedArgs) -> anyhow::Result<ClientSettings> {
    let mut client = ClientSettings::new(&arguments.brokers, "jtav-feed");
    for assignment in &arguments.kafka {
        let (key, value) =
            assignment.split_once('=').with_context(|| format!("--kafka {assignment}: expected KEY=VALUE"))?;
        client.librdkafka.insert(key.to_owned(), value.to_owned());
    }
    check_passthrough(&client.librdkafka).map_err(|refused| {
        let lines: Vec<String> = refused.iter().map(|s| format!("  {} = {}: {}", s.key, s.value, s.reason)).collect();
        coded(exit::USAGE)(anyhow::anyhow!("refused settings of librdkafka:\n{}", lines.join("\n")))
    })?;
    Ok(client)
}

fn progress(total: u64) -> ProgressBar {
    let bar = if total == 0 { ProgressBar::new_spinner() } else { ProgressBar::new(total) };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} posts  {per_sec}  {eta}") {
        bar.set_style(style);
    }
    bar
}
