//! `jtav evaluate`: a thin shell over the trainer's evaluation.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use jtav_feed_processor::exit;
use jtav_model::{Checkpoint, DeviceChoice};
use jtav_research::deletion::{self, DeletionReport, deletion_test};
use jtav_settings::existing_or_bundled;
use jtav_trainer::dataset::Split;
use jtav_trainer::evaluate::{
    CheckpointReport, DEFAULT_SEED, LabelledTexts, Predictions, check_split, evaluate_checkpoint, evaluate_predictions,
    evaluate_texts, write_predictions,
};
use jtav_trainer::features::Features;
use jtav_trainer::{DEFAULT_CACHE_DIR, DataPack, Terminal, resolve_data};
use serde::Serialize;

use crate::failure::coded;
use crate::files::write_file;
use crate::output::{out, outln};
use crate::setup::{self, LogFormatArg};

/// Threads that decode media which are not in the cache.
const DECODE_THREADS: usize = 2;

/// `jtav evaluate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  jtav evaluate --data services/feed-simulator/sample-feed --split test\n  \
                  JTAV_DATA_DIR=/data jtav evaluate --data polarity-posts --checkpoint models/mine --split validation --plot ece.png\n  \
                  jtav evaluate --data services/feed-simulator/sample-feed --deletion --json | jq .deletion\n  \
                  jtav evaluate --texts tests/common-sense/open.jsonl --checkpoint models/jtav-modern\n  \
                  jtav evaluate --texts texts.jsonl --json | jq '.three_way.languages.en.certain'\n  \
                  jtav evaluate --predictions predictions.json --json | jq .auc\n\n\
                  Two questions. `auc`, `accuracy`, `ece` and the like ask for positive against negative. `three_way` asks for the\n\
                  label that a record carries, one of three: accuracy, macro F1, log loss, recall of each class, and `certain`:\n\
                  which share of the labels is given out as certain, and how many of those are right. The posts of a pack are\n\
                  positive or negative, so a neutral answer is an error there.\n\n\
                  A file of texts has one JSON object a line: {\"text\": \"not bad at all\", \"label\": \"positive\", \"kind\": \"negation\", \"lang\": \"en\"}.\n\
                  Labels are negative, neutral and positive. `id`, `kind` and `lang` may be left out (the language is identified then),\n\
                  and texts with the same `group` are drawn together for the intervals.\n\n\
                  Intervals draw items again, and not posts: posts that share a text, a clip or a picture are no independent evidence.\n\
                  `ece_quantile` is the calibration error that chance alone stays below in 95 of 100 splits of this size; an `ece`\n\
                  below it is no evidence against the probabilities.\n\n\
                  A file of predictions is {\"scores\": [0.91, 0.2], \"labels\": [1, 0], \"threshold\": 0.5}: positive when score >= threshold.\n\
                  With one class `auc` and `auc_hard` are null and all else is computed. --out DIR gets evaluation.json,\n\
                  predictions.jsonl (a line per post) and reliability.png. Look at a test split once, at the end.\n\
                  Exit code 65: a data pack, a file of texts or one of predictions that cannot be used.")]
pub struct EvaluateArgs {
    /// Data pack in one of the layouts of docs/data-packs.md: a folder, or a name below $JTAV_DATA_DIR.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["predictions", "texts"])]
    data: Option<PathBuf>,
    /// Checkpoint to score.
    #[arg(long, value_name = "DIR", default_value = "models/jtav-modern")]
    checkpoint: PathBuf,
    /// Which posts of the pack.
    #[arg(long, value_name = "NAME", value_enum, default_value = "test")]
    split: SplitArg,
    /// Also test the explanations: take out the words, seconds and cells that got most attention, and as many others.
    #[arg(long)]
    deletion: bool,
    /// Label these texts, by themselves, and score the three labels.
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["data", "predictions", "split", "cache", "deletion"])]
    texts: Option<PathBuf>,
    /// Score these predictions, whoever made them, in place of a checkpoint.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "checkpoint", "split", "device", "cache", "deletion"])]
    predictions: Option<PathBuf>,
    /// All figures as one line of JSON, last on stdout.
    #[arg(long)]
    json: bool,
    /// Draw the reliability diagram of the full combination here.
    #[arg(long, value_name = "FILE.png")]
    plot: Option<PathBuf>,
    /// Write all figures, the predictions and the diagram here.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// `auto`, `cpu` or `cuda:0`.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Where decoded features are kept [default: .cache/features].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Seed of the bootstrap intervals [default: 20].
    #[arg(long)]
    seed: Option<u64>,
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

pub fn run(arguments: &EvaluateArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "warn");
    match (&arguments.predictions, &arguments.texts, &arguments.data) {
        (Some(file), ..) => predictions(arguments, file),
        (None, Some(file), _) => texts(arguments, file),
        (None, None, Some(data)) => checkpoint(arguments, data),
        (None, None, None) => Err(coded(exit::USAGE)(anyhow::anyhow!(
            "name what to score: --data DIR, --texts FILE.jsonl or --predictions FILE"
        ))),
    }
}

fn predictions(arguments: &EvaluateArgs, file: &Path) -> anyhow::Result<u8> {
    let data = |error: anyhow::Error| coded(exit::DATA)(error);
    let predictions = Predictions::read(file).map_err(|error| data(error.into()))?;
    let seed = arguments.seed.unwrap_or(DEFAULT_SEED);
    let report = evaluate_predictions(&predictions, seed).map_err(|error| data(error.into()))?;
    let outputs = Outputs::new(arguments);
    outputs.diagram(|| Ok(Some(report.diagram()?)))?;
    outputs.json(&report)?;
    outputs.show(arguments.json, &report, || report.table())
}

