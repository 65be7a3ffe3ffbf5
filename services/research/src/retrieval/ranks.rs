//! Where the true song stands among the candidates, and what follows from it (docs/networks.md, "Retrieval").
//!
//! Ties count half: a scorer that says the same of every song gets the middle rank and not the first, as it would where
//! a rank is the first place of the true score in the sorted list (docs/networks.md, F4).

use jtav_trainer::bootstrap::{Interval, middle};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

/// Share of queries with a tie above which figures say nothing.
pub const MAX_TIES: f64 = 0.01;

/// The k of all R@k that are computed; a table shows some of them.
pub const CUTOFFS: [usize; 5] = [1, 5, 10, 50, 100];

/// The place of one query's true song.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rank {
    /// 1 + candidates with a higher score + half of the other candidates with the same score.
    pub rank: f64,
    /// Whether another candidate has exactly the true song's score.
    pub tied: bool,
    /// Candidates, the true song included.
    pub candidates: usize,
}

/// Why there is no rank.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RankError {
    /// The true song is not among the candidates.
    #[error("the true song is number {truth} of {candidates} candidates")]
    NoTruth {
        /// Its index.
        truth: usize,
        /// How many there are.
        candidates: usize,
    },
    /// A score is a NaN, which stands nowhere.
    #[error("the score of candidate {0} is not a number")]
    NotANumber(usize),
    /// Two score rows that do not belong to the same candidates.
    #[error("{0} and {1} scores for the same candidates")]
    Lengths(usize, usize),
}

/// The rank of candidate `truth`, higher scores first. Each candidate must be another song: see [`distinct`].
///
/// # Errors
/// An index beyond the scores; a score that is not a number.
pub fn rank(scores: &[f32], truth: usize) -> Result<Rank, RankError> {
    let own = *scores.get(truth).ok_or(RankError::NoTruth { truth, candidates: scores.len() })?;
    if let Some(at) = scores.iter().position(|score| score.is_nan()) {
        return Err(RankError::NotANumber(at));
    }
    let higher = scores.iter().filter(|&&score| score > own).count();
    let equal = scores.iter().filter(|&&score| score == own).count() - 1;
    let rank = 1.0 + higher as f64 + equal as f64 / 2.0;
    Ok(Rank { rank, tied: equal > 0, candidates: scores.len() })
}

/// The rank after the `top` first candidates by `first` have been put in the order of `second`; the others keep their
/// places behind them. Where candidates with one score lie on both sides of the cut, the earlier ones are taken and a
/// true song among them counts as tied.
///
/// # Errors
/// Those of [`rank`]; rows of different lengths.
pub fn reranked(first: &[f32], second: &[f32], truth: usize, top: usize) -> Result<Rank, RankError> {
    if first.len() != second.len() {
        return Err(RankError::Lengths(first.len(), second.len()));
    }
    let whole = rank(first, truth)?;
    rank(second, truth)?;
    let mut order: Vec<usize> = (0..first.len()).collect();
    // Stable: of equal scores the earlier candidate comes first.
    order.sort_by(|&a, &b| first[b].total_cmp(&first[a]));
    let (taken, rest) = order.split_at(top.min(order.len()));
    let own = first[truth];
    let equal = |side: &[usize]| side.iter().any(|&at| first[at] == own);
    let cut = equal(taken) && equal(rest);
    let Some(place) = taken.iter().position(|&at| at == truth) else {
        return Ok(Rank { tied: whole.tied || cut, ..whole });
    };
    let scores: Vec<f32> = taken.iter().map(|&at| second[at]).collect();
    let inside = rank(&scores, place)?;
    Ok(Rank { rank: inside.rank, tied: inside.tied || cut, candidates: first.len() })
}

/// The first index of each song, in order: candidates without repetition. Copies of the true song would be ties, and
/// copies of others would push it back by more than one place.
pub fn distinct<'a>(songs: impl IntoIterator<Item = &'a str>) -> Vec<usize> {
    let mut seen = std::collections::HashSet::new();
    songs.into_iter().enumerate().filter(|(_, song)| seen.insert(*song)).map(|(at, _)| at).collect()
}

/// Figures over queries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Queries.
    pub n: usize,
    /// Median rank: the "Med r" of the literature.
    pub median_rank: f64,
    /// Mean rank: the "Med r" of the authors' code (docs/networks.md, F3).
    pub mean_rank: f64,
    /// Mean of 1 / rank.
    pub mrr: f64,
    /// Share of queries with a rank of at most k, for each of [`CUTOFFS`].
    pub recall: [f64; CUTOFFS.len()],
    /// Share of queries where another candidate has exactly the true song's score.
    pub ties: f64,
}

