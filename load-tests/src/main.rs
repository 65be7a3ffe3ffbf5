//! Open-loop load generator: posts arrive when they are due, whatever the worker does.

mod ceiling;
mod collector;
mod commands;
mod costs;
mod files;
mod local;
mod pacing;
mod process;
mod profile;
mod reader;
mod report;
mod run;
mod scenario;
mod sender;
mod serve;
mod soak;
mod topics;
mod under_way;
mod zipf;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures a jtav worker under load that does not wait for it.
///
/// Post n is sent at start + n / rate, whether or not earlier ones were answered, and its latency counts from that
/// moment to the moment a consumer reads its label. A worker that stalls for a second is charged with every post that
/// was due in that second; a generator that waits for answers would see one slow post (coordinated omission).
///
/// A run starts a real Kafka broker, a redis-server and one worker, warms them up, measures, measures a ceiling to
/// compare with, stops everything, prints a table and keeps it with date, commit and machine in load-tests/results/.
#[derive(Parser)]
#[command(name = "jtav-load-tests", after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples, from the repository (the worker first: cargo build --release --workspace --bin jtav):
  cargo run --release -p jtav-load-tests -- run --scenario stub
  cargo run --release -p jtav-load-tests -- run --scenario text --rate 800 --seconds 60
  cargo run --release -p jtav-load-tests -- run --scenario mixed --brokers 127.0.0.1:9092
  cargo run --release -p jtav-load-tests -- run --scenario stub --rate 3000 --profile stub.svg
  cargo run --release -p jtav-load-tests -- soak --minutes 30

How to find the capacity: raise --rate until the report says `saturated`, then quote latencies at 70 % of it.
Exit status: 0 clean, 1 posts lost, refused or dead-lettered (the result is kept all the same), 2 nothing measured.";

#[derive(Subcommand)]
enum Command {
    /// Run one scenario and keep its result
    Run(commands::scenario::RunArguments),
    /// Run for long at 80 % of the capacity, with faults, and see whether anything grows, is lost or shows twice
    Soak(commands::soak::SoakArguments),
    /// Measure what one dead media host costs posts with media on other hosts
    Isolation(commands::isolation::IsolationArguments),
    /// Measure what hostile posts cost the honest ones, and see that each comes to its end
    Hostile(commands::hostile::HostileArguments),
    /// Measure what the media cache is worth on a feed whose media come as often as Zipf's law says
    Zipf(commands::zipf::ZipfArguments),
    /// Measure the readers' side: lookups, many readers of the stream, and how soon a killed server is whole again
    Serve(commands::serve::ServeArguments),
    /// Measure what a post costs worker, broker and store, for `jtav plan`
    Costs(commands::costs::CostsArguments),
    /// Name the scenarios
    List,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => commands::scenario::run(arguments),
        Command::Soak(arguments) => commands::soak::run(arguments),
        Command::Isolation(arguments) => commands::isolation::run(arguments),
        Command::Hostile(arguments) => commands::hostile::run(arguments),
        Command::Zipf(arguments) => commands::zipf::run(arguments),
        Command::Serve(arguments) => commands::serve::run(arguments),
        Command::Costs(arguments) => commands::costs::run(arguments),
        Command::List => commands::list::run().map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
