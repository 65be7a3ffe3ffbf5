//! The output side of word2vec: tell the true word from words drawn by chance (Mikolov et al. 2013, equation 4).

use std::collections::HashMap;

use rand::RngExt;
use rand::rngs::StdRng;

/// Power of a word's count in the distribution that negative samples are drawn from (Mikolov et al. 2013).
const SMOOTHING: f64 = 0.75;

/// Words that occur often enough, most frequent first, ties in alphabetical order.
pub(super) struct Lexicon {
    pub row_of: HashMap<String, usize>,
    /// How often each word stands in the documents.
    pub counts: Vec<usize>,
}

impl Lexicon {
    pub fn of(documents: &[Vec<String>], least: usize) -> Self {
        let mut counts: HashMap<&String, usize> = HashMap::new();
        for word in documents.iter().flatten() {
            *counts.entry(word).or_default() += 1;
        }
        let mut kept: Vec<(&String, usize)> = counts.into_iter().filter(|&(_, count)| count >= least.max(1)).collect();
        kept.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        Self {
            row_of: kept.iter().enumerate().map(|(row, (word, _))| ((*word).clone(), row)).collect(),
            counts: kept.iter().map(|&(_, count)| count).collect(),
        }
    }

    /// Rows of the known words of a document, in order.
    pub fn rows(&self, document: &[String]) -> Vec<usize> {
        document.iter().filter_map(|word| self.row_of.get(word).copied()).collect()
    }
}

/// One vector per word, and the distribution of negative samples.
pub(super) struct Output {
    dimension: usize,
    /// `[words, dimension]`, zeros at first.
    weights: Vec<f32>,
    /// Share of all draws that go to this word or one before it.
    cumulative: Vec<f64>,
}

impl Output {
    pub fn new(counts: &[usize], dimension: usize) -> Self {
        let mut total = 0.0;
        let sums: Vec<f64> = counts
            .iter()
            .map(|&count| {
                total += (count as f64).powf(SMOOTHING);
                total
            })
            .collect();
        let cumulative = sums.iter().map(|sum| sum / total).collect();
        Self { dimension, weights: vec![0.0; counts.len() * dimension], cumulative }
    }

    /// One example in training: `word` against `negatives` others. Moves `hidden` and the words' own vectors by a step
    /// of size `rate`.
    pub fn learn(&mut self, hidden: &mut [f32], word: usize, negatives: usize, rate: f32, rng: &mut StdRng) {
        let mut change = vec![0.0; self.dimension];
        for (target, truth) in self.targets(word, negatives, rng) {
            let error = rate * self.pull(hidden, target, truth, rate, &mut change);
            for (weight, value) in self.weights[target * self.dimension..].iter_mut().zip(hidden.iter()) {
                *weight += error * value;
            }
        }
        add(hidden, &change);
    }

    /// The same with words that stand still: only `hidden` moves.
    pub fn fit(&self, hidden: &mut [f32], word: usize, negatives: usize, rate: f32, rng: &mut StdRng) {
        let mut change = vec![0.0; self.dimension];
        for (target, truth) in self.targets(word, negatives, rng) {
            self.pull(hidden, target, truth, rate, &mut change);
        }
        add(hidden, &change);
    }

    /// The true word, then those drawn by chance. A draw of the true word is no counterexample and is left out.
    fn targets(&self, word: usize, negatives: usize, rng: &mut StdRng) -> Vec<(usize, f32)> {
        let drawn = (0..negatives).map(|_| (self.draw(rng), 0.0)).filter(|&(target, _)| target != word);
        std::iter::once((word, 1.0)).chain(drawn).collect()
    }

    /// Adds to `change` what one target asks of `hidden`, and gives its error.
    fn pull(&self, hidden: &[f32], target: usize, truth: f32, rate: f32, change: &mut [f32]) -> f32 {
        let row = &self.weights[target * self.dimension..(target + 1) * self.dimension];
        let error = truth - 1.0 / (1.0 + (-dot(hidden, row)).exp());
        for (c, w) in change.iter_mut().zip(row) {
            *c += rate * error * w;
        }
        error
    }

    fn draw(&self, rng: &mut StdRng) -> usize {
        let at: f64 = rng.random();
        self.cumulative.partition_point(|&share| share <= at).min(self.cumulative.len() - 1)
    }
}

fn add(to: &mut [f32], change: &[f32]) {
    for (value, c) in to.iter_mut().zip(change) {
        *value += c;
    }
}

/// Eight sums side by side, so that the loop runs on vector registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, b_blocks) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f32 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0_f32; 8];
    for (a, b) in a_blocks.zip(b_blocks) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn negative_samples_follow_the_smoothed_counts() {
        let output = Output::new(&[16, 1], 4);
        let mut rng = StdRng::seed_from_u64(1);
        let first = (0..9000).filter(|_| output.draw(&mut rng) == 0).count();
        assert!((7800..8200).contains(&first), "{first} of 9000, 8 to 1 are expected");
    }

    #[test]
    fn the_blocked_product_is_the_product() {
        let a: Vec<f32> = (0..19).map(|i| i as f32).collect();
        assert_eq!(dot(&a, &a), (0..19).map(|i| (i * i) as f32).sum::<f32>());
    }

    #[test]
    fn rare_words_have_no_row_and_ties_are_in_alphabetical_order() {
        let documents = [vec!["b".to_owned(), "a".to_owned(), "c".to_owned()], vec!["a".to_owned(), "b".to_owned()]];
        let lexicon = Lexicon::of(&documents, 2);
        assert_eq!(lexicon.counts, [2, 2]);
        assert_eq!(lexicon.rows(&documents[0]), [1, 0]);
    }
}
