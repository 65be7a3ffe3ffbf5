//! Figures for three classes, with the conventions of scikit-learn: overall, for each kind of text and for each language,
//! each with an interval that says how far it would move with another draw of items.
//!
//! Pure functions of probabilities and truths.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use crate::bootstrap::{Interval, middle};
use crate::items::Items;

/// Names of the classes, in the order of the probabilities.
pub const CLASSES: [&str; 3] = ["negative", "neutral", "positive"];
/// Least probability that the log loss believes, as in scikit-learn: the rounding of an f64 at 1.
const LEAST_PROBABILITY: f64 = f64::EPSILON;

/// Why there are no figures.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ThreeWayError {
    #[error("there is no row to score")]
    Empty,
    /// The position of the first such row.
    #[error("row {0} has no three probabilities that sum to 1")]
    NotProbabilities(usize),
    #[error("the truth of row {row} is class {truth}, expected 0, 1 or 2")]
    NoClass { row: usize, truth: usize },
    #[error("{rows} rows, but the items of {items}")]
    Items { rows: usize, items: usize },
}

impl ThreeWayError {
    /// Never.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// What was said of one text, and what is true of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// Of negative, neutral and positive; they sum to 1.
    pub probabilities: [f64; 3],
    /// Whether the label was given out as certain.
    pub certain: bool,
    /// Index of the true class.
    pub truth: usize,
    /// What the text is an example of.
    pub kind: &'a str,
    /// ISO 639 code.
    pub language: &'a str,
    /// Rows of one item are drawn together, a text and its changed copies for example.
    pub item: &'a str,
}

/// A figure with the middle 95 % of it over resampled items. Both are null where the rows do not define it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Figure {
    pub value: Option<f64>,
    pub interval: Option<Interval>,
}

/// Labels that were given out as certain.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct CertainFigures {
    /// Their share.
    pub coverage: Figure,
    /// Share of them that are right; null where there are none.
    pub accuracy: Figure,
}

/// The figures of some rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub accuracy: Figure,
    /// Mean F1 of the classes that occur, as a truth or as a label.
    pub macro_f1: Figure,
    /// Mean of `-ln` of the truth's probability.
    pub log_loss: Figure,
    pub certain: CertainFigures,
    /// Share of each class that was found, in the order of [`CLASSES`]; null for a class that no row has.
    pub recall: [Figure; 3],
    /// Rows.
    pub n: usize,
    /// Items that they are made of, of the kind of part of which there are fewest.
    pub items: usize,
}

/// Figures of a set of texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThreeWay {
    pub overall: Figures,
    pub kinds: BTreeMap<String, Figures>,
    pub languages: BTreeMap<String, Figures>,
}

/// Scores the rows, of which each belongs to one item. Items are drawn `resamples` times with replacement for the intervals,
/// of each kind and language among its own; equal seeds give equal intervals.
///
/// # Errors
/// No row, a row whose probabilities are none, a truth that is no class.
pub fn three_way(rows: &[Row], resamples: usize, seed: u64) -> Result<ThreeWay, ThreeWayError> {
    three_way_of_items(rows, &Items::of_names(rows.iter().map(|row| row.item)), resamples, seed)
}

/// The same for rows of several parts, with the items that those are, as many as there are rows; what a row itself says of its
/// item is not looked at.
///
/// # Errors
/// As [`three_way`], and for another number of rows than the items have examples.
pub fn three_way_of_items(rows: &[Row], items: &Items, resamples: usize, seed: u64) -> Result<ThreeWay, ThreeWayError> {
    check(rows)?;
    if items.examples() != rows.len() {
        return Err(ThreeWayError::Items { rows: rows.len(), items: items.examples() });
    }
    let of = |places: &[usize]| {
        let counts: Vec<Counts> = places.iter().map(|&at| Counts::of(&rows[at])).collect();
        figures(&counts, &items.of(places), resamples, seed)
    };
    let by = |name: fn(&Row) -> String| {
        let mut parts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            parts.entry(name(row)).or_default().push(at);
        }
        parts.into_iter().map(|(name, places)| (name, of(&places))).collect()
    };
    Ok(ThreeWay {
        overall: of(&(0..rows.len()).collect::<Vec<_>>()),
        kinds: by(|row| row.kind.to_owned()),
        languages: by(|row| row.language.to_owned()),
    })
}

