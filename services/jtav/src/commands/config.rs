//! `jtav config`.

mod check;
mod show;
mod topic_remarks;

use clap::Subcommand;

use self::check::CheckArgs;
use self::show::ShowArgs;
use crate::setup::{self, LogFormatArg};

/// `jtav config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check every key and rule; with --connect also broker, topics, store and checkpoint.
    Check(CheckArgs),
    /// Print the settings that hold, each with where it came from; secrets are masked.
    Show(ShowArgs),
}

pub fn run(command: &ConfigCommand, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "error");
    match command {
        ConfigCommand::Check(arguments) => check::run(arguments),
        ConfigCommand::Show(arguments) => show::run(arguments),
    }
}
