//! `jtav evaluate`: what a checkpoint, or any file of predictions, is worth.
//!
//! ```text
//! DataPack, one split ─► Features ─► Checkpoint's networks ─► Evaluation ─► CheckpointReport ┐
//! FILE.jsonl ─► LabelledTexts ─► Checkpoint's text and fusion ─► ThreeWay ─► TextsReport   ├─► JSON, table, picture
//! FILE.json ─► Predictions ─► Metrics, Intervals ───────────────────────► PredictionsReport ┘
//! ```

mod predictions;
mod report;
mod texts;
mod view;

pub use predictions::{Predictions, PredictionsError};
pub use report::{CheckpointReport, PredictionsReport, ReliabilityRow, write_predictions};

pub use texts::{AucOf, LabelledText, LabelledTexts, LabelledTextsError, TextsReport, evaluate_texts};

use jtav_model::{Checkpoint, DeviceChoice};

use crate::dataset::{DataPack, Split};
use crate::evaluation::BOOTSTRAP_RESAMPLES;
use crate::features::Features;
use crate::metrics::{Metrics, MetricsError};
use crate::progress::Progress;
use crate::train::score_checkpoint;

/// Seed of the bootstrap where none is given: the one that training uses.
pub const DEFAULT_SEED: u64 = 20;

/// Scores `checkpoint` on one split of `pack`, all seven subsets, through the networks that serve.
///
/// `features` must hold the media of that split. Blocking; reports its steps to `progress`.
///
/// # Errors
/// A split without a post (the message names those there are), a device that is not there, a device fault.
pub fn evaluate_checkpoint(
    checkpoint: &Checkpoint,
    pack: &DataPack,
    features: &Features,
    split: Split,
    device: DeviceChoice,
    seed: u64,
    progress: &dyn Progress,
) -> anyhow::Result<CheckpointReport> {
    check_split(pack, split)?;
    if pack.training_share().is_none() {
        tracing::warn!(
            pack = %pack.name,
            "the pack has no training split, so a post with none of the parts of a subset is scored 0.5 and not the \
             training share of positive posts"
        );
    }
    let evaluation = score_checkpoint(checkpoint, pack, features, split, device, seed, progress)?;
    CheckpointReport::new(checkpoint, pack, evaluation, seed)
}

/// Refuses a split that has no post.
///
/// # Errors
/// With the splits that there are.
pub fn check_split(pack: &DataPack, split: Split) -> anyhow::Result<()> {
    let posts = |split: Split| pack.split(split).count();
    if posts(split) == 0 {
        let there: Vec<String> = Split::ALL
            .into_iter()
            .filter(|&split| posts(split) > 0)
            .map(|split| format!("{split} ({})", posts(split)))
            .collect();
        anyhow::bail!("{}: the split `{split}` has no posts; there are {}", pack.name, there.join(", "));
    }
    Ok(())
}

/// Figures of predictions, whoever made them.
///
/// # Errors
/// Never for [`Predictions`] that were read: they are checked there.
pub fn evaluate_predictions(predictions: &Predictions, seed: u64) -> Result<PredictionsReport, MetricsError> {
    let Predictions { scores, labels, threshold } = predictions;
    let hard: Vec<bool> = scores.iter().map(|score| score >= threshold).collect();
    Ok(PredictionsReport {
        metrics: Metrics::of_predictions(scores, labels, &hard)?,
        intervals: crate::bootstrap::intervals(scores, labels, &hard, BOOTSTRAP_RESAMPLES, seed),
        threshold: *threshold,
        seed,
        resamples: BOOTSTRAP_RESAMPLES,
        reliability: ReliabilityRow::all(scores, labels),
    })
}
