//! `jtav dead-letters export`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use jtav_dead_letters::{Selection, export};
use jtav_feed_processor::exit;

use super::open::open;
use crate::output::{Stdout, errln, outln};
use crate::setup::SettingsArgs;

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
    file: PathBuf,
    /// Which.
    #[command(flatten)]
    selection: Selection,
    /// The counts as one line of JSON, last on stdout.
    #[arg(long)]
    json: bool,
    /// Settings.
    #[command(flatten)]
    settings: SettingsArgs,
}

pub fn run(arguments: &ExportArgs) -> anyhow::Result<u8> {
    let (_, topic) = open(&arguments.settings)?;
    let selection = &arguments.selection;
    let counts = if arguments.file == Path::new("-") {
        export(&topic, selection, &mut Stdout)?
    } else {
        // Under another name until it is complete: half an export looks like a whole one.
        let mut unfinished = arguments.file.clone().into_os_string();
        unfinished.push(".part");
        let place = || format!("{}", arguments.file.display());
        let file = std::fs::File::create(&unfinished).with_context(place)?;
        let counts = export(&topic, selection, &mut std::io::BufWriter::new(file))?;
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