impl Figures {
    /// `None` without a query.
    pub fn of(ranks: &[Rank]) -> Option<Self> {
        if ranks.is_empty() {
            return None;
        }
        let share = |counts: &dyn Fn(&Rank) -> bool| mean(ranks, |rank| f64::from(u8::from(counts(rank))));
        Some(Self {
            n: ranks.len(),
            median_rank: median(ranks.iter().map(|rank| rank.rank).collect()),
            mean_rank: mean(ranks, |rank| rank.rank),
            mrr: mean(ranks, |rank| 1.0 / rank.rank),
            recall: CUTOFFS.map(|k| share(&|rank| rank.rank <= k as f64)),
            ties: share(&|rank| rank.tied),
        })
    }

    /// Whether too many queries are tied for the figures to mean anything.
    pub fn is_void(&self) -> bool {
        self.ties > MAX_TIES
    }
}

/// What a scorer gets that orders `group` of the candidates at random, the true one among them, before all others:
/// every rank from 1 to `group` is equally likely. With all candidates it knows nothing and this is the chance level.
/// `None` without a query or for an empty group.
pub fn expected(groups: &[usize]) -> Option<Figures> {
    let largest = *groups.iter().max()?;
    if groups.contains(&0) {
        return None;
    }
    let over =
        |of: &dyn Fn(f64) -> f64| groups.iter().map(|&group| of(group as f64)).sum::<f64>() / groups.len() as f64;
    let mut harmonic = vec![0.0];
    for n in 1..=largest {
        harmonic.push(harmonic[n - 1] + 1.0 / n as f64);
    }
    let at_most = |k: usize| over(&|group| (k as f64 / group).min(1.0));
    // The two middle values of the mixture of uniform distributions; sums of thirds miss a half by a few ulps.
    let middle = |reached: &dyn Fn(f64) -> bool| (1..=largest).find(|&k| reached(at_most(k))).unwrap_or(largest) as f64;
    let (low, high) = (middle(&|share| share >= 0.5 - 1e-12), middle(&|share| share > 0.5 + 1e-12));
    Some(Figures {
        n: groups.len(),
        median_rank: (low + high) / 2.0,
        mean_rank: over(&|group| (group + 1.0) / 2.0),
        mrr: groups.iter().map(|&group| harmonic[group] / group as f64).sum::<f64>() / groups.len() as f64,
        recall: CUTOFFS.map(at_most),
        ties: 0.0,
    })
}

/// 95 % bootstrap intervals over queries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RankIntervals {
    pub median_rank: Interval,
    pub mean_rank: Interval,
    /// Of the mean reciprocal rank.
    pub mrr: Interval,
    /// Of R@k for each of [`CUTOFFS`].
    pub recall: [Interval; CUTOFFS.len()],
}

impl RankIntervals {
    /// Whether the interval of the mean reciprocal rank lies above that of `level`: what "above" means in the table's
    /// sentences.
    pub fn is_above(&self, level: &Figures) -> bool {
        self.mrr.low > level.mrr
    }
}

/// Draws queries with replacement; every run (seed of a training) is read at the same queries and the figure is the
/// mean over runs. `None` when the runs have no query, or not the same number, or without a resample. Equal seeds give
/// equal intervals.
pub fn intervals(runs: &[Vec<Rank>], resamples: usize, seed: u64) -> Option<RankIntervals> {
    let n = runs.first()?.len();
    if n == 0 || runs.iter().any(|run| run.len() != n) {
        return None;
    }
    let mut random = StdRng::seed_from_u64(seed);
    let mut drawn: Vec<Figures> = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        let queries: Vec<usize> = (0..n).map(|_| random.random_range(0..n)).collect();
        let of_runs: Vec<Figures> =
            runs.iter().filter_map(|run| Figures::of(&queries.iter().map(|&at| run[at]).collect::<Vec<_>>())).collect();
        drawn.extend(mean_of(&of_runs));
    }
    let of = |figure: &dyn Fn(&Figures) -> f64| middle(drawn.iter().map(figure).collect());
    let mut recall = [Interval { low: 0.0, high: 0.0 }; CUTOFFS.len()];
    for (at, interval) in recall.iter_mut().enumerate() {
        *interval = of(&|figures| figures.recall[at])?;
    }
    Some(RankIntervals {
        median_rank: of(&|figures| figures.median_rank)?,
        mean_rank: of(&|figures| figures.mean_rank)?,
        mrr: of(&|figures| figures.mrr)?,
        recall,
    })
}

