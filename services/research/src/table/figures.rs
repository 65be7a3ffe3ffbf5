//! A finished table, for programs.

use std::path::Path;

use anyhow::Context;
use jtav_trainer::files::{write_json, write_text};
use serde::Serialize;

use super::cell::Training;
use super::rows::{PaperFigures, Row};
use super::scores::{SeedFigures, Spread};

/// A row of the finished table.
#[derive(Debug, Clone, Serialize)]
pub struct RowFigures {
    #[serde(flatten)]
    pub row: Row,
    pub seeds: Vec<SeedFigures>,
    /// Means over seeds.
    pub auc: Option<Spread>,
    /// Balanced accuracy, the paper's "AUC".
    pub auc_hard: Option<Spread>,
    /// Weighted F1.
    pub f1_weighted: Option<Spread>,
    pub precision_weighted: Option<Spread>,
    pub accuracy: Option<Spread>,
    /// AUC over posts that have something of what the row reads.
    pub auc_present: Option<Spread>,
    /// What the training of the first seed and fold was.
    pub training: Training,
    /// Wall seconds over all seeds and folds.
    pub seconds: f64,
    /// Of the fusions of three: AUC with other modalities masked, by name of the subset.
    pub subsets: Vec<(String, Option<Spread>)>,
}

/// The finished table.
#[derive(Debug, Clone, Serialize)]
pub struct SentimentTable {
    /// What it is.
    pub title: String,
    /// Name of its files.
    #[serde(skip)]
    pub name: String,
    /// The command that made it.
    pub command: String,
    /// Name of the data.
    pub data: String,
    /// Hash of the data.
    pub sha256: String,
    /// `paper` or `authors-code`; null where the table has both.
    pub profile: Option<String>,
    /// Whether it was a short run whose figures mean nothing.
    pub quick: bool,
    /// What stands in for what, a sentence each.
    pub remarks: Vec<String>,
    /// Posts that are tested.
    pub n_test: usize,
    /// Share of the more frequent label among them: the accuracy of always naming it.
    pub majority: f64,
    pub rows: Vec<RowFigures>,
}

/// Writes the table to `folder` as Markdown and as JSON.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_sentiment_table(table: &SentimentTable, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    write_text(&folder.join(format!("{}.md", table.name)), &table.markdown())?;
    write_json(&folder.join(format!("{}.json", table.name)), table)
}

/// The paper's figures of a row, for its line of the table.
pub(super) fn paper_cells(paper: Option<PaperFigures>) -> String {
    match paper {
        Some(paper) => {
            format!("{:.3} / {:.3} / {:.3}", paper.auc_hard, paper.f1_weighted, paper.precision_weighted)
        }
        None => "–".to_owned(),
    }
}
