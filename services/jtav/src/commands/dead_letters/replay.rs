//! `jtav dead-letters`: what was set aside, and the way back.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use jtav_dead_letters::{Position, parse_since};
use jtav_pipeline::{Stage, now_ms};
use jtav_schemas::DeadLetterReason;

use crate::cli::SettingsArgs;

/// `jtav dead-letters`.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Brokers, topics and store are those of the settings: kafka.brokers, kafka.dead_letters_topic, kafka.input_topic,\n\
                        store.url. Nothing here deletes a dead letter, joins a consumer group or commits an offset.\n\n\
                        From the page to the repair:\n  jtav dead-letters list --since 2h                            what is there, and why\n  \
                        jtav dead-letters show 0:17                                  one of them, with its bytes\n  \
                        jtav dead-letters export old.jsonl --reason poison_pill      evidence for the defect\n  \
                        jtav dead-letters replay --since 2h --reason no_modality --dry-run\n  \
                        jtav dead-letters replay --since 2h --reason no_modality --rate 20\n\n\
                        Exit codes: 65 no such dead letter, 69 broker or store out of reach."
)]
pub enum DeadLettersCommand {
    /// A line for each dead letter, and counts per reason.
    List(ListArgs),
    /// One dead letter: where it came from, what happened, its headers and original bytes.
    Show(ShowArgs),
    /// Send records back to the input topic, as they were, with a replay count.
    Replay(ReplayArgs),
    /// Write dead letters to a file, a line of JSON each, bytes in base64.
    Export(ExportArgs),
}

/// Which dead letters; several values of one flag mean any of them, several flags mean all of them.
#[derive(Debug, Args)]
pub struct SelectionArgs {
    /// Only these reasons, comma-separated.
    #[arg(long, value_name = "REASON,…", value_delimiter = ',', value_parser = reasons())]
    pub reason: Vec<DeadLetterReason>,
    /// Only what these stages set aside, comma-separated.
    #[arg(long, value_name = "STAGE,…", value_delimiter = ',', value_parser = PossibleValuesParser::new(Stage::ALL.map(Stage::as_str)))]
    pub stage: Vec<String>,
    /// Only what was set aside since: an age (90s, 30m, 2h, 7d) or RFC 3339 (2026-11-25T20:15:30Z).
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<i64>,
    /// Only this post; may be given several times.
    #[arg(long, value_name = "ID")]
    pub post: Vec<String>,
}

/// `jtav dead-letters list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Only the counts, as one line of JSON, last on stdout.
    #[arg(long)]
    pub json: bool,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// `jtav dead-letters show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Position on the dead-letter topic, as `list` prints it.
    #[arg(value_name = "PARTITION:OFFSET")]
    pub position: Position,
    /// As one line of JSON, last on stdout: the line that `export` writes.
    #[arg(long)]
    pub json: bool,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// `jtav dead-letters export`.
#[derive(Debug, Args)]
#[command(
    after_help = "A line is a dead-letter.v1 (schemas/) with `position`, `post_id`, `origin` and `original_headers` beside it.\n\
                        `truncated` says what is missing where the record did not fit into its letter.\n\
                        The file appears under its name when it is complete. It holds what people posted: guard and delete it."
)]
pub struct ExportArgs {
    /// The file to write, or `-` for stdout.
    #[arg(value_name = "FILE.jsonl")]
    pub file: PathBuf,
    /// Which.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// The counts as one line of JSON, last on stdout.
    #[arg(long)]
    pub json: bool,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

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
    /// Which.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Send nothing; say what would be sent and what refused.
    #[arg(long)]
    pub dry_run: bool,
    /// Records a second at most [default: as fast as they are acknowledged].
    #[arg(long, value_name = "N", value_parser = rate)]
    pub rate: Option<f64>,
    /// A record that was replayed so often is refused.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub max_replays: u32,
    /// Send records set aside as key_mismatch under the id in their value, for whoever produced them without it.
    #[arg(long)]
    pub rekey: bool,
    /// Leave out what lies before this position: where an earlier run stopped.
    #[arg(long, value_name = "PARTITION:OFFSET")]
    pub from: Option<Position>,
    /// The account as one line of JSON, last on stdout.
    #[arg(long)]
    pub json: bool,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

fn reasons() -> impl TypedValueParser<Value = DeadLetterReason> {
    PossibleValuesParser::new(DeadLetterReason::ALL.map(DeadLetterReason::as_str)).try_map(|name| {
        let known = DeadLetterReason::ALL.into_iter().find(|reason| reason.as_str() == name);
        known.ok_or_else(|| format!("`{name}` is no reason"))
    })
}

fn since(text: &str) -> Result<i64, String> {
    parse_since(text, now_ms())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| format!("`{text}` is no rate: expected records a second, more than 0"))
}
