//! `jtav`: labels a live social feed. One binary, one file per command; see `jtav --help`.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator;
mod cli;
mod cli_backfill;
mod cli_dead_letters;
mod cli_media;
mod cli_table;
mod cli_table_retrieval;
mod commands;
mod failure;
mod setup;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => failure::report(&error),
    }
}
