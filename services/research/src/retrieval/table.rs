//! From cells to the table: means over seeds, intervals over queries, chance, and what makes a row void.

use serde::Serialize;

use super::cells::{Cell, CellResult, rows};
use super::ranks::{Figures, MAX_TIES, Rank, RankIntervals, expected, intervals, mean_of};
use super::rows::{Protocol, Row, cutoffs};
use super::run::RetrievalOptions;
use super::set::RetrievalSet;

/// Resamples behind every interval.
pub(super) const RESAMPLES: usize = 1000;
/// Seed of the resamples.
pub(super) const BOOTSTRAP_SEED: u64 = 20;

/// The finished table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RetrievalTable {
    /// Name of the pack.
    pub data: String,
    /// Digest of everything that the vectors were made of.
    pub data_sha256: String,
    /// Which data stand in for which, and what follows.
    pub notes: Vec<String>,
    /// What the reference row knows.
    pub group: String,
    /// Settings of all cells.
    pub options: RetrievalOptions,
    /// Whether the trainings were cut short.
    pub quick: bool,
    /// Runs.
    pub seeds: u64,
    /// A section per protocol.
    pub sections: Vec<Section>,
    /// Rows whose figures are void; not empty fails the run.
    pub void: Vec<String>,
}

/// The rows of one protocol.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Section {
    /// Which one.
    pub protocol: Protocol,
    /// Test queries over all folds.
    pub queries: usize,
    /// Fewest and most candidates of a fold.
    pub candidates: (usize, usize),
    /// The k of the R@k that are shown.
    pub cutoffs: [usize; 3],
    /// Candidates in random order.
    pub chance: Figures,
    /// The true song's group first, in random order: what knowing no more than the group gives.
    pub knows_group: Figures,
    /// In the table's order.
    pub rows: Vec<RowSummary>,
    /// Rows that the pack has no data for.
    pub missing: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowSummary {
    /// Which one.
    pub row: Row,
    pub name: String,
    /// Mean over seeds.
    pub mean: Figures,
    /// Deviation over seeds (n - 1); null with one seed.
    pub std: Option<Figures>,
    /// 95 % over queries, of the mean over seeds.
    pub intervals: Option<RankIntervals>,
    pub seeds: Vec<Figures>,
    /// Mean over folds and seeds of the mean reciprocal rank on validation.
    pub validation_mrr: Option<f64>,
    /// Largest share of tied queries of a seed.
    pub ties: f64,
    /// Whether that is above 1 %: the figures say nothing.
    pub void: bool,
    /// What the paper says.
    pub paper: String,
    /// Wall time of all its cells in seconds.
    pub seconds: f64,
}

impl RetrievalTable {
    /// The table of these cells.
    ///
    /// # Errors
    /// A cell that is missing.
    pub fn new(
        set: &RetrievalSet,
        options: &RetrievalOptions,
        quick: bool,
        results: &[CellResult],
    ) -> anyhow::Result<Self> {
        let sections: Vec<Section> = options
            .protocols
            .iter()
            .map(|&protocol| section(set, options, protocol, results))
            .collect::<anyhow::Result<_>>()?;
        let void = sections.iter().flat_map(|section| {
            let void = section.rows.iter().filter(|row| row.void);
            void.map(|row| format!("{} {}: {:.1} % tied", section.protocol.name(), row.name, 100.0 * row.ties))
        });
        Ok(Self {
            data: set.name.clone(),
            data_sha256: set.data_sha256.clone(),
            notes: set.notes.clone(),
            group: set.group.clone(),
            options: options.clone(),
            quick,
            seeds: options.seeds,
            void: void.collect(),
            sections,
        })
    }

    /// # Errors
    /// Names the rows with more than 1 % of ties, for which the run has failed.
    pub fn check_ties(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.void.is_empty(),
            "more than {:.0} % of the queries are tied, so these rows say nothing: {}",
            100.0 * MAX_TIES,
            self.void.join("; ")
        );
        Ok(())
    }
}

