//! `jtav backfill`.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::Args;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use jtav_backfill::{Account, Backfill, End, Options, Phase, Progress, backfill, default_group};
use jtav_dead_letters::parse_since;
use jtav_feed_processor::networks::fit_to_model;
use jtav_feed_processor::parameters::client_settings;
use jtav_feed_processor::{Networks, exit, model_version};
use jtav_pipeline::now_ms;
use jtav_settings::{Settings, StoreKind};
use serde_json::json;

use crate::failure::{coded, out_of_reach};
use crate::output::{Stdout, errln};
use crate::setup::{self, LogFormatArg, SettingsArgs};

/// Time between two lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// `jtav backfill`.
#[derive(Debug, Args)]
#[command(
    after_help = "Give it the live worker's --config: brokers, input topic, store and media limits are the same, only the model is not.\n\
                  Labels go to the Redis keys of the new model alone. Live keys, live offsets and the topics stay as they are;\n\
                  erased posts are dropped, and a tombstone counts wherever it lies on the topic. What cannot be labelled is\n\
                  counted and not set aside a second time.\n\n\
                  It reads in a consumer group of its own, one for each model: the same command again goes on where the last\n\
                  one stopped or was killed, and after the end takes what came since. A range that the group has read before\n\
                  is not read again; another --group reads it anew.\n\n\
                  Rolling out a model:\n  \
                  jtav backfill --config live.toml --model models/next --from 7d --dry-run    how many, how long\n  \
                  jtav backfill --config live.toml --model models/next --from 7d --rate 50\n  \
                  … switch the workers to models/next, then close the gap:\n  \
                  jtav backfill --config live.toml --model models/next --from 7d --live-version OLD\n\n\
                  Exit codes: 1 stopped before the end, or failed (run it again), 69 broker or store out of reach, 75 posts in\n\
                  flight at the stop, 78 settings, a checkpoint that cannot be used, or the live model."
)]
pub struct BackfillArgs {
    /// Checkpoint of the new model.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// From the first record as young as this: an age (90s, 30m, 2h, 7d) or RFC 3339 (2026-11-25T20:15:30Z)
    /// [default: the oldest that is there].
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<i64>,
    /// Up to the first record as young as this [default: the end of the topic as it is at the start].
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<i64>,
    /// Posts a second at most, so that live work is not starved of Redis, media hosts and this machine's cores.
    #[arg(long, value_name = "N", default_value = "50", value_parser = rate)]
    rate: f64,
    /// Consumer group [default: <kafka.group_id>-backfill-<model version>].
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Version that the live workers label with, as in jtav_model_info [default: that of model.path in the settings].
    #[arg(long, value_name = "VERSION")]
    live_version: Option<String>,
    /// Go on though the model is the live one: keys that are missing are filled, those that are there stay.
    #[arg(long)]
    force: bool,
    /// Also produce labels and vectors to kafka.sentiment_topic and kafka.embeddings_topic. Readers of the live topics
    /// would see two models, and old revisions by the new one: name others with --set.
    #[arg(long)]
    publish: bool,
    /// Count what would be done; write, produce and commit nothing.
    #[arg(long)]
    dry_run: bool,
    /// `auto`, `cpu` or `cuda:0`; as model.device.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// The account as one line of JSON, last on stdout.
    #[arg(long)]
    json: bool,
    /// Settings.
    #[command(flatten)]
    settings: SettingsArgs,
}

fn time(text: &str) -> Result<i64, String> {
    parse_since(text, now_ms())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| format!("`{text}` is no rate: expected posts a second, more than 0"))
}

pub fn run(arguments: &BackfillArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    let live = settings(arguments)?;
    // Each post that cannot be labelled is a warning of the router; the account has them by reason.
    setup::logs(log_format, Some(&live), "warn,jtav_router=error");
    setup::check_passthrough(&live)?;
    if let (Some(from), Some(to)) = (arguments.from, arguments.to)
        && from >= to
    {
        return Err(coded(exit::USAGE)(anyhow!("--from must lie before --to")));
    }
    if live.store.kind == StoreKind::Embedded && !arguments.dry_run {
        let error = anyhow!("store.kind = embedded is this process's memory: the labels would be gone with it");
        return Err(coded(exit::CONFIG)(error));
    }
    let mut next = live.clone();
    next.model.stub = false;
    setup::with_model(&mut next, Some(&arguments.model));
    let version = model_version(&next).context("--model").map_err(coded(exit::CONFIG))?;
    refuse_the_live_model(arguments, &live, &version).map_err(coded(exit::CONFIG))?;
    fit_to_model(&mut next);

    let (account, end) = setup::in_system(async {
        let decoders = setup::decoders(&next);
        let networks = Networks::load(&next, setup::exit_on_device_fault()).map_err(coded(exit::CONFIG))?;
        let decoders = decoders()?;
        let options = options(arguments, &live, &version);
        let (client, store) = (client_settings(&next), setup::store(&next)?);
        store.ping().await.context("store.url")?;
        let with = Backfill { settings: Arc::new(next), client, store, networks, decoders, options };
        let mut view = View::new();
        let done = backfill(&with, setup::shutdown_signal(), |progress| view.show(progress)).await;
        view.bar.finish_and_clear();
        done
    })
    .map_err(out_of_reach)?;
    report(arguments, &account, end)
}

fn settings(arguments: &BackfillArgs) -> anyhow::Result<Settings> {
    let mut loader = setup::loader(&arguments.settings);
    if let Some(device) = &arguments.device {
        loader = loader.flag("--device", "model.device", device);
    }
    Ok(loader.load()?.settings)
}

