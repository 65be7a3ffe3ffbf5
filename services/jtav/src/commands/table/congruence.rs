//! `jtav table congruence`.

use std::path::PathBuf;

use clap::Args;
use jtav_feed_processor::exit;
use jtav_research::table::{CongruenceOptions, SentimentOptions, congruence_tables};
use jtav_settings::existing_or_bundled;
use jtav_trainer::Terminal;

use super::common::{TableArgs, options, show};
use crate::failure::coded;

/// `jtav table congruence`.
#[derive(Debug, Args)]
pub struct CongruenceTableArgs {
    /// File of pairs, or its name below $JTAV_DATA_DIR.
    #[arg(long, value_name = "FILE.jsonl", default_value = "congruence.jsonl")]
    data: PathBuf,
    /// Folder that media paths start from [default: `polarity-posts` beside the file].
    #[arg(long, value_name = "DIR")]
    media: Option<PathBuf>,
    /// Checkpoint whose encoders give the vectors.
    #[arg(long, value_name = "DIR", default_value = "models/jtav-modern")]
    checkpoint: PathBuf,
    /// A control: vectors that show the polarity plainly, in place of an encoder's.
    #[arg(long)]
    clear: bool,
    /// What every table takes.
    #[command(flatten)]
    table: TableArgs,
}

pub fn run(arguments: &CongruenceTableArgs) -> anyhow::Result<u8> {
    let checkpoint = existing_or_bundled(&arguments.checkpoint).map_err(|error| coded(exit::CONFIG)(error.into()))?;
    let options = CongruenceOptions {
        table: options(&arguments.table, SentimentOptions::new(&arguments.data))?,
        media: arguments.media.clone(),
        checkpoint,
        clear: arguments.clear,
    };
    let tables = congruence_tables(&options, &Terminal::new()).map_err(coded(exit::DATA))?;
    show(&arguments.table, &tables)
}
