//! `jtav table labels`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use jtav_feed_processor::exit;
use jtav_research::labels::{LabelOptions, label_table, make_other, read_rated, resolve_file, write_label_table};
use jtav_settings::existing_or_bundled;
use jtav_trainer::{Terminal, resolve_data};

use super::common::command_line;
use crate::failure::coded;
use crate::output::{errln, out, outln};

/// `jtav table labels`.
#[derive(Debug, Args)]
#[command(
    after_help = "The rivals (TF-IDF, VADER, untuned sentence vectors) are fitted on the rated texts without their sealed tenth. What is\n\
                  sealed is for the last word: --sealed and --other are run once, with the checkpoint that was chosen.\n\n\
                  Examples:\n  jtav table labels --checkpoint models/jtav-modern --out docs/results\n  \
                  jtav table labels --checkpoint modern=a --checkpoint modern=b --predictions before=FILE --json\n  \
                  jtav table labels --make-other other-posts && jtav evaluate --data other-posts"
)]
pub struct LabelTableArgs {
    /// Checkpoint, repeatable: `FOLDER` or `NAME=FOLDER`. Those of one name are seeds of one row.
    #[arg(long, value_name = "[NAME=]DIR")]
    checkpoint: Vec<String>,
    /// Predictions from a file, repeatable: `NAME=FILE`, lines `{id, probabilities}` or `{id, probability, label}`.
    #[arg(long, value_name = "NAME=FILE")]
    predictions: Vec<String>,
    /// Rated texts, or their name below $JTAV_DATA_DIR.
    #[arg(long, value_name = "FILE", default_value = "rated-texts.jsonl")]
    rated: PathBuf,
    /// Data pack whose test posts are scored: a folder, or a name below $JTAV_DATA_DIR.
    #[arg(long, value_name = "DIR", default_value = "polarity-posts")]
    data: PathBuf,
    /// Other posts of the same making, that --make-other wrote.
    #[arg(long, value_name = "DIR")]
    other: Option<PathBuf>,
    /// Write other posts of the same making to this folder, and nothing else.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["checkpoint", "predictions", "other", "sealed", "out"])]
    make_other: Option<PathBuf>,
    /// The common-sense set.
    #[arg(long, value_name = "DIR", default_value = "tests/common-sense")]
    common_sense: PathBuf,
    /// The sealed half of the common-sense set in place of the open one: once, at the end.
    #[arg(long)]
    sealed: bool,
    /// Sentences by product, for the semantic vector.
    #[arg(long, value_name = "DIR", default_value = "tests/semantic")]
    semantic: PathBuf,
    /// Folder of base weights, before the usual ones.
    #[arg(long, value_name = "DIR")]
    weights: Option<PathBuf>,
    /// Write the table here, as Markdown and as JSON.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The table as one line of JSON, last on stdout.
    #[arg(long)]
    json: bool,
    /// Where decoded features are kept.
    #[arg(long, value_name = "DIR", default_value = jtav_trainer::DEFAULT_CACHE_DIR)]
    cache: PathBuf,
    /// `auto`, `cpu` or `cuda:0`.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Seed of the intervals, and of --make-other.
    #[arg(long, value_name = "N", default_value_t = 20)]
    seed: u64,
}

pub fn run(arguments: &LabelTableArgs) -> anyhow::Result<u8> {
    if let Some(folder) = &arguments.make_other {
        return make(arguments, folder);
    }
    let options = options(arguments)?;
    let table = label_table(&options, &Terminal::new()).map_err(coded(exit::DATA))?;
    if let Some(folder) = &arguments.out {
        write_label_table(&table, folder)?;
    }
    match arguments.json {
        true => outln!("{}", serde_json::to_string(&table)?)?,
        false => out!("{}", table.markdown())?,
    }
    Ok(exit::OK)
}

fn make(arguments: &LabelTableArgs, folder: &Path) -> anyhow::Result<u8> {
    let make = || {
        let rated = read_rated(&resolve_file(&arguments.rated).context("--rated")?)?;
        let pack = resolve_data(&arguments.data).context("--data")?;
        make_other(&rated, &pack, folder, arguments.seed)
    };
    let made = make().map_err(coded(exit::DATA))?;
    match arguments.json {
        true => outln!("{}", serde_json::to_string(&made)?)?,
        false => errln!(
            "{}: {} posts ({} positive) with {} pictures and {} audio files; {} rated texts",
            folder.display(),
            made.posts,
            made.positive,
            made.images,
            made.audio_files,
            made.texts
        ),
    }
    Ok(exit::OK)
}

fn options(arguments: &LabelTableArgs) -> anyhow::Result<LabelOptions> {
    let checkpoints = arguments.checkpoint.iter().map(|text| checkpoint(text));
    let predictions = arguments.predictions.iter().map(|text| {
        let (name, file) = text.split_once('=').with_context(|| format!("`{text}`: expected NAME=FILE"))?;
        Ok((name.to_owned(), PathBuf::from(file)))
    });
    let data = |found: anyhow::Result<PathBuf>| found.map_err(coded(exit::DATA));
    Ok(LabelOptions {
        rated: data(resolve_file(&arguments.rated).context("--rated"))?,
        pack: data(resolve_data(&arguments.data).context("--data"))?,
        other: arguments.other.clone(),
        common_sense: arguments.common_sense.clone(),
        sealed: arguments.sealed,
        semantic: arguments.semantic.clone(),
        checkpoints: checkpoints.collect::<anyhow::Result<_>>()?,
        predictions: predictions.collect::<anyhow::Result<_>>().context("--predictions").map_err(coded(exit::USAGE))?,
        weights: arguments.weights.clone(),
        device: arguments.device.parse().context("--device").map_err(coded(exit::USAGE))?,
        cache_dir: arguments.cache.clone(),
        seed: arguments.seed,
        command: command_line(),
    })
}

/// `NAME=FOLDER`, or a folder that gives the row its own name.
fn checkpoint(text: &str) -> anyhow::Result<(String, PathBuf)> {
    let named = text.split_once('=').map(|(name, folder)| (name.to_owned(), Path::new(folder)));
    let (name, folder) = named.unwrap_or_else(|| {
        let folder = Path::new(text);
        (folder.file_name().map_or_else(|| text.to_owned(), |name| name.to_string_lossy().into_owned()), folder)
    });
    let folder = existing_or_bundled(folder).map_err(|error| coded(exit::CONFIG)(error.into()))?;
    Ok((name, folder))
}
