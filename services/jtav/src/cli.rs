//! The command line. Help texts teach: what it does, what it needs, an example.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jtav_settings::Device;
use jtav_trainer::dataset::Split;
use jtav_trainer::inspect::AudioFeatures;

use crate::cli_backfill::BackfillArgs;
use crate::cli_dead_letters::DeadLettersCommand;
use crate::cli_media::MediaCommand;
use crate::cli_table::TableCommand;

/// Labels a live social feed: text, sound and pictures in, sentiment, moods and embeddings out.
#[derive(Debug, Parser)]
#[command(
    name = "jtav",
    version,
    after_help = "First steps:\n  jtav demo                                   see a real feed being labelled, nothing needed\n  \
                  jtav label posts.jsonl                      label a file of posts\n  \
                  jtav evaluate --data DIR                    what the model is worth on a data pack\n  \
                  jtav inspect audio song.mp3                 what an encoder sees of a file\n  \
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
    /// Score a checkpoint on a split of a data pack, in all seven combinations of modalities, or a file of predictions.
    Evaluate(EvaluateArgs),
    /// Make the paper's tables: train every row on a data pack and set it beside the paper's figures.
    #[command(subcommand)]
    Table(TableCommand),
    /// Show what an encoder sees of one file: decoded facts, features, attention.
    #[command(subcommand)]
    Inspect(InspectCommand),
    /// Look at what the worker set aside, and send it back when the cause is mended.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Label a part of the feed again with another model, beside the live workers.
    Backfill(BackfillArgs),
    /// Fetch and decode media as the worker would.
    #[command(subcommand)]
    Media(MediaCommand),
    /// Check or show the settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Decode media of strangers for a `jtav` that started this: not for people.
    #[command(hide = true)]
    DecodeWorker,
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
    /// `auto` (a GPU if there is one), `cpu` or `cuda:0`.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: Device,
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
                        a path is read from this machine, so label posts of strangers without one;\n\
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
                        image, fusion. A stage that --stages leaves out is\n\
                        taken from the work folder. --joint adds a fifth that moves all of them. A killed run goes on with the same command and --resume, within a stage too.\n\
                        The work folder gets the curves as curves.csv and curves.png."
)]
pub struct TrainArgs {
    /// Data pack in one of the layouts of docs/data-packs.md: a folder, or a name below $JTAV_DATA_DIR.
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
    /// After the staged training, fine-tune all four networks together on posts; kept only if validation gets better.
    #[arg(long)]
    pub joint: bool,
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
    /// Go on where a killed run with the same settings and work folder stood; it ends with the same weights.
    #[arg(long)]
    pub resume: bool,
    /// A setting of the training, for example `text.dropout=0.4` or `image.plan.epochs=8`.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The report as one line of JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// `jtav evaluate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  jtav evaluate --data services/feed-simulator/sample-feed --split test\n  \
                  JTAV_DATA_DIR=/data jtav evaluate --data polarity-posts --checkpoint models/mine --split validation --plot ece.png\n  \
                  jtav evaluate --data services/feed-simulator/sample-feed --deletion --json | jq .deletion\n  \
                  jtav evaluate --predictions predictions.json --json | jq .auc\n\n\
                  A file of predictions is {\"scores\": [0.91, 0.2], \"labels\": [1, 0], \"threshold\": 0.5}: positive when score >= threshold.\n\
                  With one class `auc` and `auc_hard` are null and all else is computed. --out DIR gets evaluation.json,\n\
                  predictions.jsonl (a line per post) and reliability.png. Look at a test split once, at the end.\n\
                  Exit code 65: a data pack or a file of predictions that cannot be used.")]
pub struct EvaluateArgs {
    /// Data pack in one of the layouts of docs/data-packs.md: a folder, or a name below $JTAV_DATA_DIR.
    #[arg(long, value_name = "DIR", required_unless_present = "predictions")]
    pub data: Option<PathBuf>,
    /// Checkpoint to score.
    #[arg(long, value_name = "DIR", default_value = "models/jtav-modern")]
    pub checkpoint: PathBuf,
    /// Which posts of the pack.
    #[arg(long, value_name = "NAME", value_enum, default_value = "test")]
    pub split: SplitArg,
    /// Also test the explanations: take out the words, seconds and cells that got most attention, and as many others.
    #[arg(long)]
    pub deletion: bool,
    /// Score these predictions, whoever made them, in place of a checkpoint.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "checkpoint", "split", "device", "cache", "deletion"])]
    pub predictions: Option<PathBuf>,
    /// All figures as one line of JSON, last on stdout.
    #[arg(long)]
    pub json: bool,
    /// Draw the reliability diagram of the full combination here.
    #[arg(long, value_name = "FILE.png")]
    pub plot: Option<PathBuf>,
    /// Write all figures, the predictions and the diagram here.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// `auto`, `cpu` or `cuda:0`.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Where decoded features are kept [default: .cache/features].
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Seed of the bootstrap intervals [default: 20].
    #[arg(long)]
    pub seed: Option<u64>,
}

