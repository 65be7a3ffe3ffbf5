//! `jtav config check`.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use jtav_feed_processor::exit;
use jtav_feed_processor::networks::{self, fit_to_model};
use jtav_feed_processor::parameters::client_settings;
use jtav_kafka::{describe_topics, topic_settings};
use jtav_settings::Settings;

use super::topic_remarks::remarks;
use crate::failure::coded;
use crate::output::outln;
use crate::setup::{self, SettingsArgs};

/// Longest wait for one answer of `--connect`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// `jtav config check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Settings.
    #[command(flatten)]
    settings: SettingsArgs,
    /// Reach out to Kafka, Redis and the checkpoint too.
    #[arg(long)]
    connect: bool,
}

pub fn run(arguments: &CheckArgs) -> anyhow::Result<u8> {
    let mut settings = setup::settings(&arguments.settings)?.settings;
    setup::check_passthrough(&settings)?;
    outln!("ok: settings")?;
    fit_to_model(&mut settings);
    outln!("ok: memory: {} on device {}", settings.memory_ceiling(), settings.model.device)?;
    let limit = setup::descriptor_limit();
    let verdict = |needed| if needed <= limit { "ok" } else { "WARNING" };
    let needed = settings.descriptor_ceiling();
    outln!("{}: open files and sockets: at most {needed}, {limit} are allowed", verdict(needed))?;
    outln!("ok: memory of `jtav serve`: {}", settings.serving_memory_ceiling(false))?;
    let needed = settings.serving_descriptor_ceiling(false);
    outln!("{}: open files and sockets of `jtav serve`: at most {needed}, {limit} are allowed", verdict(needed))?;
    if arguments.connect { reach_out(settings) } else { Ok(exit::OK) }
}

/// Tries everything that a start would need; says each result and fails at the end.
fn reach_out(settings: Settings) -> anyhow::Result<u8> {
    let mut failures = 0;
    let mut say = |what: &str, result: anyhow::Result<String>| match result {
        Ok(detail) => outln!("ok: {what}: {detail}"),
        Err(error) => {
            failures += 1;
            outln!("FAILED: {what}: {error:#}")
        }
    };
    say("checkpoint", checkpoint(&settings))?;
    say("kafka", kafka(&settings))?;
    topic_limits(&settings)?;
    say("store", setup::in_system(ping(settings)))?;
    if failures > 0 {
        return Err(coded(exit::UNAVAILABLE)(anyhow::anyhow!("{failures} of 3 connections failed")));
    }
    Ok(exit::OK)
}

fn checkpoint(settings: &Settings) -> anyhow::Result<String> {
    if settings.model.stub {
        return Ok("model.stub is on, none is loaded".to_owned());
    }
    let checkpoint = networks::checkpoint(&settings.model)?;
    for base in checkpoint.manifest().bases.values() {
        checkpoint.bases().read(base)?;
    }
    let path = settings.model.path.display();
    Ok(format!("{} ({path}), its hashes and those of its base weights verified", checkpoint.model_version()))
}

fn kafka(settings: &Settings) -> anyhow::Result<String> {
    let names: Vec<&str> = settings.kafka.topics().iter().map(|(_, name)| *name).collect();
    let topics = describe_topics(&client_settings(settings), &names, CONNECT_TIMEOUT)
        .with_context(|| format!("brokers {}", settings.kafka.brokers))?;
    let missing: Vec<&str> =
        topics.iter().filter(|topic| topic.partitions.is_none()).map(|topic| topic.name.as_str()).collect();
    anyhow::ensure!(missing.is_empty(), "topics that do not exist: {}; create them first", missing.join(", "));
    let found: Vec<String> =
        topics.iter().map(|topic| format!("{} ({})", topic.name, topic.partitions.unwrap_or(0))).collect();
    Ok(format!("topics with their partitions: {}", found.join(", ")))
}

/// What the topics take. Nothing here stops a worker, so nothing here fails the check.
///
/// # Errors
/// The output cannot be written.
fn topic_limits(settings: &Settings) -> std::io::Result<()> {
    let topics = settings.kafka.topics();
    let names = topics.map(|(_, name)| name);
    let client = client_settings(settings);
    let asked = setup::in_system(async { Ok(topic_settings(&client, &names, CONNECT_TIMEOUT).await?) });
    let remarks = match asked {
        Ok(answers) => {
            let named: Vec<_> =
                topics.into_iter().zip(answers).map(|((key, name), found)| (key, name, found)).collect();
            remarks(&named)
        }
        Err(error) => vec![format!("what the topics take is not known: {error:#}")],
    };
    if remarks.is_empty() {
        outln!("ok: limits of the topics")?;
    }
    remarks.iter().try_for_each(|remark| outln!("warning: {remark}"))
}

async fn ping(settings: Settings) -> anyhow::Result<String> {
    let store = setup::store(&settings)?;
    store.ping().await.with_context(|| format!("{:?}", settings.store.url))?;
    if let Some(keeper) = store.erasure_keeper() {
        match keeper.server().await {
            Ok(report) => {
                for line in report.warnings(settings.store.erasure_replicas) {
                    outln!("warning: store: {line}")?;
                }
            }
            Err(error) => outln!("warning: store: erasures cannot be looked after: {error}")?,
        }
    }
    Ok(format!("{:?} answers", settings.store.kind))
}
