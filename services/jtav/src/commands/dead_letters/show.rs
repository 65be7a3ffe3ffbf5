//! `jtav dead-letters show`.

use std::io::Write as _;

use clap::Args;
use jtav_dead_letters::{Position, find, show, show_json};
use jtav_feed_processor::exit;

use super::open::open;
use crate::failure::coded;
use crate::output::Stdout;
use crate::setup::SettingsArgs;

/// `jtav dead-letters show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Position on the dead-letter topic, as `list` prints it.
    #[arg(value_name = "PARTITION:OFFSET")]
    position: Position,
    /// As one line of JSON, last on stdout: the line that `export` writes.
    #[arg(long)]
    json: bool,
    /// Settings.
    #[command(flatten)]
    settings: SettingsArgs,
}

pub fn run(arguments: &ShowArgs) -> anyhow::Result<u8> {
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
