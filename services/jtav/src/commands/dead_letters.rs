//! `jtav dead-letters list|show|replay|export`.

use std::io::{ErrorKind, IsTerminal as _, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use jtav_dead_letters::{
    DeadLetterTopic, Refusal, Replay, ReplayAccount, ReplayEnd, ReplayOptions, ReplayRules, Selection, export, find,
    list, replay, show, show_json,
};
use jtav_feed_processor::exit;
use jtav_feed_processor::parameters::client_settings;
use jtav_kafka::{KafkaError, Producer, ProducerSettings};
use jtav_settings::{Settings, StoreKind};
use jtav_store::StoreError;
use serde_json::{Value, json};

use crate::cli::{LogFormatArg, SettingsArgs};
use crate::cli_dead_letters::{DeadLettersCommand, ExportArgs, ListArgs, ReplayArgs, SelectionArgs, ShowArgs};
use crate::failure::{Coded, coded};
use crate::output::{Stdout, errln, outln};
use crate::setup;

/// Longest wait for any one answer of a broker.
const PATIENCE: Duration = Duration::from_secs(20);
const REFUSALS: [Refusal; 7] = [
    Refusal::ReplayLimit,
    Refusal::Superseded,
    Refusal::Erased,
    Refusal::BytesMissing,
    Refusal::KeyMismatch,
    Refusal::Truncated,
    Refusal::RefusedByBroker,
];

pub fn dead_letters(command: &DeadLettersCommand, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "error");
    let done = match command {
        DeadLettersCommand::List(arguments) => list_letters(arguments),
        DeadLettersCommand::Show(arguments) => show_letter(arguments),
        DeadLettersCommand::Replay(arguments) => replay_letters(arguments),
        DeadLettersCommand::Export(arguments) => export_letters(arguments),
    };
    done.or_else(|error| if is_broken_pipe(&error) { Ok(exit::OK) } else { Err(with_code(error)) })
}

/// `jtav dead-letters list | head` is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn with_code(error: anyhow::Error) -> anyhow::Error {
    if error.downcast_ref::<Coded>().is_some() {
        return error;
    }
    let out_of_reach = error.chain().any(|cause| cause.is::<KafkaError>() || cause.is::<StoreError>());
    if out_of_reach { coded(exit::UNAVAILABLE)(error) } else { error }
}

fn open(arguments: &SettingsArgs) -> anyhow::Result<(Settings, DeadLetterTopic)> {
    let settings = setup::settings(arguments)?.settings;
    super::config::check_passthrough(&settings)?;
    let topic = DeadLetterTopic {
        client: client_settings(&settings),
        name: settings.kafka.dead_letters_topic.clone(),
        patience: PATIENCE,
    };
    Ok((settings, topic))
}

fn selection(arguments: &SelectionArgs) -> Selection {
    Selection {
        reasons: arguments.reason.clone(),
        stages: arguments.stage.clone(),
        posts: arguments.post.clone(),
        since_ms: arguments.since,
    }
}

fn list_letters(arguments: &ListArgs) -> anyhow::Result<u8> {
    let (_, topic) = open(&arguments.settings)?;
    let mut output = Stdout;
    let listing = list(&topic, &selection(&arguments.selection), !arguments.json, &mut output)?;
    if arguments.json {
        writeln!(output, "{}", serde_json::to_value(&listing)?)?;
    }
    Ok(exit::OK)
}

fn show_letter(arguments: &ShowArgs) -> anyhow::Result<u8> {
    let (_, topic) = open(&arguments.settings)?;
    let Some(found) = find(&topic, arguments.position)? else {
        let position = arguments.position;
        let error = anyhow::anyhow!("topic `{}` has no record at {position}; `list` shows what is there", topic.name);
        return Err(coded(exit::DATA)(error));
    };
    let text = if arguments.json { format!("{}\n", show_json(&found)?) } else { show(&found) };
    Stdout.write_all(text.as_bytes())?;
    Ok(exit::OK)
}

fn export_letters(arguments: &ExportArgs) -> anyhow::Result<u8> {
    let (_, topic) = open(&arguments.settings)?;
    let selection = selection(&arguments.selection);
    let counts = if arguments.file == Path::new("-") {
        export(&topic, &selection, &mut Stdout)?
    } else {
        // Under another name until it is complete: half an export looks like a whole one.
        let mut unfinished = arguments.file.clone().into_os_string();
        unfinished.push(".part");
        let place = || format!("{}", arguments.file.display());
        let file = std::fs::File::create(&unfinished).with_context(place)?;
        let counts = export(&topic, &selection, &mut std::io::BufWriter::new(file))?;
        std::fs::rename(&unfinished, &arguments.file).with_context(place)?;
        counts
    };
    errln!(
        "{} dead letters exported ({} truncated), {} not selected, {} records that are none",
        counts.letters,
        counts.truncated,
        counts.not_selected,
        counts.unreadable
    );
    if arguments.json {
        outln!("{}", serde_json::to_value(counts)?)?;
    }
    Ok(exit::OK)
}

fn replay_letters(arguments: &ReplayArgs) -> anyhow::Result<u8> {
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
    let options = ReplayOptions {
        selection: selection(&arguments.selection),
        rules: ReplayRules {
            input_topic: settings.kafka.input_topic.clone(),
            max_replays: arguments.max_replays,
            rekey: arguments.rekey,
        },
        rate_per_second: arguments.rate,
        from: arguments.from,
        dry_run: arguments.dry_run,
    };
    let bar = progress();
    let (account, end) = setup::in_system(async {
        // In here: the Redis client needs the runtime that it is made in.
        let store = setup::store(&settings)?;
        let with = Replay { topic: &topic, producer: &producer, store: &*store };
        Ok(replay(&with, &options, setup::shutdown_signal(), |account| {
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
