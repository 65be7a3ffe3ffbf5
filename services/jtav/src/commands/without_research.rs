//! In the place of the commands that train, measure and look into the networks, in a build that only serves.

use std::ffi::OsString;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use jtav_feed_processor::exit;

use crate::failure::coded;
use crate::setup::LogFormatArg;

/// Those commands; each says that it is missing.
#[derive(Debug, Subcommand)]
pub enum ResearchCommand {
    /// Not in this build: train the networks on a data pack.
    Train(Unread),
    /// Not in this build: score a checkpoint on a split of a data pack.
    Evaluate(Unread),
    /// Not in this build: make the paper's tables.
    Table(Unread),
    /// Not in this build: show what an encoder sees of one file.
    Inspect(Unread),
}

/// Whatever follows, `--help` too.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct Unread {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _words: Vec<OsString>,
}

pub fn run(command: &ResearchCommand, _log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    let name = match command {
        ResearchCommand::Train(_) => "train",
        ResearchCommand::Evaluate(_) => "evaluate",
        ResearchCommand::Table(_) => "table",
        ResearchCommand::Inspect(_) => "inspect",
    };
    Err(coded(exit::USAGE)(anyhow!(
        "`jtav {name}` is not in this build, which only serves; a plain `cargo build` has it (feature `research` of the \
         package `jtav`)"
    )))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    #[test]
    fn a_command_that_is_missing_says_so_whatever_follows_it() {
        for line in ["train --data pack --out model", "evaluate --help", "table sentiment", "inspect text -"] {
            let words = std::iter::once("jtav").chain(line.split(' '));
            let message = Cli::try_parse_from(words).unwrap().run().unwrap_err().to_string();
            assert!(message.contains("is not in this build") && message.contains("`research`"), "{line}: {message}");
        }
    }
}
