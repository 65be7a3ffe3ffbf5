//! The two towers of the table, kept: trained as its row is, measured as its row is, and written as a checkpoint that serves.

use std::collections::BTreeMap;

use anyhow::Context;
use jtav_model::retrieval::{AboveChance, RetrievalCheckpoint, RetrievalManifest};
use jtav_trainer::Progress;
use serde::{Deserialize, Serialize};

use super::cells::{Cell, CellResult};
use super::pairs::{QueryVectors, SongVectors};
use super::ranks::{Figures, Rank, RankIntervals, expected, intervals};
use super::rows::{Protocol, Row};
use super::run::{RetrievalOptions, fit, ranks_of, seed_of};
use super::set::{Fold, RetrievalSet};
use super::table::{BOOTSTRAP_SEED, RESAMPLES};
use super::trainer::RetrievalTrainer;

/// Trains the towers of one protocol as the row "JTAV two-tower" of the table with this seed is: same weights, same ranks.
/// `encoder` is the `model_version` whose vectors the set holds, `data` the SHA-256 of the data by name.
///
/// Blocking; computes on the calling thread. On the test part the towers are measured three times: as in the table, where
/// queries have their captions; for pictures alone, as a stranger's picture is served; and for songs without lyrics, which
/// stand at the mean of all lyrics.
///
/// # Errors
/// A set without this protocol; a training that diverges; a device fault.
pub fn train_towers(
    set: &RetrievalSet,
    protocol: Protocol,
    options: &RetrievalOptions,
    seed: u64,
    encoder: &str,
    data: BTreeMap<String, String>,
    progress: &dyn Progress,
) -> anyhow::Result<RetrievalCheckpoint> {
    let cell = Cell { protocol, row: Row::TwoTower, seed, fold: 0 };
    let fold = set.folds.get(&protocol).and_then(|folds| folds.first());
    let fold = fold.with_context(|| format!("{}: the protocol {} is missing", set.name, protocol.name()))?;
    progress.start("towers", 1);
    let (result, trainer) = fit(fold, &cell, &set.widths, options).with_context(|| protocol.name())?;
    let metrics = TowerMetrics::new(set, fold, options, &trainer, &result)?;
    let (widths, tensors) = trainer.towers()?;
    let manifest = RetrievalManifest {
        encoder: encoder.to_owned(),
        protocol,
        widths: widths.context("a joint scorer has no towers")?,
        seed: seed_of(&cell),
        learning_rate: result.learning_rate.context("no step size was chosen")?,
        epoch: result.epoch.context("no epoch was chosen")?,
        above_chance: AboveChance {
            with_captions: metrics.table.is_above(&metrics.chance),
            pictures_alone: metrics.pictures_alone.is_above(&metrics.chance),
            pictures_and_sounds_alone: metrics.pictures_and_sounds_alone.is_above(&metrics.chance),
        },
        note: metrics.note(set.caveat.as_deref()),
        data,
        metrics: serde_json::to_value(&metrics)?,
        ..RetrievalManifest::default()
    };
    let checkpoint = RetrievalCheckpoint::new(manifest, &fold.scales, &tensors)?;
    progress.advance(1);
    progress.finish(&format!(
        "{}, {}: MRR {:.3} on the test, {:.3} of pictures alone",
        checkpoint.version(),
        protocol.name(),
        metrics.table.figures.mrr,
        metrics.pictures_alone.figures.mrr
    ));
    Ok(checkpoint)
}

/// What towers do on the test part: `metrics` of their manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TowerMetrics {
    /// Name of the pack.
    pub pack: String,
    /// Test queries.
    pub queries: usize,
    /// Songs that each is held against.
    pub candidates: usize,
    /// Candidates in random order.
    pub chance: Figures,
    /// The true song's group first, in random order.
    pub knows_group: Figures,
    /// What the group is.
    pub group: String,
    /// As the table's row "JTAV two-tower": queries with their captions.
    pub table: TestFigures,
    /// Queries without captions: what a picture that somebody shows gets.
    pub pictures_alone: TestFigures,
    /// Queries without captions and songs without lyrics.
    pub pictures_and_sounds_alone: TestFigures,
    /// Mean reciprocal rank on validation, which chose step size and epoch.
    pub validation_mrr: Option<f64>,
    /// The step sizes that were tried.
    pub learning_rates: Vec<f64>,
}

/// Figures with their 95 % intervals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestFigures {
    /// Figures over the queries of the test.
    pub figures: Figures,
    /// Over resamples of the queries.
    pub intervals: RankIntervals,
}

impl TestFigures {
    fn of(ranks: &[Rank]) -> anyhow::Result<Self> {
        let figures = Figures::of(ranks).context("the test has no query")?;
        let runs = [ranks.to_vec()];
        let intervals = intervals(&runs, RESAMPLES, BOOTSTRAP_SEED).context("the test has no query")?;
        Ok(Self { figures, intervals })
    }

    /// By the rule of the table's sentence; figures that are void are above nothing.
    pub fn is_above(&self, level: &Figures) -> bool {
        !self.figures.is_void() && self.intervals.is_above(level)
    }
}

impl TowerMetrics {
    fn new(
        set: &RetrievalSet,
        fold: &Fold,
        options: &RetrievalOptions,
        trainer: &RetrievalTrainer,
        result: &CellResult,
    ) -> anyhow::Result<Self> {
        let (queries, songs) = (fold.test.query_vectors(), fold.test.song_vectors());
        let alone: Vec<QueryVectors> =
            queries.into_iter().map(|query| QueryVectors { caption: None, ..query }).collect();
        // 0 is the mean of what was standardised: the place of lyrics that are not there.
        let without = |song: &SongVectors| SongVectors {
            lyrics: song.lyrics.as_ref().map(|lyrics| vec![0.0; lyrics.len()]),
            ..song.clone()
        };
        let silent: Vec<SongVectors> = songs.iter().map(without).collect();
        let of = |songs: &[SongVectors]| TestFigures::of(&ranks_of(&trainer.scores(&alone, songs)?, &fold.test)?);
        let candidates = fold.test.songs.len();
        Ok(Self {
            pack: set.name.clone(),
            queries: alone.len(),
            candidates,
            chance: expected(&vec![candidates; alone.len()]).context("the test has no query")?,
            knows_group: expected(&fold.test.group_sizes()).context("the test has no query")?,
            group: set.group.clone(),
            table: TestFigures::of(&result.ranks)?,
            pictures_alone: of(&songs)?,
            pictures_and_sounds_alone: of(&silent)?,
            validation_mrr: result.validation_mrr,
            learning_rates: options.learning_rates.clone(),
        })
    }

    /// What a person has to know, in sentences.
    fn note(&self, caveat: Option<&str>) -> String {
        let said = |name: &str, of: &TestFigures| {
            let (mrr, interval) = (of.figures.mrr, of.intervals.mrr);
            let verdict = if of.is_above(&self.chance) { "above chance" } else { "not told from chance" };
            format!("{name} {mrr:.3} [{:.3}, {:.3}], {verdict}", interval.low, interval.high)
        };
        format!(
            "{}On {} test pictures among {} songs of {} the mean reciprocal rank is {}; {}; {}. Chance is {:.3}, knowing \
             the {} alone gives {:.3}.",
            caveat.map_or_else(String::new, |caveat| format!("{caveat} ")),
            self.queries,
            self.candidates,
            self.pack,
            said("with captions", &self.table),
            said("of pictures alone", &self.pictures_alone),
            said("of pictures alone among songs without lyrics", &self.pictures_and_sounds_alone),
            self.chance.mrr,
            self.group,
            self.knows_group.mrr
        )
    }
}
