//! `jtav dead-letters replay`.

use std::io::{IsTerminal as _, Write as _};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jtav_dead_letters::{Refusal, Replay, ReplayAccount, ReplayEnd, ReplayOptions, replay};
use jtav_feed_processor::exit;
use jtav_kafka::{Producer, ProducerSettings};
use jtav_settings::StoreKind;
use serde_json::{Value, json};

use super::open::open;
use crate::output::{Stdout, errln};
use crate::setup::{self, SettingsArgs};

const REFUSALS: [Refusal; 7] = [
    Refusal::ReplayLimit,
    Refusal::Superseded,
    Refusal::Erased,
    Refusal::BytesMissing,
    Refusal::KeyMismatch,
    Refusal::Truncated,
    Refusal::RefusedByBroker,
];

/// `jtav dead-letters replay`.
#[derive(Debug, Args)]
#[command(
    after_help = "Each record goes to kafka.input_topic with its original key, value and headers, and is acknowledged before the\n\
                        next is sent. Two headers are added: the number of replays and the position of the very first record. A post\n\
                        that fails again leaves a further dead letter; of one record only the latest is replayed, and none more often\n\
                        than --max-replays. What did not fit into its letter is read from the input topic again. Refused, and counted by reason:\n  \
                        replay_limit       replayed as often as allowed\n  \
                        superseded         a later dead letter of the same record stands for it\n  \
                        erased             the post was erased\n  \
                        bytes_missing      there is nothing to send\n  \
                        key_mismatch       it would come back at once; --rekey sends it under the id in its value\n  \
                        truncated          it did not fit into the dead-letter topic, and the input topic has it no more\n  \
                        refused_by_broker  for example larger than the topic allows\n\n\
                        Ctrl-C stops after the record that is on its way, and says where to go on (--from). Dead letters stay on the\n\
                        topic: a second run sends again what a first one sent and did not fail; that is harmless, for the store keeps\n\
                        one label of a revision, but --since, --reason or --from spare the work.\n\n\
                        Exit codes: 1 stopped, 69 broker or store out of reach."
)]
pub struct ReplayArgs {
    /// Which, and how.
    #[command(flatten)]
    options: ReplayOptions,
    /// The account as one line of JSON, last on stdout.
    #[arg(long)]
    json: bool,
    /// Settings.
    #[command(flatten)]
    settings: SettingsArgs,
}

pub fn run(arguments: &ReplayArgs) -> anyhow::Result<u8> {
    let (settings, topic) = open(&arguments.settings)?;
    if settings.store.kind == StoreKind::Embedded {
        errln!(
            "warning: store.kind = embedded is another process's memory: erased posts are not known here; the worker drops them"
        );
    }
    let producer = ProducerSettings {
        // One record at a time is sent, so there is no batch to wait for.
        linger_ms: 0,
        ..ProducerSettings::default()
    };
    let producer = Producer::new(&topic.client, &producer)?;
    let bar = progress();
    let (account, end) = setup::in_system(async {
        // In here: the Redis client needs the runtime that it is made in.
        let store = setup::store(&settings)?;
        let with =
            Replay { topic: &topic, producer: &producer, input_topic: &settings.kafka.input_topic, store: &*store };
        Ok(replay(&with, &arguments.options, setup::shutdown_signal(), |account| {
            bar.set_length(account.total);
            bar.set_position(account.read);
            bar.set_message(format!("{} replayed, {} refused", account.replayed, refused(account)));
        })
        .await)
    })?;
    bar.finish_and_clear();
    report(arguments, &settings.kafka.input_topic, &account, end)
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} read  {msg}  {eta}") {
        bar.set_style(style);
    }
    bar
}

fn refused(account: &ReplayAccount) -> u64 {
    account.refused.values().sum()
}

/// Prints the account, whatever the end was; the end decides the exit code.
fn report(arguments: &ReplayArgs, input_topic: &str, account: &ReplayAccount, end: ReplayEnd) -> anyhow::Result<u8> {
    let (name, next) = match &end {
        ReplayEnd::Complete => ("complete", None),
        ReplayEnd::Stopped { next } => ("stopped", *next),
        ReplayEnd::Failed { next, .. } => ("failed", *next),
    };
    let mut output = Stdout;
    if arguments.json {
        let mut line = serde_json::to_value(account)?;
        if let Value::Object(fields) = &mut line {
            fields.insert("end".to_owned(), json!(name));
            fields.insert("next".to_owned(), json!(next.map(|next| next.to_string())));
        }
        writeln!(output, "{line}")?;
    } else {
        output.write_all(account_text(account, input_topic).as_bytes())?;
    }
    output.flush()?;
    let go_on = next.map_or_else(String::new, |next| format!("; go on with --from {next}"));
    match end {
        ReplayEnd::Complete => Ok(exit::OK),
        ReplayEnd::Stopped { .. } => {
            errln!("stopped before the end{go_on}");
            Ok(exit::FAILURE)
        }
        ReplayEnd::Failed { error, .. } => Err(error.context(format!("the replay could not go on{go_on}"))),
    }
}

fn account_text(account: &ReplayAccount, input_topic: &str) -> String {
    let verb = if account.dry_run { "would be replayed" } else { "replayed and acknowledged" };
    let mut text =
        format!("{:>7} {verb} on topic `{input_topic}`\n{:>7} refused\n", account.replayed, refused(account));
    for refusal in REFUSALS {
        if let Some(count) = account.refused.get(refusal.as_str()) {
            text.push_str(&format!("        {count:>7} {}: {}\n", refusal.as_str(), refusal.explanation()));
        }
    }
    text.push_str(&format!("{:>7} not selected\n", account.not_selected));
    if account.unreadable > 0 {
        text.push_str(&format!("{:>7} records that are no dead letters\n", account.unreadable));
    }
    text
}
