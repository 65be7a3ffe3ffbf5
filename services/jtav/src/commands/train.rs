//! `jtav train`: a thin shell over the trainer.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use jtav_feed_processor::exit;
use jtav_research::retrieval::{Protocol, RetrievalOptions, train_towers};
use jtav_research::zoo::Profile;
use jtav_trainer::{CheckpointProfile, DEFAULT_CACHE_DIR, Stage, Terminal, TrainOptions, resolve_data};

use crate::commands::table::retrieval::encoded;
use crate::failure::coded;
use crate::output::outln;
use crate::setup::{self, LogFormatArg};

/// `jtav train`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  JTAV_DATA_DIR=/data jtav train --data polarity-posts --out models/mine\n  \
                        jtav train --data polarity-posts --profile light --stages text,fusion --out models/small\n  \
                        jtav train --task image2song --data polarity-posts --out models/image2song\n\n\
                        Stages run in order text, audio, image, fusion. A stage that --stages leaves out is\n\
                        taken from the work folder, so the second example keeps the sound and picture of the first.\n\
                        A killed run goes on with the same command and --resume.\n\
                        The text network learns from rated-texts.jsonl in the pack's folder or beside it, where there is\n\
                        one; base weights are those that scripts/setup-weights.sh fetches.\n\
                        The work folder gets the curves as curves.csv and curves.png.")]
pub struct TrainArgs {
    /// What is trained: `labels`, the networks of the labels; or `image2song`, the two towers of `jtav table retrieval` on the
    /// vectors of --checkpoint.
    #[arg(long, value_enum, default_value = "labels")]
    task: TaskArg,
    /// With --task image2song: whose networks make the vectors.
    #[arg(long, value_name = "DIR", default_value = "models/jtav-modern")]
    checkpoint: PathBuf,
    /// Data pack in one of the layouts of docs/data-packs.md: a folder, or a name below $JTAV_DATA_DIR.
    #[arg(long)]
    data: PathBuf,
    /// Where the checkpoint goes.
    #[arg(long)]
    out: PathBuf,
    /// Stages to run, comma-separated: text, audio, image, fusion [default: all].
    #[arg(long, value_delimiter = ',')]
    stages: Vec<String>,
    /// Seed of everything random.
    #[arg(long)]
    seed: Option<u64>,
    /// `auto`, `cpu` or `cuda:0`.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Where decoded features are kept, so that the next run does not decode again.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Where finished stages are kept.
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// `modern` (words are read by a sentence encoder) or `light` (words are looked up, a fifth of the cost of a text).
    #[arg(long, default_value = "modern")]
    profile: String,
    /// Texts with their raters' votes [default: rated-texts.jsonl in the pack's folder or beside it].
    #[arg(long, value_name = "FILE")]
    rated_texts: Option<PathBuf>,
    /// DenseNet-121 by torchvision's names (safetensors) in place of EfficientNet-Lite0; the checkpoint holds a copy.
    #[arg(long, value_name = "FILE")]
    image_weights: Option<PathBuf>,
    /// A folder with base weights, looked at before the usual places.
    #[arg(long, value_name = "DIR")]
    weights: Option<PathBuf>,
    /// A paragraph for the model card, repeatable: what was tried, what was scored before.
    #[arg(long, value_name = "TEXT")]
    note: Vec<String>,
    /// Few examples and epochs: proves the whole path in a minute, the result is useless.
    #[arg(long)]
    quick: bool,
    /// Leave the test split alone.
    #[arg(long)]
    no_test: bool,
    /// Go on where a killed run with the same settings and work folder stood; it ends with the same weights.
    #[arg(long)]
    resume: bool,
    /// A setting of the training, for example `text.dropout=0.4` or `audio.plan.epochs=8`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The report as one line of JSON on stdout.
    #[arg(long)]
    json: bool,
}

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TaskArg {
    /// The networks of the labels.
    Labels,
    /// The two towers of image2song.
    Image2song,
}

