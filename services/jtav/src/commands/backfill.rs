//! `jtav backfill`.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use jtav_backfill::{Account, Backfill, End, Options, Phase, Progress, backfill as run, default_group};
use jtav_feed_processor::networks::fit_to_model;
use jtav_feed_processor::parameters::client_settings;
use jtav_feed_processor::{Networks, exit, model_version};
use jtav_kafka::KafkaError;
use jtav_settings::{Settings, StoreKind};
use jtav_store::StoreError;
use serde_json::json;

use crate::cli::LogFormatArg;
use crate::cli_backfill::BackfillArgs;
use crate::failure::{Coded, coded};
use crate::output::{Stdout, errln};
use crate::setup;

/// Time between two lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

pub fn backfill(arguments: &BackfillArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    let live = settings(arguments)?;
    // Each post that cannot be labelled is a warning of the router; the account has them by reason.
    setup::logs(log_format, Some(&live), "warn,jtav_router=error");
    super::config::check_passthrough(&live)?;
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
        let options = Options {
            group_id: arguments.group.clone().unwrap_or_else(|| default_group(&live, &version)),
            from_ms: arguments.from,
            to_ms: arguments.to,
            posts_per_second: arguments.rate,
            publish: arguments.publish,
            dry_run: arguments.dry_run,
        };
        let (client, store) = (client_settings(&next), setup::store(&next)?);
        store.ping().await.context("store.url")?;
        let with = Backfill { settings: Arc::new(next), client, store, networks, decoders, options };
        let mut view = View::new();
        let done = run(&with, setup::shutdown_signal(), |progress| view.show(progress)).await;
        view.bar.finish_and_clear();
        done
    })
    .map_err(with_code)?;
    report(arguments, &account, end)
}

fn settings(arguments: &BackfillArgs) -> anyhow::Result<Settings> {
    let mut loader = setup::loader(&arguments.settings);
    if let Some(device) = &arguments.device {
        loader = loader.flag("--device", "model.device", device);
    }
    Ok(loader.load()?.settings)
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

fn with_code(error: anyhow::Error) -> anyhow::Error {
    if error.downcast_ref::<Coded>().is_some() {
        return error;
    }
    let out_of_reach = error.chain().any(|cause| cause.is::<KafkaError>() || cause.is::<StoreError>());
    if out_of_reach { coded(exit::UNAVAILABLE)(error) } else { error }
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
