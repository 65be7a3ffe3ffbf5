//! `jtav backfill` on the command line.

use std::path::PathBuf;

use clap::Args;
use jtav_dead_letters::parse_since;
use jtav_pipeline::now_ms;

use crate::cli::SettingsArgs;

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
    pub model: PathBuf,
    /// From the first record as young as this: an age (90s, 30m, 2h, 7d) or RFC 3339 (2026-11-25T20:15:30Z)
    /// [default: the oldest that is there].
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub from: Option<i64>,
    /// Up to the first record as young as this [default: the end of the topic as it is at the start].
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub to: Option<i64>,
    /// Posts a second at most, so that live work is not starved of Redis, media hosts and this machine's cores.
    #[arg(long, value_name = "N", default_value = "50", value_parser = rate)]
    pub rate: f64,
    /// Consumer group [default: <kafka.group_id>-backfill-<model version>].
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// Version that the live workers label with, as in jtav_model_info [default: that of model.path in the settings].
    #[arg(long, value_name = "VERSION")]
    pub live_version: Option<String>,
    /// Go on though the model is the live one: keys that are missing are filled, those that are there stay.
    #[arg(long)]
    pub force: bool,
    /// Also produce labels and vectors to kafka.sentiment_topic and kafka.embeddings_topic. Readers of the live topics
    /// would see two models, and old revisions by the new one: name others with --set.
    #[arg(long)]
    pub publish: bool,
    /// Count what would be done; write, produce and commit nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// `auto`, `cpu` or `cuda:0`; as model.device.
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// The account as one line of JSON, last on stdout.
    #[arg(long)]
    pub json: bool,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

fn time(text: &str) -> Result<i64, String> {
    parse_since(text, now_ms())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| format!("`{text}` is no rate: expected posts a second, more than 0"))
}
