//! `jtav table retrieval`: image2song, the paper's figures 5 and 6 on data that is at hand.
//!
//! ```text
//! mosi-tri (vectors)  ─┐
//! posts + checkpoint ──┴► RetrievalSet ─► Cells (row × protocol × seed × fold) ─► RetrievalTable ─► Markdown, JSON
//!                          queries, songs    trained, ranked, kept on disk          mid-ranks, intervals, chance
//! ```
//!
//! Everything that could flatter a figure is in one place: [`ranks`] counts ties half and voids a row with more than 1 %
//! of them, [`Fold::new`] refuses a song on both sides, step size and epoch are chosen on validation, and each section
//! states chance, and what knowing no more than the group (video, polarity) would give.

mod cells;
mod joint_scorer;
mod mosi;
mod pairs;
mod posts;
pub mod ranks;
mod rows;
mod run;
mod set;
mod settings;
mod table;
mod tables;
mod towers;
mod trainer;
mod two_tower;
mod view;

pub use cells::{Cell, CellResult};
pub use mosi::{is_mosi, read as read_mosi};
pub use pairs::{QueryVectors, SongVectors, TruePair};
pub use posts::{Vectors, divided, retrieval_set};
pub use rows::{Protocol, Row};
pub use run::{DEFAULT_WORK_DIR, RetrievalOptions, run_cells};
pub use set::{Fold, Part, Query, RetrievalSet, SetError, Song};
pub use settings::{RetrievalInputs, RetrievalSettings, RetrievalWidths};
pub use table::{RetrievalTable, RowSummary, Section};
pub use towers::{TestFigures, TowerMetrics, train_towers};
pub use trainer::RetrievalTrainer;

use jtav_trainer::Progress;

/// Trains what is not kept already and sums up.
///
/// Blocking; computes on the calling thread. The table is complete even when rows are void: write it, then let
/// [`RetrievalTable::check_ties`] fail the run.
///
/// # Errors
/// A work folder that cannot be written; a training that diverges; a device fault.
pub fn retrieval_table(
    set: &RetrievalSet,
    options: &RetrievalOptions,
    quick: bool,
    progress: &dyn Progress,
) -> anyhow::Result<RetrievalTable> {
    let results = run_cells(set, options, progress)?;
    RetrievalTable::new(set, options, quick, &results)
}

#[cfg(test)]
mod tests;
