//! `jtav completions`.

use std::io::Write as _;

use clap::Args;
use jtav_feed_processor::exit;

use crate::output::Stdout;

/// `jtav completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell.
    shell: clap_complete::Shell,
}

/// Prints the script for `program`.
pub fn run(arguments: &CompletionsArgs, mut program: clap::Command) -> anyhow::Result<u8> {
    // Into memory first: it panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, "jtav", &mut script);
    Stdout.write_all(&script)?;
    Ok(exit::OK)
}
