//! `jtav`: labels a live social feed. One binary, one file per command; see `jtav --help`.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator;
mod cli;
mod commands;
mod failure;
mod files;
mod output;
mod setup;

use std::panic::{AssertUnwindSafe, catch_unwind};

use clap::Parser as _;

/// Exit code after a panic, as Rust's own runtime has it.
const PANICKED: u8 = 101;

fn main() {
    let cli = cli::Cli::parse();
    // Unwind safe: whatever state a panic left behind, nothing looks at it any more.
    let ended = catch_unwind(AssertUnwindSafe(|| cli.run().unwrap_or_else(|error| failure::report(&error))));
    // The hook has said where; returning would run the destructors of libraries under their threads.
    output::leave(ended.unwrap_or(PANICKED))
}
