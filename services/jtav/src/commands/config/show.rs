//! `jtav config show`.

use clap::Args;
use jtav_feed_processor::exit;

use crate::output::outln;
use crate::setup::{self, SettingsArgs};

/// `jtav config show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Settings.
    #[command(flatten)]
    settings: SettingsArgs,
    /// What holds after defaults, files, environment and flags (the only view there is; kept for clarity).
    #[arg(long)]
    effective: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &ShowArgs) -> anyhow::Result<u8> {
    let loaded = setup::loader(&arguments.settings).parse()?;
    outln!("{}", if arguments.json { loaded.show_effective_json() } else { loaded.show_effective() })?;
    Ok(exit::OK)
}