fn section(
    set: &RetrievalSet,
    options: &RetrievalOptions,
    protocol: Protocol,
    results: &[CellResult],
) -> anyhow::Result<Section> {
    let folds = set.folds.get(&protocol).map_or(&[][..], Vec::as_slice);
    let candidates = folds.iter().map(|fold| fold.test.songs.len());
    let candidates = (candidates.clone().min().unwrap_or(0), candidates.max().unwrap_or(0));
    let all: Vec<usize> = folds.iter().flat_map(|fold| vec![fold.test.songs.len(); fold.test.queries.len()]).collect();
    let groups: Vec<usize> = folds.iter().flat_map(|fold| fold.test.group_sizes()).collect();
    let reference = |groups: &[usize]| {
        expected(groups).ok_or_else(|| anyhow::anyhow!("{}: the protocol {} has no query", set.name, protocol.name()))
    };
    Ok(Section {
        protocol,
        queries: all.len(),
        candidates,
        cutoffs: cutoffs(protocol, candidates.0),
        chance: reference(&all)?,
        knows_group: reference(&groups)?,
        rows: rows(set)
            .map(|row| summary(row, protocol, folds.len(), options.seeds, results))
            .collect::<Result<_, _>>()?,
        missing: Row::ALL.into_iter().filter(|row| !rows(set).any(|there| there == *row)).collect(),
    })
}

fn summary(
    row: Row,
    protocol: Protocol,
    folds: usize,
    seeds: u64,
    results: &[CellResult],
) -> anyhow::Result<RowSummary> {
    let mut runs: Vec<Vec<Rank>> = Vec::new();
    let (mut validation, mut seconds) = (Vec::new(), 0.0);
    for seed in 0..seeds {
        let mut ranks = Vec::new();
        for fold in 0..folds {
            let cell = Cell { protocol, row, seed, fold };
            let found = results.iter().find(|result| result.cell == cell);
            let found = found.ok_or_else(|| anyhow::anyhow!("the cell {cell:?} is missing"))?;
            ranks.extend_from_slice(&found.ranks);
            validation.extend(found.validation_mrr);
            seconds += found.seconds;
        }
        runs.push(ranks);
    }
    let figures: Vec<Figures> = runs.iter().filter_map(|run| Figures::of(run)).collect();
    let mean = mean_of(&figures).ok_or_else(|| anyhow::anyhow!("{} has no query", row.name()))?;
    Ok(RowSummary {
        row,
        name: row.name().to_owned(),
        std: deviation(&figures, &mean),
        mean,
        intervals: intervals(&runs, RESAMPLES, BOOTSTRAP_SEED),
        ties: figures.iter().map(|figures| figures.ties).fold(0.0, f64::max),
        void: figures.iter().any(Figures::is_void),
        seeds: figures,
        validation_mrr: (!validation.is_empty()).then(|| validation.iter().sum::<f64>() / validation.len() as f64),
        paper: row.paper(protocol).to_owned(),
        seconds,
    })
}

/// `None` with one run.
fn deviation(runs: &[Figures], mean: &Figures) -> Option<Figures> {
    if runs.len() < 2 {
        return None;
    }
    let of = |figure: &dyn Fn(&Figures) -> f64| {
        let squares: f64 = runs.iter().map(|run| (figure(run) - figure(mean)).powi(2)).sum();
        (squares / (runs.len() - 1) as f64).sqrt()
    };
    let mut recall = mean.recall;
    for (at, share) in recall.iter_mut().enumerate() {
        *share = of(&|figures| figures.recall[at]);
    }
    Some(Figures {
        n: mean.n,
        median_rank: of(&|figures| figures.median_rank),
        mean_rank: of(&|figures| figures.mean_rank),
        mrr: of(&|figures| figures.mrr),
        recall,
        ties: of(&|figures| figures.ties),
    })
}
