//! The list of commands. What a command takes, does and prints stands in its own file below `commands`.

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::commands::backfill::BackfillArgs;
use crate::commands::bench::BenchCommand;
use crate::commands::completions::CompletionsArgs;
use crate::commands::config::ConfigCommand;
use crate::commands::dead_letters::DeadLettersCommand;
use crate::commands::demo::DemoArgs;
use crate::commands::explain::ExplainArgs;
use crate::commands::feed::FeedArgs;
use crate::commands::index::IndexCommand;
use crate::commands::label::LabelArgs;
use crate::commands::media::MediaCommand;
use crate::commands::model::ModelCommand;
use crate::commands::plan::PlanArgs;
use crate::commands::research::ResearchCommand;
use crate::commands::run::RunArgs;
use crate::commands::serve::ServeArgs;
use crate::commands::tap::TapArgs;
use crate::commands::top::TopArgs;
use crate::commands::{
    backfill, bench, completions, config, dead_letters, decode_worker, demo, explain, feed, index, label, media, model,
    plan, research, run, serve, tap, top,
};
use crate::setup::{self, LogFormatArg};

/// Labels a live social feed: text, sound and pictures in, sentiment, moods and embeddings out.
#[derive(Debug, Parser)]
#[command(
    name = "jtav",
    version,
    after_help = "First steps:\n  jtav demo                                   see a real feed being labelled, nothing needed\n  \
                  jtav label posts.jsonl                      label a file of posts\n  \
                  jtav explain pp-000431                      why a post was labelled so: beside `jtav demo --serve`, or of a file\n  \
                  jtav evaluate --data DIR                    what the model is worth on a data pack\n  \
                  jtav inspect audio song.mp3                 what an encoder sees of a file\n  \
                  jtav model show                             what the checkpoint is made of, and where\n  \
                  jtav run --config config/production.toml    the worker, on your Kafka and Redis\n  \
                  jtav serve --config config/production.toml  labels over HTTP, and the page to look at them\n  \
                  jtav tap                                    the labels as they are published\n  \
                  jtav top                                    how the workers are\n\n\
                  Exit codes: 0 fine, 1 failure, 2 usage, 65 unreadable input, 69 broker, store or server out of reach,\n\
                  70 device fault, 75 drain deadline passed, 78 settings.\n\
                  Logs go to stderr (RUST_LOG filters them), results to stdout."
)]
pub struct Cli {
    /// How log lines look [default: pretty, or log.format of the settings].
    #[arg(long, global = true, value_enum)]
    pub log_format: Option<LogFormatArg>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Label the bundled sample feed: in-process Kafka, local media server, real networks. Needs nothing.
    Demo(DemoArgs),
    /// Run the worker on a Kafka and a Redis until SIGTERM.
    Run(RunArgs),
    /// Serve labels, reasons, neighbours and the live stream over HTTP, with a page to look at them.
    Serve(ServeArgs),
    /// Label a JSONL of posts to a JSONL of labels: no broker, no store.
    Label(LabelArgs),
    /// Tell why a post was labelled as it was: of a running server, or of a file.
    Explain(ExplainArgs),
    /// Follow the labels as they are published, a line each.
    Tap(TapArgs),
    /// Show how workers are: rates, lag, queues, times.
    Top(TopArgs),
    /// Make a catalogue of songs for image2song.
    #[command(subcommand)]
    Index(IndexCommand),
    /// Play a data pack into a broker as a live feed, and serve its media.
    Feed(FeedArgs),
    /// What trains, measures and looks into the networks; in builds with the feature `research`.
    #[command(flatten)]
    Research(ResearchCommand),
    /// Look at what the worker set aside, and send it back when the cause is mended.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Label a part of the feed again with another model, beside the live workers.
    Backfill(BackfillArgs),
    /// Fetch and decode media as the worker would.
    #[command(subcommand)]
    Media(MediaCommand),
    /// Show what a checkpoint is made of, pack it with all that it needs, or write it for other engines.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Measure what the networks cost on this machine.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Tell what a feed needs (workers, Kafka, Redis, network) and what is full first, from measured costs.
    Plan(PlanArgs),
    /// Check or show the settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Decode media of strangers for a `jtav` that started this: not for people.
    #[command(hide = true)]
    DecodeWorker,
    /// Print the completions of a shell: `jtav completions bash > /etc/bash_completion.d/jtav`.
    Completions(CompletionsArgs),
}

impl Cli {
    /// Runs the command; the number is the exit code.
    pub fn run(self) -> anyhow::Result<u8> {
        setup::descriptor_limit();
        let log_format = self.log_format;
        match self.command {
            Command::Demo(arguments) => demo::run(&arguments, log_format),
            Command::Run(arguments) => run::run(&arguments, log_format),
            Command::Serve(arguments) => serve::run(&arguments, log_format),
            Command::Label(arguments) => label::run(&arguments, log_format),
            Command::Explain(arguments) => explain::run(&arguments, log_format),
            Command::Tap(arguments) => tap::run(&arguments, log_format),
            Command::Top(arguments) => top::run(&arguments, log_format),
            Command::Index(command) => index::run(&command, log_format),
            Command::Feed(arguments) => feed::run(&arguments, log_format),
            Command::Research(command) => research::run(&command, log_format),
            Command::DeadLetters(command) => dead_letters::run(&command, log_format),
            Command::Backfill(arguments) => backfill::run(&arguments, log_format),
            Command::Media(command) => media::run(&command, log_format),
            Command::Model(command) => model::run(&command, log_format),
            Command::Bench(command) => bench::run(&command, log_format),
            Command::Plan(arguments) => plan::run(&arguments, log_format),
            Command::Config(command) => config::run(&command, log_format),
            Command::DecodeWorker => decode_worker::run(),
            Command::Completions(arguments) => completions::run(&arguments, Cli::command()),
        }
    }
}
