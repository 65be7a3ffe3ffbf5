//! One file per command.

mod backfill;
mod config;
mod dead_letters;
mod demo;
mod demo_view;
mod evaluate;
mod feed;
mod inspect;
mod label;
mod label_io;
mod media;
mod run;
mod table;
mod table_retrieval;
mod topic_remarks;
mod train;

use std::io::{ErrorKind, Write as _};

use clap::CommandFactory as _;
use jtav_feed_processor::exit;

use crate::cli::{Cli, Command};
use crate::output::Stdout;

/// Runs the command; the number is the exit code.
pub fn dispatch(cli: Cli) -> anyhow::Result<u8> {
    crate::setup::descriptor_limit();
    match cli.command {
        Command::Demo(arguments) => demo::demo(&arguments, cli.log_format),
        Command::Run(arguments) => run::run(&arguments, cli.log_format),
        Command::Label(arguments) => label::label(&arguments, cli.log_format),
        Command::Feed(arguments) => feed::feed(&arguments, cli.log_format),
        Command::Train(arguments) => train::train(&arguments, cli.log_format),
        Command::Evaluate(arguments) => evaluate::evaluate(&arguments, cli.log_format),
        Command::Table(command) => table::table(&command, cli.log_format),
        Command::Inspect(command) => inspect::inspect(&command, cli.log_format),
        Command::DeadLetters(command) => dead_letters::dead_letters(&command, cli.log_format),
        Command::Backfill(arguments) => backfill::backfill(&arguments, cli.log_format),
        Command::Media(command) => media::media(&command, cli.log_format),
        Command::DecodeWorker => decode_worker(),
        Command::Config(command) => config::config(&command, cli.log_format),
        Command::Completions { shell } => {
            // Into memory first: it panics where it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "jtav", &mut script);
            Stdout.write_all(&script)?;
            Ok(exit::OK)
        }
    }
}

fn decode_worker() -> anyhow::Result<u8> {
    // Points of the processes that decode; they come over the environment of whoever started this one.
    jtav_pipeline::fail_point::arm_from_environment()?;
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    let give_back = crate::allocator::give_back;
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let give_back = |_| {};
    match jtav_media::serve_decode_workers(give_back) {
        // Whoever started it has ended in the middle of a word, and nobody is left to tell.
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(exit::OK),
        served => served.map(|()| exit::OK).map_err(Into::into),
    }
}
