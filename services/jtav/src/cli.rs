//! The command line. Help texts teach: what it does, what it needs, an example.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Labels a live social feed: text, sound and pictures in, sentiment, moods and embeddings out.
#[derive(Debug, Parser)]
#[command(
    name = "jtav",
    version,
    after_help = "First steps:\n  jtav demo                                   see a real feed being labelled, nothing needed\n  \
                  jtav label posts.jsonl                      label a file of posts\n  \
                  jtav run --config config/production.toml    the worker, on your Kafka and Redis\n\n\
                  Exit codes: 0 fine, 1 failure, 2 usage, 65 unreadable input, 69 broker or store out of reach,\n\
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

/// Log formats.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormatArg {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Label the bundled sample feed: in-process Kafka, local media server, real networks. Needs nothing.
    Demo(DemoArgs),
    /// Run the worker on a Kafka and a Redis until SIGTERM.
    Run(RunArgs),
    /// Label a JSONL of posts to a JSONL of labels: no broker, no store.
    Label(LabelArgs),
    /// Play a data pack into a broker as a live feed, and serve its media.
    Feed(FeedArgs),
    /// Train the networks on a data pack and write a checkpoint with its model card.
    Train(TrainArgs),
    /// Check or show the settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the completions of a shell: `jtav completions bash > /etc/bash_completion.d/jtav`.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Where settings come from.
#[derive(Debug, Clone, Args)]
pub struct SettingsArgs {
    /// Settings file (TOML); may be given several times, later ones win.
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// One setting, stronger than file and environment: `--set kafka.brokers=broker:9092`.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `jtav demo`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  jtav demo\n  jtav demo --json | jq .latency_ms\n  jtav demo --serve    then open http://127.0.0.1:9600/metrics"
)]
pub struct DemoArgs {
    /// One line of JSON, last on stdout, in place of the live view.
    #[arg(long)]
    pub json: bool,
    /// Stay alive after the feed and serve /metrics, /healthz, /readyz, /describe until Ctrl-C.
    #[arg(long)]
    pub serve: bool,
    /// Where --serve listens.
    #[arg(long, default_value = "127.0.0.1:9600", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Data pack to play in place of the bundled one.
    #[arg(long, value_name = "DIR")]
    pub feed: Option<PathBuf>,
    /// Checkpoint in place of the bundled one.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Posts a second; without it as fast as they are taken.
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
}

/// `jtav run`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  jtav run --config config/production.toml --set kafka.brokers=broker:9092\n\n\
                        SIGTERM drains: intake stops, what is in flight is settled and committed. A second one exits at once.")]
pub struct RunArgs {
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// `auto`, `cpu` or `cuda:0`; as model.device.
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
}

/// `jtav label`.
#[derive(Debug, Args)]
#[command(
    after_help = "Each line is a post.v1 (media by URL) or a dataset-post.v1 (media by path, relative to the file, or to the\n\
                        working folder for standard input). Each line of the output is a sentiment.v1 in input order;\n\
                        a post that cannot be labelled gives {\"line\", \"post_id\", \"error\", \"reason\"} and exit code 65 at the end.\n\n\
                        Example:\n  echo '{\"id\":\"1\",\"texts\":[{\"role\":\"body\",\"text\":\"what a lovely day\"}]}' | jtav label -"
)]
pub struct LabelArgs {
    /// JSONL file, or `-` for standard input.
    pub input: PathBuf,
    /// Write here in place of stdout.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Add the embeddings: each output line gets a field `embedding` (embedding.v1).
    #[arg(long)]
    pub embeddings: bool,
    /// Checkpoint in place of the bundled one.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Exact addresses that media may be fetched from though they are not public: `127.0.0.1:8080`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub allow: Vec<SocketAddr>,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// `jtav feed`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  jtav feed services/feed-simulator/sample-feed --brokers localhost:9092 --topic posts --rate 20 \\\n      \
                        --serve-media 127.0.0.1:8090\n\nAllow the address on the worker: media.allow = [\"127.0.0.1:8090\"]."
)]
pub struct FeedArgs {
    /// Data pack: a folder with posts.jsonl [default: the bundled sample feed].
    pub pack: Option<PathBuf>,
    /// Kafka brokers.
    #[arg(long, default_value = "localhost:9092")]
    pub brokers: String,
    /// Topic to produce to.
    #[arg(long, default_value = "posts")]
    pub topic: String,
    /// Posts a second; without it as fast as the broker takes them.
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// Rounds; 0 plays for ever. Ids get a suffix from the second round on.
    #[arg(long = "loop", default_value_t = 1, value_name = "N")]
    pub loops: u32,
    /// Serve the media here while playing, and until Ctrl-C with --keep-serving.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    pub serve_media: SocketAddr,
    /// Base URL that posts name, where it differs from the address served (behind a proxy, in a container).
    #[arg(long, value_name = "URL")]
    pub media_url: Option<String>,
    /// Keep serving the media after the last post, until Ctrl-C: workers may still be fetching.
    #[arg(long)]
    pub keep_serving: bool,
    /// Settings of librdkafka, for example security.protocol=SASL_SSL.
    #[arg(long, value_name = "KEY=VALUE")]
    pub kafka: Vec<String>,
}

/// `jtav train`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  JTAV_DATA_DIR=/data jtav train --data polarity-posts --out models/mine\n\nStages run in order text, audio, \
                        image, fusion; finished ones are kept in the work folder and reused."
)]
pub struct TrainArgs {
    /// Data pack: a folder, or a name below $JTAV_DATA_DIR.
    #[arg(long)]
    pub data: PathBuf,
    /// Where the checkpoint goes.
    #[arg(long)]
    pub out: PathBuf,
    /// Stages to run, comma-separated: text, audio, image, fusion [default: all].
    #[arg(long, value_delimiter = ',')]
    pub stages: Vec<String>,
    /// Seed of everything random.
    #[arg(long)]
    pub seed: Option<u64>,
    /// `auto`, `cpu` or `cuda:0`.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Where decoded features are kept, so that the next run does not decode again.
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Where finished stages are kept.
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// A checkpoint trained on the same posts whose audio and image networks are kept as they are.
    #[arg(long, value_name = "DIR")]
    pub keep_media: Option<PathBuf>,
    /// A paragraph for the model card, repeatable: what was tried, what was scored before.
    #[arg(long, value_name = "TEXT")]
    pub note: Vec<String>,
    /// Few examples and epochs: proves the whole path in a minute, the result is useless.
    #[arg(long)]
    pub quick: bool,
    /// Leave the test split alone.
    #[arg(long)]
    pub no_test: bool,
    /// A setting of the training, for example `text.dropout=0.4` or `image.plan.epochs=8`.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The report as one line of JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// `jtav config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check every key and rule; with --connect also broker, topics, store and checkpoint.
    Check {
        /// Settings.
        #[command(flatten)]
        settings: SettingsArgs,
        /// Reach out to Kafka, Redis and the checkpoint too.
        #[arg(long)]
        connect: bool,
    },
    /// Print the settings that hold, each with where it came from; secrets are masked.
    Show {
        /// Settings.
        #[command(flatten)]
        settings: SettingsArgs,
        /// What holds after defaults, files, environment and flags (the only view there is; kept for clarity).
        #[arg(long)]
        effective: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}
