//! `jtav dead-letters list`.

use std::io::Write as _;

use clap::Args;
use jtav_dead_letters::{Selection, list};
use jtav_feed_processor::exit;

use super::open::open;
use crate::output::Stdout;
use crate::setup::SettingsArgs;

/// `jtav dead-letters list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which.
    #[command(flatten)]
    selection: Selection,
    /// Only the counts, as one line of JSON, last on stdout.
    #[arg(long)]
    json: bool,
    /// Settings.
    #[command(flatten)]
    settings: SettingsArgs,
}

pub fn run(arguments: &ListArgs) -> anyhow::Result<u8> {
    let (_, topic) = open(&arguments.settings)?;
    let mut output = Stdout;
    let listing = list(&topic, &arguments.selection, !arguments.json, &mut output)?;
    if arguments.json {
        writeln!(output, "{}", serde_json::to_value(&listing)?)?;
    }
    Ok(exit::OK)
}
