//! What the command gives to programs: one JSON object, and a line per post.

use std::fmt::Write as _;

use jtav_model::{Checkpoint, ModalitySet};
use jtav_picture::{PictureError, ReliabilityDot, reliability};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::bootstrap::Intervals;
use crate::dataset::{DataPack, Post, Split};
use crate::evaluation::{BOOTSTRAP_RESAMPLES, Evaluation, MoodFigures, SubsetFigures};
use crate::metrics::{self, CALIBRATION_BINS, Metrics};
use crate::three_way::ThreeWay;

/// Figures of a checkpoint on one split. The keys of the full subset stand at the top.
#[derive(Debug, Clone, Serialize)]
pub struct CheckpointReport {
    /// Of all three modalities.
    #[serde(flatten)]
    pub full: SubsetFigures,
    /// Of each of the seven subsets, by name, fewest modalities first.
    #[serde(serialize_with = "as_map")]
    pub subsets: Vec<(String, SubsetFigures)>,
    /// Moods, where the split has any.
    pub moods: Option<MoodFigures>,
    /// The label of the whole post against a truth that knows no neutral: who says neutral is wrong. Kinds are the
    /// modalities of the posts, languages those that were identified.
    pub three_way: ThreeWay,
    pub split: Split,
    /// Name of the data pack.
    pub data: String,
    /// SHA-256 of its file of posts.
    pub posts_sha256: String,
    /// Version of the checkpoint, as it is published with every label.
    pub model_version: String,
    /// Score of a post with none of the parts of a subset: the share of positives in the pack's training split.
    pub base_rate: f64,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Resamples of the bootstrap.
    pub resamples: usize,
    /// Bins of the full subset's calibration error.
    pub reliability: Vec<ReliabilityRow>,
}

/// Figures of a file of predictions.
#[derive(Debug, Clone, Serialize)]
pub struct PredictionsReport {
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Their 95 % bootstrap intervals over examples.
    pub intervals: Intervals,
    /// A score that is at least this was counted as positive.
    pub threshold: f64,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Resamples of the bootstrap.
    pub resamples: usize,
    /// Bins of the calibration error.
    pub reliability: Vec<ReliabilityRow>,
}

/// One of the equal bins of the score; the last one holds its upper edge too.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReliabilityRow {
    /// Lower edge.
    pub low: f64,
    /// Upper edge.
    pub high: f64,
    /// Examples.
    pub n: usize,
    /// Mean score; null in an empty bin.
    pub mean_score: Option<f64>,
    /// Share of positive examples; null in an empty bin.
    pub share_positive: Option<f64>,
}

impl ReliabilityRow {
    /// All bins, lowest first.
    pub fn all(scores: &[f64], labels: &[bool]) -> Vec<Self> {
        let edge = |index: usize| index as f64 / CALIBRATION_BINS as f64;
        let row = |(index, bin): (usize, metrics::ReliabilityBin)| {
            let mean = |sum: f64| (bin.n > 0).then(|| sum / bin.n as f64);
            Self {
                low: edge(index),
                high: edge(index + 1),
                n: bin.n,
                mean_score: mean(bin.score_sum),
                share_positive: mean(bin.positives as f64),
            }
        };
        metrics::reliability(scores, labels).into_iter().enumerate().map(row).collect()
    }
}

/// The reliability diagram as a PNG; its title ends with calibration error and size.
///
/// # Errors
/// Those of the drawing.
pub(super) fn diagram(what: &str, rows: &[ReliabilityRow], figures: &Metrics) -> Result<Vec<u8>, PictureError> {
    let dots: Vec<ReliabilityDot> = rows
        .iter()
        .map(|row| ReliabilityDot {
            n: row.n,
            mean_score: row.mean_score.unwrap_or(0.0),
            share_positive: row.share_positive.unwrap_or(0.0),
        })
        .collect();
    reliability(&format!("Reliability, {what}: ECE {:.3}, n {}", figures.ece, figures.n), &dots)
}

impl PredictionsReport {
    /// The reliability diagram as a PNG.
    ///
    /// # Errors
    /// Those of the drawing.
    pub fn diagram(&self) -> Result<Vec<u8>, PictureError> {
        diagram("predictions", &self.reliability, &self.metrics)
    }
}

impl CheckpointReport {
    pub(super) fn new(
        checkpoint: &Checkpoint,
        pack: &DataPack,
        evaluation: Evaluation,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let Evaluation { split, base_rate, mut subsets, moods, three_way } = evaluation;
        subsets.sort_by_key(|(name, _)| name.matches('+').count());
        let name = ModalitySet::FULL.to_string();
        let full = subsets.iter().find(|(of, _)| *of == name).map(|(_, figures)| figures.clone());
        let full = full.ok_or_else(|| anyhow::anyhow!("the evaluation lacks the subset {name}"))?;
        let labels: Vec<bool> = pack.split(split).map(|post| post.positive).collect();
        Ok(Self {
            reliability: ReliabilityRow::all(&probabilities(&full), &labels),
            full,
            subsets,
            moods,
            three_way,
            split,
            data: pack.name.clone(),
            posts_sha256: pack.posts_sha256.clone(),
            model_version: checkpoint.model_version(),
            base_rate,
            seed,
            resamples: BOOTSTRAP_RESAMPLES,
        })
    }

    /// The reliability diagram of the full subset as a PNG.
    ///
    /// # Errors
    /// Those of the drawing.
    pub fn diagram(&self) -> Result<Vec<u8>, PictureError> {
        let what = format!("{} {}, {}", self.data, self.split, ModalitySet::FULL);
        diagram(&what, &self.reliability, &self.full.metrics)
    }
}

/// Scores of the positive class, in the order of the posts.
fn probabilities(figures: &SubsetFigures) -> Vec<f64> {
    figures.scored.iter().map(|post| post.probability).collect()
}

/// A line per post: its id, its label, and for each subset the probability and whether it counts as positive. For
/// comparing two checkpoints post by post.
pub fn write_predictions(report: &CheckpointReport, pack: &DataPack) -> String {
    let mut text = String::new();
    for (at, post) in pack.split(report.split).enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line(report, at, post));
    }
    text
}

fn line(report: &CheckpointReport, at: usize, post: &Post) -> Value {
    let of_subset = |(name, figures): &(String, SubsetFigures)| {
        let scored = figures.scored.get(at)?;
        Some((name.clone(), json!({ "probability": scored.probability, "positive": scored.positive })))
    };
    let subsets: Map<String, Value> = report.subsets.iter().filter_map(of_subset).collect();
    json!({ "id": post.id, "label": u8::from(post.positive), "subsets": subsets })
}

fn as_map<S: serde::Serializer>(subsets: &[(String, SubsetFigures)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(subsets.iter().map(|(name, figures)| (name, figures)))
}
