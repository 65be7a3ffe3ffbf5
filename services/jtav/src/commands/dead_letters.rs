//! `jtav dead-letters`: what was set aside, and the way back.

mod export;
mod list;
mod open;
mod replay;
mod show;

use std::io::ErrorKind;

use clap::Subcommand;
use jtav_feed_processor::exit;

use self::export::ExportArgs;
use self::list::ListArgs;
use self::replay::ReplayArgs;
use self::show::ShowArgs;
use crate::failure::out_of_reach;
use crate::setup::{self, LogFormatArg};

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

pub fn run(command: &DeadLettersCommand, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "error");
    let done = match command {
        DeadLettersCommand::List(arguments) => list::run(arguments),
        DeadLettersCommand::Show(arguments) => show::run(arguments),
        DeadLettersCommand::Replay(arguments) => replay::run(arguments),
        DeadLettersCommand::Export(arguments) => export::run(arguments),
    };
    done.or_else(|error| if is_broken_pipe(&error) { Ok(exit::OK) } else { Err(out_of_reach(error)) })
}

/// `jtav dead-letters list | head` is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
