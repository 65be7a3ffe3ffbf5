//! Trains the cells of a table.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use jtav_model::DeviceChoice;
use jtav_trainer::Progress;
use serde::Serialize;

use super::cells::{Cell, CellResult, CellStore};
use super::pairs::{QueryVectors, SongVectors};
use super::ranks::{Figures, Rank, rank, reranked};
use super::rows::{Protocol, Row};
use super::set::{Fold, Part, RetrievalSet};
use super::settings::{RetrievalSettings, RetrievalWidths};
use super::trainer::RetrievalTrainer;
use crate::zoo::Profile;

/// Where finished cells are kept unless another folder is named.
pub const DEFAULT_WORK_DIR: &str = ".cache/table-retrieval";

/// What a run is told. Everything that changes a number is part of the key under which cells are kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RetrievalOptions {
    /// Form of the joint scorer.
    pub profile: Profile,
    /// Width k of CMF-AP's attention, where it should not be the profile's; the cost of a pair grows with it.
    pub attention: Option<usize>,
    /// Runs with seeds 0, 1, and so on; how many does not change a cell.
    #[serde(skip)]
    pub seeds: u64,
    #[serde(skip)]
    pub protocols: Vec<Protocol>,
    /// Most epochs of a training.
    pub epochs: usize,
    /// Epochs from one look at validation to the next; an epoch of a few hundred pairs is a few steps.
    pub validate_every: usize,
    /// Looks at validation without a better mean reciprocal rank before a training ends.
    pub patience: usize,
    /// Each is tried; the best on validation is kept.
    pub learning_rates: Vec<f64>,
    /// Most validation queries, evenly spread: the joint scorer reads every one with every song at every look.
    pub validation_queries: usize,
    /// How many of the towers' first songs the joint scorer puts in order.
    pub rerank: usize,
    /// Folder of the cells.
    #[serde(skip)]
    pub work_dir: PathBuf,
    /// Where to train.
    #[serde(skip)]
    pub device: DeviceChoice,
}

impl RetrievalOptions {
    /// One seed, both protocols.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            attention: None,
            seeds: 1,
            protocols: Protocol::ALL.to_vec(),
            epochs: 160,
            validate_every: 4,
            patience: 3,
            learning_rates: vec![1e-3, 3e-4],
            validation_queries: 60,
            rerank: 100,
            work_dir: DEFAULT_WORK_DIR.into(),
            device: DeviceChoice::Auto,
        }
    }

    /// Two epochs at one step size: shows that everything works and gives figures that are worth nothing.
    #[must_use]
    pub fn quick(mut self) -> Self {
        self.learning_rates.truncate(1);
        Self { epochs: 2, validate_every: 1, validation_queries: 20, ..self }
    }
}

/// Runs every cell that is not kept already.
///
/// # Errors
/// A work folder that cannot be written; a training that diverges; a device fault.
pub fn run_cells(
    set: &RetrievalSet,
    options: &RetrievalOptions,
    progress: &dyn Progress,
) -> anyhow::Result<Vec<CellResult>> {
    let store = CellStore::open(&options.work_dir, options, &set.data_sha256)?;
    let cells = Cell::all(set, &options.protocols, options.seeds);
    progress.start("retrieval", cells.len() as u64);
    let mut results: Vec<CellResult> = Vec::with_capacity(cells.len());
    let mut kept = 0;
    for cell in cells {
        let result = match store.read(&cell) {
            Some(result) => {
                kept += 1;
                result
            }
            None => {
                let started = Instant::now();
                let context = || format!("{} {}, seed {}", cell.protocol.name(), cell.row.name(), cell.seed);
                let mut result = run_cell(set, &cell, options, &results).with_context(context)?;
                result.seconds = started.elapsed().as_secs_f64();
                store.keep(&result)?;
                progress.note(&note(&result));
                result
            }
        };
        results.push(result);
        progress.advance(1);
    }
    progress.finish(&format!("{} cells, {kept} of them from {}", results.len(), options.work_dir.display()));
    Ok(results)
}

fn note(result: &CellResult) -> String {
    let Cell { protocol, row, seed, fold } = result.cell;
    let mut text = format!("{} {}, seed {seed}, fold {fold}", protocol.name(), row.name());
    if let (Some(mrr), Some(epoch)) = (result.validation_mrr, result.epoch) {
        text.push_str(&format!(": validation MRR {mrr:.3} at epoch {epoch}"));
    }
    text
}

fn run_cell(
    set: &RetrievalSet,
    cell: &Cell,
    options: &RetrievalOptions,
    done: &[CellResult],
) -> anyhow::Result<CellResult> {
    let fold = set.folds.get(&cell.protocol).and_then(|folds| folds.get(cell.fold)).context("the fold is missing")?;
    if cell.row == Row::TwoTowerReranked {
        return rerank_cell(fold, cell, options.rerank, done);
    }
    Ok(fit(fold, cell, &set.widths, options)?.0)
}