/// Splits of a data pack.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum SplitArg {
    /// Where weights were fitted.
    Train,
    /// Where epochs, temperatures and thresholds were chosen.
    Validation,
    /// To be looked at once.
    Test,
}

impl From<SplitArg> for Split {
    fn from(split: SplitArg) -> Self {
        match split {
            SplitArg::Train => Self::Train,
            SplitArg::Validation => Self::Validation,
            SplitArg::Test => Self::Test,
        }
    }
}

/// `jtav inspect`.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "The file goes through the decoders, limits and networks of the worker; what it would leave out is refused with\n\
                  the same reason and exit code 65.\n\n\
                  Examples:\n  jtav inspect audio song.mp3 --picture song.png\n  jtav inspect image photo.jpg --save photo.npy --json\n  \
                  echo 'what a lovely day' | jtav inspect text -"
)]
pub enum InspectCommand {
    /// A clip: facts of the file, the constant-Q spectrogram, attention per second.
    Audio(InspectAudioArgs),
    /// A picture: facts of the file, the crop, the cells that argue for the label.
    Image(InspectImageArgs),
    /// A text: words, rows of the embedding table, attention per word.
    Text(InspectTextArgs),
}

/// Which network, and how to answer.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// Checkpoint in place of the bundled one.
    #[arg(long, value_name = "DIR")]
    pub checkpoint: Option<PathBuf>,
    /// One line of JSON, last on stdout.
    #[arg(long)]
    pub json: bool,
    /// Settings: the limits of decoding, the device.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// `jtav inspect audio`.
#[derive(Debug, Args)]
#[command(
    after_help = "--save writes f32 [frames, bins] of all that is analysed (media.analysed_audio_seconds, 30 by default), in dB\n\
                  below the loudest value, with librosa 0.11's conventions: 22,050 Hz mono, hop 1024, centred frames,\n\
                  96 bins. `cqt` is what the encoder reads; `mel` and `mfcc` (20 coefficients) are for comparison.\n\n\
                  Example:\n  jtav inspect audio song.mp3 --picture song.png --save song.npy"
)]
pub struct InspectAudioArgs {
    /// MP3, AAC/M4A, FLAC, Ogg Vorbis or WAV.
    pub file: PathBuf,
    /// Write the features here, before they are cut into segments and standardised.
    #[arg(long, value_name = "FILE.npy")]
    pub save: Option<PathBuf>,
    /// Draw the features with axes and the attention per second here.
    #[arg(long, value_name = "FILE.png")]
    pub picture: Option<PathBuf>,
    /// Which features.
    #[arg(long, value_enum, default_value = "cqt")]
    pub features: FeaturesArg,
    /// Network and form of the answer.
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// Features of a clip.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FeaturesArg {
    /// Constant-Q in dB, what the encoder reads.
    Cqt,
    /// Mel in dB.
    Mel,
    /// Mel-frequency cepstral coefficients.
    Mfcc,
}

impl From<FeaturesArg> for AudioFeatures {
    fn from(features: FeaturesArg) -> Self {
        match features {
            FeaturesArg::Cqt => Self::ConstantQ,
            FeaturesArg::Mel => Self::Mel,
            FeaturesArg::Mfcc => Self::Mfcc,
        }
    }
}

/// `jtav inspect image`.
#[derive(Debug, Args)]
#[command(
    after_help = "--save writes f32 [3, 224, 224]: upright, alpha over white, shorter side 256, centre 224, scaled to [0, 1], less\n\
                  ImageNet's mean over its deviation.\n\n\
                  Example:\n  jtav inspect image photo.jpg --picture seen.png"
)]
pub struct InspectImageArgs {
    /// JPEG, PNG, WebP or GIF.
    pub file: PathBuf,
    /// Write the normalised crop here.
    #[arg(long, value_name = "FILE.npy")]
    pub save: Option<PathBuf>,
    /// Draw the crop and its cells here.
    #[arg(long, value_name = "FILE.png")]
    pub picture: Option<PathBuf>,
    /// Network and form of the answer.
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// `jtav inspect text`.
#[derive(Debug, Args)]
#[command(
    after_help = "Several files are the parts of one post: the one with the most words is read, the others gate its words.\n\n\
                  Examples:\n  echo 'what a lovely day' | jtav inspect text -\n  jtav inspect text lyrics.txt caption.txt --json"
)]
pub struct InspectTextArgs {
    /// Text files, or `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write the attention per word here, f32 [words].
    #[arg(long, value_name = "FILE.npy")]
    pub save: Option<PathBuf>,
    /// Network and form of the answer.
    #[command(flatten)]
    pub network: NetworkArgs,
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
