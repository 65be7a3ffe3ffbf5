//! What a run leaves behind: a record per stage, the curves as CSV, the whole as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use jtav_picture::{CurvePanel, PictureError, curves};
use serde::{Deserialize, Serialize};

use crate::dataset::{DataPack, Split};
use crate::evaluation::Evaluation;
use crate::fit::{CurvePoint, FitPlan, FitReport};
use crate::options::Stage;

/// How one network was trained. Kept in the work folder beside its weights, so that a later run that takes the
/// weights over also knows where they come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Which network.
    pub stage: Stage,
    /// SHA-256 of the posts it was trained on.
    pub posts_sha256: String,
    pub seed: u64,
    /// Whether it was trained in a trial run.
    pub quick: bool,
    /// Optimiser, augmentation and regularisation.
    pub settings: serde_json::Value,
    /// Epochs, patience and step size; `None` in records of versions before it was noted.
    #[serde(default)]
    pub plan: Option<FitPlan>,
    /// Trainable values.
    pub parameters: usize,
    /// Training examples: texts, files or posts.
    pub train_examples: usize,
    /// Validation examples that decided when to stop.
    pub validation_examples: usize,
    /// Curve and best epoch.
    pub fit: FitReport,
}

/// Everything about a finished run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainReport {
    /// Version of the checkpoint, as it is published with every label.
    pub model_version: String,
    /// Folder of the checkpoint.
    pub checkpoint: PathBuf,
    /// Size of the weights in bytes.
    pub weights_bytes: u64,
    /// Name of the data pack.
    pub data: String,
    /// Whether this, or the run that any of its networks comes from, was only a trial.
    pub quick: bool,
    pub seed: u64,
    /// The command line.
    pub command: String,
    /// What else there is to say of this run.
    pub notes: Vec<String>,
    /// Wall seconds of this run, decoding included.
    pub seconds: f64,
    /// Posts per split.
    pub posts: Vec<SplitSize>,
    /// Media files without a feature.
    pub unreadable: usize,
    /// The stages: the four networks.
    pub stages: Vec<StageRecord>,
    /// From which confidence on labels are certain, by subset of modalities.
    pub certain: BTreeMap<String, Certain>,
    /// Figures on validation.
    pub validation: Evaluation,
    /// Figures on test; `None` when the run was told not to look.
    pub test: Option<Evaluation>,
}

/// Which labels of a subset keep the promise, measured on items that took no part in training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Certain {
    /// Least confidence; 1, and so never, where none keeps it.
    pub from: f32,
    /// Share of the labels that reach it.
    pub coverage: f64,
    /// Items that it was measured on.
    pub items: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SplitSize {
    /// Which.
    pub split: Split,
    pub posts: usize,
    /// How many of them are positive.
    pub positive: usize,
}

impl SplitSize {
    pub(crate) fn of(pack: &DataPack) -> Vec<Self> {
        let size = |split| {
            let posts = pack.split(split).count();
            Self { split, posts, positive: pack.split(split).filter(|post| post.positive).count() }
        };
        Split::ALL.into_iter().map(size).collect()
    }
}

/// The training curves, one row per stage and epoch.
pub fn curves_csv(stages: &[StageRecord]) -> String {
    let mut csv =
        String::from("stage,epoch,learning_rate,train_loss,validation_auc,validation_log_loss,seconds,kept\n");
    for record in stages {
        for point in &record.fit.curve {
            // Writing to a String cannot fail.
            let _ = writeln!(
                csv,
                "{},{},{:.6},{:.6},{:.6},{:.6},{:.1},{}",
                record.stage,
                point.epoch,
                point.learning_rate,
                point.train_loss,
                point.validation_auc,
                point.validation_log_loss,
                point.seconds,
                u8::from(point.epoch == record.fit.best_epoch)
            );
        }
    }
    csv
}

/// The training curves as a PNG, a panel per stage: training loss (augmentation and dropout on) and validation log
/// loss, with the epoch that was kept. A network that was kept from a checkpoint that recorded no epochs has no panel;
/// `None` where nothing is left to draw.
///
/// # Errors
/// Those of the drawing.
pub fn curves_png(stages: &[StageRecord]) -> Result<Option<Vec<u8>>, PictureError> {
    let panel = |record: &StageRecord| {
        let point = |point: &CurvePoint| (point.epoch, point.train_loss, point.validation_log_loss);
        let best =
            format!("{}: validation AUC {:.3} at epoch {}", record.stage, record.fit.best_auc, record.fit.best_epoch);
        CurvePanel {
            title: best,
            points: record.fit.curve.iter().map(point).collect(),
            kept_epoch: record.fit.best_epoch,
        }
    };
    let panels: Vec<CurvePanel> = stages.iter().filter(|record| !record.fit.curve.is_empty()).map(panel).collect();
    if panels.is_empty() { Ok(None) } else { curves(&panels).map(Some) }
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    pub(crate) fn record(stage: Stage) -> StageRecord {
        let point = |epoch| CurvePoint {
            epoch,
            learning_rate: 0.001,
            train_loss: 0.5,
            validation_auc: 0.8,
            validation_log_loss: 0.4,
            seconds: 2.0,
        };
        StageRecord {
            stage,
            posts_sha256: "00".to_owned(),
            seed: 20,
            quick: false,
            settings: serde_json::json!({"dropout": 0.4}),
            plan: Some(FitPlan { epochs: 2, patience: 1, learning_rate: 0.001 }),
            parameters: 1_234_567,
            train_examples: 100,
            validation_examples: 10,
            fit: FitReport { curve: vec![point(1), point(2)], best_epoch: 2, best_auc: 0.8, seconds: 5.0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::write_json;

    #[test]
    fn a_network_that_was_kept_without_its_epochs_has_no_panel() {
        let trained = samples::record(Stage::Text);
        let mut kept = samples::record(Stage::Image);
        kept.fit.curve.clear();
        let alone = curves_png(std::slice::from_ref(&trained)).unwrap();
        assert!(alone.is_some());
        assert_eq!(curves_png(&[trained, kept.clone()]).unwrap(), alone);
        assert_eq!(curves_png(&[kept]).unwrap(), None);
    }

    #[test]
    fn the_curve_marks_the_epoch_that_was_kept() {
        let csv = curves_csv(&[samples::record(Stage::Audio)]);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1], "audio,1,0.001000,0.500000,0.800000,0.400000,2.0,0");
        assert!(lines[2].ends_with(",1"));
    }

    #[test]
    fn a_record_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audio.json");
        let record = samples::record(Stage::Audio);
        write_json(&path, &record).unwrap();
        let back: StageRecord = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(back, record);
    }
}