pub fn run(arguments: &TrainArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "info");
    jtav_model::device::open_cuda_library();
    jtav_model::device::single_threaded();
    if arguments.task == TaskArg::Image2song {
        return towers(arguments);
    }
    let options = options(arguments)?;
    let makes_checkpoint = options.stages.contains(&Stage::Fusion);
    let json = if makes_checkpoint {
        serde_json::to_string(&jtav_trainer::train(&options, &Terminal::new())?)?
    } else {
        serde_json::to_string(&jtav_trainer::train_encoders(&options, &Terminal::new())?)?
    };
    if arguments.json {
        outln!("{json}")?;
    } else if makes_checkpoint {
        outln!("checkpoint and model card: {}", options.out.display())?;
    } else {
        outln!(
            "trained networks: {}; a run with --stages fusion makes a checkpoint of them",
            options.work_dir.display()
        )?;
    }
    Ok(exit::OK)
}

/// Trains the towers of both protocols: those of disjoint songs, which serve, into --out, those of shared songs below it.
fn towers(arguments: &TrainArgs) -> anyhow::Result<u8> {
    let device = arguments.device.parse().map_err(anyhow::Error::msg).context("--device")?;
    let progress = Terminal::new();
    let root = resolve_data(&arguments.data).context("--data").map_err(coded(exit::DATA))?;
    let cache = arguments.cache.clone().unwrap_or_else(|| DEFAULT_CACHE_DIR.into());
    let encoded = encoded(&arguments.checkpoint, &root, &cache, device, &progress)?;
    let options = RetrievalOptions { device, ..RetrievalOptions::new(Profile::Paper) };
    let options = if arguments.quick { options.quick() } else { options };
    let data = BTreeMap::from([(encoded.set.name.clone(), encoded.set.data_sha256.clone())]);
    let seed = arguments.seed.unwrap_or(0);
    for (protocol, folder) in
        [(Protocol::Disjoint, arguments.out.clone()), (Protocol::Shared, arguments.out.join(Protocol::Shared.name()))]
    {
        let (set, data) = (&encoded.set, data.clone());
        let towers = train_towers(set, protocol, &options, seed, &encoded.model_version, data, &progress)?;
        towers.save(&folder)?;
        let manifest = towers.manifest();
        if arguments.json {
            outln!("{}", serde_json::to_string(manifest)?)?;
        } else {
            outln!("{} ({}): {}\n  {}", towers.version(), protocol.name(), folder.display(), manifest.note)?;
        }
    }
    Ok(exit::OK)
}

fn options(arguments: &TrainArgs) -> anyhow::Result<TrainOptions> {
    let mut options = TrainOptions::new(&arguments.data, &arguments.out);
    if !arguments.stages.is_empty() {
        let stages = arguments.stages.iter().map(|name| name.parse::<Stage>().map_err(anyhow::Error::msg));
        options.stages = stages.collect::<anyhow::Result<_>>()?;
    }
    options.seed = arguments.seed.unwrap_or(options.seed);
    options.device = arguments.device.parse().map_err(anyhow::Error::msg).context("--device")?;
    options.cache_dir = arguments.cache.clone().unwrap_or(options.cache_dir);
    options.work_dir = arguments.work.clone().unwrap_or(options.work_dir);
    options.profile = arguments.profile.parse().map_err(anyhow::Error::msg).context("--profile")?;
    options.rated_texts = arguments.rated_texts.clone();
    options.image_weights = arguments.image_weights.clone();
    options.weights = arguments.weights.clone();
    options.notes = arguments.note.clone();
    options.quick = arguments.quick;
    options.resume = arguments.resume;
    options.score_test = !arguments.no_test;
    options.command = format!("jtav train --data {} --out {}", arguments.data.display(), arguments.out.display());
    if !arguments.stages.is_empty() {
        options.command.push_str(&format!(" --stages {}", arguments.stages.join(",")));
    }
    if options.profile != CheckpointProfile::default() {
        options.command.push_str(&format!(" --profile {}", arguments.profile));
    }
    if let Some(seed) = arguments.seed {
        options.command.push_str(&format!(" --seed {seed}"));
    }
    for (flag, path) in [
        ("--rated-texts", &arguments.rated_texts),
        ("--image-weights", &arguments.image_weights),
        ("--weights", &arguments.weights),
    ] {
        if let Some(path) = path {
            options.command.push_str(&format!(" {flag} {}", path.display()));
        }
    }
    for assignment in &arguments.set {
        let (key, value) =
            assignment.split_once('=').with_context(|| format!("--set {assignment}: expected KEY=VALUE"))?;
        options.set(key, value)?;
        options.command.push_str(&format!(" --set {assignment}"));
    }
    Ok(options)
}