fn options(arguments: &BackfillArgs, live: &Settings, model_version: &str) -> Options {
    Options {
        group_id: arguments.group.clone().unwrap_or_else(|| default_group(live, model_version)),
        from_ms: arguments.from,
        to_ms: arguments.to,
        posts_per_second: arguments.rate,
        publish: arguments.publish,
        dry_run: arguments.dry_run,
    }
}

/// Its keys are the live ones.
fn refuse_the_live_model(arguments: &BackfillArgs, live: &Settings, version: &str) -> anyhow::Result<()> {
    if arguments.force {
        return Ok(());
    }
    let live_version = match &arguments.live_version {
        Some(version) => version.clone(),
        None => model_version(live).context(
            "the live model (model.path) cannot be read; name its version with --live-version, or go on with --force",
        )?,
    };
    if live_version == version {
        return Err(anyhow!(
            "--model {} is `{version}`, which the live workers label with: its keys are the live ones. Name another \
             checkpoint; or, if the workers still run another version, that one with --live-version; or fill what is \
             missing of this one with --force",
            arguments.model.display()
        ));
    }
    Ok(())
}

/// Progress on stderr: a bar on a terminal, a line now and then elsewhere.
struct View {
    bar: ProgressBar,
    phase: Option<Phase>,
    started: Instant,
    told: Instant,
}

impl View {
    fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{msg:24} {bar:40} {pos}/{len}  {per_sec}  {eta} left") {
            bar.set_style(style);
        }
        Self { bar, phase: None, started: Instant::now(), told: Instant::now() }
    }

    fn show(&mut self, progress: Progress) {
        let what = match progress.phase {
            Phase::Tombstones => "looking for tombstones",
            Phase::Posts => "posts",
        };
        if self.phase != Some(progress.phase) {
            self.phase = Some(progress.phase);
            self.started = Instant::now();
            self.bar.reset();
            self.bar.set_message(what);
            self.bar.set_length(progress.total);
        }
        self.bar.set_position(progress.done);
        if self.bar.is_hidden() && self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            errln!("backfill: {}", line(what, progress, self.started.elapsed()));
        }
    }
}

fn line(what: &str, progress: Progress, elapsed: Duration) -> String {
    let Progress { done, total, .. } = progress;
    let per_second = done as f64 / elapsed.as_secs_f64().max(1e-3);
    let left = if done > 0 {
        let left = Duration::try_from_secs_f64(total.saturating_sub(done) as f64 / per_second);
        left.map_or_else(|_| String::new(), |left| format!(", about {} left", HumanDuration(left)))
    } else {
        String::new()
    };
    format!("{what}: {done} of {total}, {per_second:.1}/s{left}")
}

/// Prints the account, whatever the end was; the end decides the exit code.
fn report(arguments: &BackfillArgs, account: &Account, end: End) -> anyhow::Result<u8> {
    let name = match end {
        End::Complete => "complete",
        End::Stopped => "stopped",
        End::StopTimedOut { .. } => "stop_timed_out",
        End::Failed { .. } => "failed",
    };
    let mut output = Stdout;
    if arguments.json {
        let mut line = serde_json::to_value(account)?;
        if let Some(fields) = line.as_object_mut() {
            fields.insert("end".to_owned(), json!(name));
        }
        writeln!(output, "{line}")?;
    } else {
        output.write_all(account_text(account, arguments.rate).as_bytes())?;
    }
    output.flush()?;
    let again = format!("{} records are left; the same command goes on", account.left);
    Ok(match end {
        End::Complete => exit::OK,
        End::Stopped => {
            errln!("stopped before the end: {again}");
            exit::FAILURE
        }
        End::StopTimedOut { in_flight } => {
            errln!("stopped with {in_flight} posts in flight, which are read again: {again}");
            exit::DRAIN_TIMED_OUT
        }
        End::Failed { reason } => return Err(anyhow!("the backfill could not go on: {reason}; {again}")),
    })
}

fn account_text(account: &Account, rate: f64) -> String {
    let verb = if account.dry_run { "would be labelled" } else { "labelled" };
    let mut text = format!(
        "{:>9} posts {verb} by {}\n{:>9} skipped: {} erased, {} with a newer revision, {} with nothing to label\n{:>9} that cannot be labelled\n",
        account.written,
        account.model_version,
        account.skipped,
        account.erased,
        account.stale,
        account.nothing_to_label,
        account.rejected
    );
    for (reason, count) in &account.rejected_by_reason {
        text.push_str(&format!("          {count:>9} {reason}\n"));
    }
    text.push_str(&format!(
        "{:>9} tombstones on the topic, {} of them unknown to the store\n",
        account.tombstones_on_topic, account.erasures_made_good
    ));
    if account.done_before > 0 {
        text.push_str(&format!(
            "{:>9} of {} records were read before by group `{}`; another --group reads them again\n",
            account.done_before, account.records, account.group
        ));
    }
    if account.dry_run {
        let least = Duration::from_secs_f64(account.posts as f64 / rate);
        text.push_str(&format!("at {rate} posts a second at least {}\n", HumanDuration(least)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_progress_says_how_long_it_takes_yet() {
        let at = |done| Progress { phase: Phase::Posts, done, total: 1_000 };
        assert_eq!(line("posts", at(250), Duration::from_secs(5)), "posts: 250 of 1000, 50.0/s, about 15 seconds left");
        assert_eq!(line("posts", at(0), Duration::from_secs(5)), "posts: 0 of 1000, 0.0/s");
    }
}