/// The two stages of this fold and seed have scored every pair already, so nothing is computed again. In service only
/// the first songs of the towers would pass the joint scorer, with the same ranks.
fn rerank_cell(fold: &Fold, cell: &Cell, top: usize, done: &[CellResult]) -> anyhow::Result<CellResult> {
    let scores = |row: Row| {
        let wanted = Cell { row, ..*cell };
        let found = done.iter().find(|result| result.cell == wanted).and_then(|result| result.scores.as_ref());
        found.with_context(|| format!("the scores of {} are missing", row.name()))
    };
    let (towers, joint) = (scores(Row::TwoTower)?, scores(Row::Jtav)?);
    anyhow::ensure!(
        towers.len() == fold.test.queries.len() && joint.len() == towers.len(),
        "{} and {} rows of scores for {} queries",
        towers.len(),
        joint.len(),
        fold.test.queries.len()
    );
    let queries = fold.test.queries.iter().zip(towers.iter().zip(joint));
    let ranks: Vec<Rank> =
        queries.map(|(query, (towers, joint))| reranked(towers, joint, query.song, top)).collect::<Result<_, _>>()?;
    Ok(CellResult {
        cell: *cell,
        ranks,
        validation_mrr: None,
        learning_rate: None,
        epoch: None,
        seconds: 0.0,
        scores: None,
    })
}

/// The rank of each query's song.
pub(super) fn ranks_of(scores: &[Vec<f32>], part: &Part) -> anyhow::Result<Vec<Rank>> {
    anyhow::ensure!(scores.len() == part.queries.len(), "{} rows for {} queries", scores.len(), part.queries.len());
    Ok(part.queries.iter().zip(scores).map(|(query, scores)| rank(scores, query.song)).collect::<Result<_, _>>()?)
}

/// Tries every step size; the test part is scored only by the training that is best on validation, which comes with the
/// cell.
pub(super) fn fit(
    fold: &Fold,
    cell: &Cell,
    widths: &RetrievalWidths,
    options: &RetrievalOptions,
) -> anyhow::Result<(CellResult, RetrievalTrainer)> {
    let validation = Scored::new(fold.validation.thinned(options.validation_queries));
    let train = Scored::new(fold.train.clone());
    let mut best: Option<(f64, f64, usize, RetrievalTrainer)> = None;
    for &learning_rate in &options.learning_rates {
        let mut trainer = new_trainer(cell, widths, options, learning_rate)?;
        let (mrr, epoch) = fit_one(&mut trainer, &train, &validation, options)?;
        if best.as_ref().is_none_or(|(found, ..)| mrr > *found) {
            best = Some((mrr, learning_rate, epoch, trainer));
        }
    }
    let (mrr, learning_rate, epoch, trainer) = best.context("no step size to try")?;
    let scores = trainer.scores(&fold.test.query_vectors(), &fold.test.song_vectors())?;
    let is_part_of_another = matches!(cell.row, Row::Jtav | Row::TwoTower);
    let result = CellResult {
        cell: *cell,
        ranks: ranks_of(&scores, &fold.test)?,
        validation_mrr: Some(mrr),
        learning_rate: Some(learning_rate),
        epoch: Some(epoch),
        seconds: 0.0,
        scores: is_part_of_another.then_some(scores),
    };
    Ok((result, trainer))
}

/// Folds of one run are trainings of their own.
pub(super) fn seed_of(cell: &Cell) -> u64 {
    cell.seed.wrapping_mul(1000).wrapping_add(cell.fold as u64)
}

fn new_trainer(
    cell: &Cell,
    widths: &RetrievalWidths,
    options: &RetrievalOptions,
    learning_rate: f64,
) -> anyhow::Result<RetrievalTrainer> {
    let inputs = cell.row.inputs();
    let towers = cell.row == Row::TwoTower;
    let mut settings = match towers {
        true => RetrievalSettings::two_tower(),
        false => RetrievalSettings::joint(options.profile, inputs),
    };
    settings.device = options.device;
    settings.attention = options.attention.unwrap_or(settings.attention);
    settings.optimisation.learning_rate = learning_rate;
    let seed = seed_of(cell);
    Ok(match towers {
        true => RetrievalTrainer::two_tower(inputs, *widths, settings, seed)?,
        false => RetrievalTrainer::joint(options.profile, inputs, *widths, settings, seed)?,
    })
}

/// Until validation gets no better; the best weights are restored. Gives their mean reciprocal rank and epoch.
fn fit_one(
    trainer: &mut RetrievalTrainer,
    train: &Scored,
    validation: &Scored,
    options: &RetrievalOptions,
) -> anyhow::Result<(f64, usize)> {
    let pairs = train.part.pairs();
    let (mut best, mut best_epoch, mut looks_since) = (f64::NEG_INFINITY, 0, 0);
    for epoch in 1..=options.epochs.max(1) {
        trainer.epoch(&pairs, &train.queries, &train.songs)?;
        if !epoch.is_multiple_of(options.validate_every.max(1)) && epoch != options.epochs.max(1) {
            continue;
        }
        let scores = trainer.scores(&validation.queries, &validation.songs)?;
        let figures = Figures::of(&ranks_of(&scores, &validation.part)?).context("validation has no query")?;
        looks_since += 1;
        if figures.mrr > best {
            (best, best_epoch, looks_since) = (figures.mrr, epoch, 0);
            trainer.snapshot();
        } else if looks_since >= options.patience {
            break;
        }
    }
    trainer.restore();
    Ok((best, best_epoch))
}

/// A part with its vectors laid out once.
struct Scored {
    part: Part,
    queries: Vec<QueryVectors>,
    songs: Vec<SongVectors>,
}

impl Scored {
    fn new(part: Part) -> Self {
        Self { queries: part.query_vectors(), songs: part.song_vectors(), part }
    }
}