/// The mean of each figure over runs; `None` without a run.
pub fn mean_of(runs: &[Figures]) -> Option<Figures> {
    let first = runs.first()?;
    let of = |figure: &dyn Fn(&Figures) -> f64| runs.iter().map(figure).sum::<f64>() / runs.len() as f64;
    let mut recall = [0.0; CUTOFFS.len()];
    for (at, share) in recall.iter_mut().enumerate() {
        *share = of(&|figures| figures.recall[at]);
    }
    Some(Figures {
        n: first.n,
        median_rank: of(&|figures| figures.median_rank),
        mean_rank: of(&|figures| figures.mean_rank),
        mrr: of(&|figures| figures.mrr),
        recall,
        ties: of(&|figures| figures.ties),
    })
}

fn mean(ranks: &[Rank], of: impl Fn(&Rank) -> f64) -> f64 {
    ranks.iter().map(of).sum::<f64>() / ranks.len() as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
    (at((values.len().saturating_sub(1)) / 2) + at(values.len() / 2)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranks_of(scores: &[Vec<f32>]) -> Vec<Rank> {
        scores.iter().enumerate().map(|(query, row)| rank(row, query % row.len()).unwrap()).collect()
    }

    #[test]
    fn a_constant_scorer_gets_the_middle_rank_no_hit_and_void_figures() {
        let figures = Figures::of(&ranks_of(&vec![vec![0.25; 100]; 100])).unwrap();
        assert_eq!((figures.median_rank, figures.mean_rank), (50.5, 50.5));
        assert_eq!(figures.recall, [0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(figures.ties, 1.0);
        assert!(figures.is_void());
    }

    #[test]
    fn a_perfect_scorer_gets_rank_one_everywhere() {
        let scores: Vec<Vec<f32>> =
            (0..7).map(|query| (0..7).map(|song| f32::from(u8::from(song == query))).collect()).collect();
        let figures = Figures::of(&ranks_of(&scores)).unwrap();
        assert_eq!((figures.median_rank, figures.mean_rank, figures.mrr, figures.recall), (1.0, 1.0, 1.0, [1.0; 5]));
        assert!(!figures.is_void());
    }

    #[test]
    fn ranks_by_hand() {
        let scores = [0.9, 0.5, 0.5, 0.5, 0.1];
        assert_eq!(rank(&scores, 0).unwrap(), Rank { rank: 1.0, tied: false, candidates: 5 });
        assert_eq!(rank(&scores, 2).unwrap(), Rank { rank: 3.0, tied: true, candidates: 5 });
        assert_eq!(rank(&scores, 4).unwrap().rank, 5.0);
        assert_eq!(rank(&scores, 5), Err(RankError::NoTruth { truth: 5, candidates: 5 }));
        assert_eq!(rank(&[0.0, f32::NAN], 0), Err(RankError::NotANumber(1)));
        let ranks = [1.0, 2.0, 4.0, 100.0].map(|rank| Rank { rank, tied: false, candidates: 200 });
        let figures = Figures::of(&ranks).unwrap();
        assert_eq!((figures.median_rank, figures.mean_rank), (3.0, 26.75));
        assert!((figures.mrr - (1.0 + 0.5 + 0.25 + 0.01) / 4.0).abs() < 1e-12);
        assert_eq!(figures.recall, [0.25, 0.75, 0.75, 0.75, 1.0]);
        assert_eq!(Figures::of(&[]), None);
    }

    #[test]
    fn the_chance_levels_are_those_of_the_two_protocols() {
        let disjoint = expected(&[100; 500]).unwrap();
        assert_eq!((disjoint.median_rank, disjoint.mean_rank), (50.5, 50.5));
        assert!((disjoint.recall[0] - 0.01).abs() < 1e-12);
        let shared = expected(&[620; 620]).unwrap();
        assert_eq!((shared.median_rank, shared.mean_rank), (310.5, 310.5));
        assert!((shared.recall[2] - 10.0 / 620.0).abs() < 1e-9 && (shared.recall[4] - 100.0 / 620.0).abs() < 1e-9);
        assert_eq!(expected(&[3, 3]).unwrap().median_rank, 2.0);
        assert_eq!((expected(&[]), expected(&[3, 0])), (None, None));
    }

    #[test]
    fn reranking_orders_the_head_and_leaves_the_tail() {
        let first = [0.9, 0.8, 0.7, 0.6];
        let second = [0.1, 0.9, 0.3, 1.0];
        let rank_of = |truth| reranked(&first, &second, truth, 3).unwrap().rank;
        assert_eq!([rank_of(0), rank_of(1), rank_of(2), rank_of(3)], [3.0, 1.0, 2.0, 4.0]);
        assert_eq!(reranked(&first, &second, 3, 10).unwrap().rank, 1.0);
        assert_eq!(reranked(&first, &second[..3], 0, 3), Err(RankError::Lengths(4, 3)));
    }

    #[test]
    fn a_constant_first_stage_cannot_hide_behind_the_second() {
        let second = [0.4, 0.3, 0.2, 0.1];
        assert!((0..4).all(|truth| reranked(&[0.5; 4], &second, truth, 2).unwrap().tied));
    }

    #[test]
    fn candidates_are_counted_once_per_song() {
        assert_eq!(distinct(["b", "a", "b", "c", "a"]), [0, 1, 3]);
    }

    #[test]
    fn an_interval_holds_its_figure_and_repeats_with_its_seed() {
        let run = |shift: usize| -> Vec<Rank> {
            let place = |at: usize| ((at * 37 + shift) % 100 + 1) as f64;
            (0..200).map(|at| Rank { rank: place(at), tied: false, candidates: 100 }).collect()
        };
        let runs = [run(0), run(11)];
        let found = intervals(&runs, 300, 5).unwrap();
        let figures = mean_of(&runs.iter().map(|run| Figures::of(run).unwrap()).collect::<Vec<_>>()).unwrap();
        for (interval, figure) in [
            (found.median_rank, figures.median_rank),
            (found.mean_rank, figures.mean_rank),
            (found.mrr, figures.mrr),
            (found.recall[2], figures.recall[2]),
        ] {
            assert!(interval.low < figure && figure < interval.high, "{interval:?} {figure}");
        }
        assert_eq!(intervals(&runs, 300, 5), Some(found));
        assert_eq!((intervals(&[], 10, 5), intervals(&[run(0), Vec::new()], 10, 5)), (None, None));
    }

    proptest! {
        #[test]
        fn ranks_of_all_candidates_add_up_whatever_is_tied(levels in prop::collection::vec(0_u8..6, 1..40)) {
            let scores: Vec<f32> = levels.iter().map(|&level| f32::from(level)).collect();
            let n = scores.len() as f64;
            let sum: f64 = (0..scores.len()).map(|truth| rank(&scores, truth).unwrap().rank).sum();
            prop_assert!((sum - n * (n + 1.0) / 2.0).abs() < 1e-9);
        }

        #[test]
        fn a_rank_does_not_depend_on_the_order_of_the_candidates(
            levels in prop::collection::vec(0_u8..6, 1..40), shift in 0_usize..40,
        ) {
            let scores: Vec<f32> = levels.iter().map(|&level| f32::from(level)).collect();
            let mut turned = scores.clone();
            turned.rotate_left(shift % scores.len());
            let place = (scores.len() - shift % scores.len()) % scores.len();
            prop_assert_eq!(rank(&scores, 0), rank(&turned, place));
        }

        #[test]
        fn a_rising_map_of_the_scores_changes_no_rank(levels in prop::collection::vec(0_u8..9, 1..40)) {
            let scores: Vec<f32> = levels.iter().map(|&level| f32::from(level) - 4.0).collect();
            let mapped: Vec<f32> = scores.iter().map(|score| score * 8.0 + 3.0).collect();
            for truth in 0..scores.len() {
                prop_assert_eq!(rank(&scores, truth), rank(&mapped, truth));
                // Reranking everything is ranking by the second stage; reranking nothing by the first.
                prop_assert_eq!(reranked(&mapped, &scores, truth, scores.len()).unwrap().rank, rank(&scores, truth).unwrap().rank);
                prop_assert_eq!(reranked(&scores, &mapped, truth, 0), rank(&scores, truth));
            }
        }

        #[test]
        fn figures_stay_within_their_bounds(places in prop::collection::vec(1_u16..300, 1..60)) {
            let ranks: Vec<Rank> = places.iter().map(|&place| Rank { rank: f64::from(place), tied: false, candidates: 300 }).collect();
            let figures = Figures::of(&ranks).unwrap();
            prop_assert!(figures.recall.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(figures.mrr >= 1.0 / figures.mean_rank - 1e-12, "Jensen's inequality");
            prop_assert!((1.0..=299.0).contains(&figures.median_rank) && figures.mrr <= 1.0);
        }
    }
}