fn texts(arguments: &EvaluateArgs, file: &Path) -> anyhow::Result<u8> {
    let texts = LabelledTexts::read(file).context("--texts").map_err(coded(exit::DATA))?;
    let (checkpoint, device) = loaded(arguments)?;
    let seed = arguments.seed.unwrap_or(DEFAULT_SEED);
    let report = evaluate_texts(&checkpoint, &texts, device, seed, &Terminal::new())?;
    let outputs = Outputs::new(arguments);
    outputs.diagram(|| Ok(report.diagram()?))?;
    outputs.json(&report)?;
    outputs.show(arguments.json, &report, || report.table())
}

/// The checkpoint that the arguments name, and the device.
fn loaded(arguments: &EvaluateArgs) -> anyhow::Result<(Checkpoint, DeviceChoice)> {
    jtav_model::device::open_cuda_library();
    jtav_model::device::single_threaded();
    let device: DeviceChoice = arguments.device.parse().context("--device").map_err(coded(exit::USAGE))?;
    let folder = existing_or_bundled(&arguments.checkpoint).map_err(|error| coded(exit::CONFIG)(error.into()))?;
    let checkpoint = Checkpoint::load(&folder)
        .with_context(|| format!("--checkpoint {}", folder.display()))
        .map_err(coded(exit::CONFIG))?;
    Ok((checkpoint, device))
}

fn checkpoint(arguments: &EvaluateArgs, data: &Path) -> anyhow::Result<u8> {
    let (checkpoint, device) = loaded(arguments)?;
    let pack =
        resolve_data(data).and_then(|root| Ok(DataPack::read(&root)?)).context("--data").map_err(coded(exit::DATA))?;
    let split = arguments.split.into();
    check_split(&pack, split).context("--split").map_err(coded(exit::DATA))?;
    let progress = Terminal::new();
    let cache = arguments.cache.clone().unwrap_or_else(|| DEFAULT_CACHE_DIR.into());
    let features =
        Features::load(pack.split(split), checkpoint.manifest().max_audio_seconds, &cache, DECODE_THREADS, &progress)
            .map_err(coded(exit::DATA))?;
    for file in &features.unreadable {
        tracing::warn!(path = %file.path.display(), reason = %file.reason, "media file is left out");
    }
    let seed = arguments.seed.unwrap_or(DEFAULT_SEED);
    let report = evaluate_checkpoint(&checkpoint, &pack, &features, split, device, seed, &progress)?;
    let test = || deletion_test(&checkpoint, &pack, &features, split, device, deletion::Settings::new(seed), &progress);
    let evaluated = Evaluated { report, deletion: arguments.deletion.then(test).transpose()? };
    let outputs = Outputs::new(arguments);
    outputs.diagram(|| Ok(Some(evaluated.report.diagram()?)))?;
    outputs.json(&evaluated)?;
    outputs.file("predictions.jsonl", || write_predictions(&evaluated.report, &pack).into_bytes())?;
    outputs.show(arguments.json, &evaluated, || evaluated.table())
}

/// Everything that was measured of a checkpoint.
#[derive(Serialize)]
struct Evaluated {
    #[serde(flatten)]
    report: CheckpointReport,
    /// Absent unless it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion: Option<DeletionReport>,
}

impl Evaluated {
    fn table(&self) -> String {
        self.report.table() + &self.deletion.as_ref().map_or_else(String::new, DeletionReport::table)
    }
}

/// Where results go beside stdout.
struct Outputs {
    plot: Option<PathBuf>,
    out: Option<PathBuf>,
}

impl Outputs {
    fn new(arguments: &EvaluateArgs) -> Self {
        let in_folder = arguments.out.as_ref().map(|folder| folder.join("reliability.png"));
        Self { plot: arguments.plot.clone().or(in_folder), out: arguments.out.clone() }
    }

    fn diagram(&self, draw: impl FnOnce() -> anyhow::Result<Option<Vec<u8>>>) -> anyhow::Result<()> {
        let Some(path) = &self.plot else { return Ok(()) };
        match draw().context("the reliability diagram")? {
            Some(picture) => write_file(path, &picture),
            None => {
                tracing::warn!(
                    "all texts are neutral, so there is no reliability diagram of positive against negative"
                );
                Ok(())
            }
        }
    }

    fn json(&self, report: &impl Serialize) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(report)?;
        text.push('\n');
        self.file("evaluation.json", || text.into_bytes())
    }

    fn file(&self, name: &str, bytes: impl FnOnce() -> Vec<u8>) -> anyhow::Result<()> {
        match &self.out {
            Some(folder) => write_file(&folder.join(name), &bytes()),
            None => Ok(()),
        }
    }

    fn show(&self, json: bool, report: &impl Serialize, table: impl FnOnce() -> String) -> anyhow::Result<u8> {
        if json {
            outln!("{}", serde_json::to_string(report)?)?;
            return Ok(exit::OK);
        }
        out!("{}", table())?;
        match &self.plot {
            Some(path) => outln!("\nreliability diagram: {}", path.display())?,
            None => outln!("\nreliability diagram: add --plot FILE.png")?,
        }
        if let Some(folder) = &self.out {
            outln!("all figures and files: {}", folder.display())?;
        }
        Ok(exit::OK)
    }
}
