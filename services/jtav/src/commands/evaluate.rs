//! `jtav evaluate`: a thin shell over the trainer's evaluation.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jtav_feed_processor::exit;
use jtav_model::{Checkpoint, DeviceChoice};
use jtav_settings::existing_or_bundled;
use jtav_trainer::deletion::{self, deletion_test};
use jtav_trainer::evaluate::{
    DEFAULT_SEED, Predictions, check_split, evaluate_checkpoint, evaluate_predictions, write_predictions,
};
use jtav_trainer::features::Features;
use jtav_trainer::{DEFAULT_CACHE_DIR, DataPack, Terminal, resolve_data};
use serde::Serialize;

use crate::cli::{EvaluateArgs, LogFormatArg};
use crate::failure::coded;
use crate::output::{out, outln};
use crate::setup;

/// Threads that decode media which are not in the cache.
const DECODE_THREADS: usize = 2;

pub fn evaluate(arguments: &EvaluateArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "warn");
    match (&arguments.predictions, &arguments.data) {
        (Some(file), _) => predictions(arguments, file),
        (None, Some(data)) => checkpoint(arguments, data),
        (None, None) => {
            Err(coded(exit::USAGE)(anyhow::anyhow!("name what to score: --data DIR or --predictions FILE")))
        }
    }
}

fn predictions(arguments: &EvaluateArgs, file: &Path) -> anyhow::Result<u8> {
    let data = |error: anyhow::Error| coded(exit::DATA)(error);
    let predictions = Predictions::read(file).map_err(|error| data(error.into()))?;
    let seed = arguments.seed.unwrap_or(DEFAULT_SEED);
    let report = evaluate_predictions(&predictions, seed).map_err(|error| data(error.into()))?;
    let outputs = Outputs::new(arguments);
    outputs.diagram(|| Ok(report.diagram()?))?;
    outputs.json(&report)?;
    outputs.show(arguments.json, &report, || report.table())
}

fn checkpoint(arguments: &EvaluateArgs, data: &Path) -> anyhow::Result<u8> {
    jtav_model::device::open_cuda_library();
    jtav_model::device::single_threaded();
    let device: DeviceChoice = arguments.device.parse().context("--device").map_err(coded(exit::USAGE))?;
    let folder = existing_or_bundled(&arguments.checkpoint).map_err(|error| coded(exit::CONFIG)(error.into()))?;
    let checkpoint = Checkpoint::load(&folder)
        .with_context(|| format!("--checkpoint {}", folder.display()))
        .map_err(coded(exit::CONFIG))?;
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
    let mut report = evaluate_checkpoint(&checkpoint, &pack, &features, split, device, seed, &progress)?;
    if arguments.deletion {
        let settings = deletion::Settings::new(seed);
        let tested = deletion_test(&checkpoint, &pack, &features, split, device, settings, &progress)?;
        report.deletion = Some(tested);
    }
    let outputs = Outputs::new(arguments);
    outputs.diagram(|| Ok(report.diagram()?))?;
    outputs.json(&report)?;
    outputs.file("predictions.jsonl", || write_predictions(&report, &pack).into_bytes())?;
    outputs.show(arguments.json, &report, || report.table())
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

    fn diagram(&self, draw: impl FnOnce() -> anyhow::Result<Vec<u8>>) -> anyhow::Result<()> {
        match &self.plot {
            Some(path) => write(path, &draw().context("the reliability diagram")?),
            None => Ok(()),
        }
    }

    fn json(&self, report: &impl Serialize) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(report)?;
        text.push('\n');
        self.file("evaluation.json", || text.into_bytes())
    }

    fn file(&self, name: &str, bytes: impl FnOnce() -> Vec<u8>) -> anyhow::Result<()> {
        match &self.out {
            Some(folder) => write(&folder.join(name), &bytes()),
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

/// Makes the folder too.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
