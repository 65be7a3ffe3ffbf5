//! `jtav feed`: plays a data pack into a broker.

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use jtav_feed_processor::exit;
use jtav_feed_simulator::{KafkaSink, MediaServer, Pack, PlayOptions, SAMPLE_FEED, feed as records_of, play};
use jtav_kafka::{ClientSettings, Producer, ProducerSettings, check_passthrough};
use jtav_settings::bundled;

use crate::cli::{FeedArgs, LogFormatArg};
use crate::failure::coded;
use crate::output::{errln, outln};
use crate::setup;

pub fn feed(arguments: &FeedArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "warn");
    let folder = match &arguments.pack {
        Some(pack) => pack.clone(),
        None => bundled(SAMPLE_FEED)?,
    };
    let pack = Pack::open(&folder).map_err(anyhow::Error::from).map_err(coded(exit::DATA))?;
    let media = MediaServer::start(pack.folder(), arguments.serve_media)
        .with_context(|| format!("--serve-media {}", arguments.serve_media))?;
    let base_url = arguments.media_url.clone().unwrap_or_else(|| media.base_url());
    let records = records_of(&pack, &base_url);
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