fn check(rows: &[Row]) -> Result<(), ThreeWayError> {
    if rows.is_empty() {
        return Err(ThreeWayError::Empty);
    }
    for (at, row) in rows.iter().enumerate() {
        let sum: f64 = row.probabilities.iter().sum();
        // What three f32 sum to.
        let whole = row.probabilities.iter().all(|p| (0.0..=1.0).contains(p)) && (sum - 1.0).abs() < 1e-5;
        if !whole {
            return Err(ThreeWayError::NotProbabilities(at));
        }
        if row.truth >= CLASSES.len() {
            return Err(ThreeWayError::NoClass { row: at, truth: row.truth });
        }
    }
    Ok(())
}

/// The most probable class; of equal ones neutral first, then negative, as labels are given out.
pub fn label(probabilities: &[f64; 3]) -> usize {
    let [negative, neutral, positive] = *probabilities;
    if neutral >= negative && neutral >= positive { 1 } else { 2 * usize::from(positive > negative) }
}

/// Everything that the figures are made of; of more rows it is the sum.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// `[truth][label]`.
    table: [[f64; 3]; 3],
    loss: f64,
    certain: f64,
    certain_right: f64,
}

impl Counts {
    fn of(row: &Row) -> Self {
        let label = label(&row.probabilities);
        let mut counts = Self::default();
        counts.table[row.truth][label] = 1.0;
        counts.loss = -row.probabilities[row.truth].clamp(LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY).ln();
        counts.certain = f64::from(u8::from(row.certain));
        counts.certain_right = f64::from(u8::from(row.certain && label == row.truth));
        counts
    }

    fn add(&mut self, other: &Self, times: usize) {
        let times = times as f64;
        for (mine, theirs) in self.table.iter_mut().flatten().zip(other.table.iter().flatten()) {
            *mine += times * theirs;
        }
        self.loss += times * other.loss;
        self.certain += times * other.certain;
        self.certain_right += times * other.certain_right;
    }

    /// In the order of [`Figures`]: accuracy, macro F1, log loss, coverage and accuracy of certain labels, recalls.
    fn values(&self) -> [Option<f64>; 8] {
        let n: f64 = self.table.iter().flatten().sum();
        let right = |class: usize| self.table[class][class];
        let support = |class: usize| self.table[class].iter().sum::<f64>();
        let labelled = |class: usize| self.table.iter().map(|row| row[class]).sum::<f64>();
        let f1 = |class: usize| ratio(2.0 * right(class), support(class) + labelled(class));
        let known: Vec<f64> = (0..3).filter_map(f1).collect();
        let recall = |class: usize| ratio(right(class), support(class));
        [
            ratio(right(0) + right(1) + right(2), n),
            ratio(known.iter().sum(), known.len() as f64),
            ratio(self.loss, n),
            ratio(self.certain, n),
            ratio(self.certain_right, self.certain),
            recall(0),
            recall(1),
            recall(2),
        ]
    }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

fn figures(rows: &[Counts], items: &Items, resamples: usize, seed: u64) -> Figures {
    let mut all = Counts::default();
    for row in rows {
        all.add(row, 1);
    }
    let mut drawn: [Vec<f64>; 8] = Default::default();
    let mut random = StdRng::seed_from_u64(seed);
    let mut times = Vec::new();
    for _ in 0..resamples {
        items.draw(&mut random, &mut times);
        let mut sum = Counts::default();
        for (row, &times) in rows.iter().zip(&times).filter(|(_, times)| **times > 0) {
            sum.add(row, times);
        }
        for (drawn, value) in drawn.iter_mut().zip(sum.values()) {
            drawn.extend(value);
        }
    }
    let values = all.values();
    let mut found = drawn
        .into_iter()
        .zip(values)
        .map(|(drawn, value)| Figure { value, interval: value.and_then(|_| middle(drawn)) });
    let mut next = || found.next().unwrap_or_default();
    Figures {
        accuracy: next(),
        macro_f1: next(),
        log_loss: next(),
        certain: CertainFigures { coverage: next(), accuracy: next() },
        recall: [next(), next(), next()],
        n: rows.len(),
        items: items.fewest(),
    }
}

#[cfg(test)]
#[path = "three_way_tests.rs"]
mod tests;
