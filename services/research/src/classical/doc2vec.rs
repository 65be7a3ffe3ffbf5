//! Doc2vec: a vector per document that foretells its words (Le and Mikolov 2014, section 2.3, the distributed bag of
//! words), trained with negative sampling.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::error::ClassicalError;
use super::negative_sampling::{Lexicon, Output};

/// Where the step size ends, as a share of where it begins.
const LAST_RATE: f32 = 0.01;

/// Settings of [`Doc2Vec::train`]. There is no window: this form of doc2vec does not look at the order of words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Doc2VecConfig {
    /// Values of a vector, at least 1.
    pub dimension: usize,
    /// Passes over the documents, at least 1; as many again for a new document.
    pub epochs: usize,
    /// Words drawn by chance for each true one, at least 1.
    pub negative: usize,
    /// A word is looked at when the documents hold it at least this often.
    pub min_count: usize,
    /// Frequent words are passed over: one that makes up more than this share of all words is read as if it did not.
    /// 0 reads every word.
    pub subsampling: f64,
    /// Size of the first step; it falls to a hundredth along a line.
    pub learning_rate: f32,
    /// Equal seeds and documents give equal vectors.
    pub seed: u64,
}

impl Default for Doc2VecConfig {
    /// Dimension as the word vectors'; passes, step size and subsampling chosen on the validation split of
    /// `polarity-posts`.
    fn default() -> Self {
        Self { dimension: 300, epochs: 20, negative: 5, min_count: 2, subsampling: 1e-3, learning_rate: 0.05, seed: 0 }
    }
}

impl Doc2VecConfig {
    fn check(&self) -> Result<(), ClassicalError> {
        let least_one = [("dimension", self.dimension), ("epochs", self.epochs), ("negative", self.negative)];
        if let Some(&(name, _)) = least_one.iter().find(|(_, value)| *value == 0) {
            return Err(ClassicalError::Setting { name, value: 0.0, expected: "at least 1" });
        }
        let rate = self.learning_rate;
        if !(rate > 0.0 && rate.is_finite()) {
            let expected = "a finite number above 0";
            return Err(ClassicalError::Setting { name: "learning_rate", value: rate.into(), expected });
        }
        if !(0.0..1.0).contains(&self.subsampling) {
            let expected = "a share, 0 or more and below 1";
            return Err(ClassicalError::Setting { name: "subsampling", value: self.subsampling, expected });
        }
        Ok(())
    }
}

/// Vectors of documents, and what it takes to find those of new ones.
pub struct Doc2Vec {
    config: Doc2VecConfig,
    lexicon: Lexicon,
    /// Chance that a word is read, by its row.
    kept: Vec<f64>,
    output: Output,
    trained: Vec<Vec<f32>>,
}

impl std::fmt::Debug for Doc2Vec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (documents, words) = (self.trained.len(), self.lexicon.counts.len());
        f.debug_struct("Doc2Vec")
            .field("config", &self.config)
            .field("documents", &documents)
            .field("words", &words)
            .finish()
    }
}

impl Doc2Vec {
    /// Trains on documents, each a list of words.
    ///
    /// # Errors
    /// Settings out of their range; documents in which fewer than two words stand often enough.
    pub fn train(documents: &[Vec<String>], config: Doc2VecConfig) -> Result<Self, ClassicalError> {
        config.check()?;
        let lexicon = Lexicon::of(documents, config.min_count);
        if lexicon.counts.len() < 2 {
            return Err(ClassicalError::NoWords { least: config.min_count });
        }
        let rows: Vec<Vec<usize>> = documents.iter().map(|words| lexicon.rows(words)).collect();
        let mut rng = StdRng::seed_from_u64(config.seed);
        let mut vectors: Vec<Vec<f32>> = rows.iter().map(|words| start(words, config.dimension, &mut rng)).collect();
        let mut output = Output::new(&lexicon.counts, config.dimension);
        let kept = kept(&lexicon.counts, config.subsampling);
        let schedule = Schedule::new(&config, rows.iter().map(Vec::len).sum());
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let mut read = 0;
        for _ in 0..config.epochs {
            shuffle(&mut order, &mut rng);
            for &document in &order {
                for &word in &rows[document] {
                    let rate = schedule.rate(read);
                    read += 1;
                    if kept[word] >= 1.0 || rng.random::<f64>() < kept[word] {
                        output.learn(&mut vectors[document], word, config.negative, rate, &mut rng);
                    }
                }
            }
        }
        Ok(Self { config, lexicon, kept, output, trained: vectors })
    }

    /// Vectors of the training documents, in their order; zeros for one without a known word.
    pub fn trained(&self) -> &[Vec<f32>] {
        &self.trained
    }

    /// The vector of a new document: trained like that of an old one while the words stand still. It depends on the
    /// document and the seed alone, not on what was asked before. Zeros for a document without a known word.
    pub fn infer(&self, document: &[String]) -> Vec<f32> {
        let words = self.lexicon.rows(document);
        let mut rng = StdRng::seed_from_u64(seed_of(self.config.seed, &words));
        let mut vector = start(&words, self.config.dimension, &mut rng);
        let schedule = Schedule::new(&self.config, words.len());
        for read in 0..self.config.epochs * words.len() {
            let word = words[read % words.len()];
            if self.kept[word] >= 1.0 || rng.random::<f64>() < self.kept[word] {
                self.output.fit(&mut vector, word, self.config.negative, schedule.rate(read), &mut rng);
            }
        }
        vector
    }
}

/// Where a document's vector begins.
fn start(words: &[usize], dimension: usize, rng: &mut StdRng) -> Vec<f32> {
    if words.is_empty() {
        return vec![0.0; dimension];
    }
    (0..dimension).map(|_| (rng.random::<f32>() - 0.5) / dimension as f32).collect()
}

/// Chance that a word is read, `sqrt(t / f) + t / f` of its share `f` of all words as in word2vec's program.
fn kept(counts: &[usize], threshold: f64) -> Vec<f64> {
    let all = counts.iter().sum::<usize>() as f64;
    let chance = |&count: &usize| {
        let ratio = threshold * all / count as f64;
        if threshold == 0.0 { 1.0 } else { ratio.sqrt() + ratio }
    };
    counts.iter().map(chance).collect()
}

/// A step size that falls along a line.
struct Schedule {
    first: f32,
    steps: f32,
}

impl Schedule {
    fn new(config: &Doc2VecConfig, words: usize) -> Self {
        Self { first: config.learning_rate, steps: (config.epochs * words).max(1) as f32 }
    }

    fn rate(&self, read: usize) -> f32 {
        self.first * (1.0 - (1.0 - LAST_RATE) * read as f32 / self.steps)
    }
}

/// Fisher and Yates.
fn shuffle(order: &mut [usize], rng: &mut StdRng) {
    for end in (1..order.len()).rev() {
        order.swap(end, rng.random_range(0..=end));
    }
}

/// 64-bit FNV-1a over the rows of a document.
fn seed_of(seed: u64, words: &[usize]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed;
    words.iter().fold(start, |hash, &word| (hash ^ word as u64).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classical::LogisticRegression;

    const SEA: [&str; 8] = ["wave", "tide", "shore", "boat", "sail", "gull", "salt", "harbour"];
    const KITCHEN: [&str; 8] = ["oven", "dough", "flour", "knife", "onion", "pan", "spice", "recipe"];
    const BOTH: [&str; 6] = ["the", "and", "with", "a", "of", "in"];

    /// Documents of twelve words, every other one about the sea.
    fn documents(n: usize, seed: u64) -> Vec<Vec<String>> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut word = |from: &[&str]| from[rng.random_range(0..from.len())].to_owned();
        let mut document = |at: usize| {
            let topic = if at.is_multiple_of(2) { SEA } else { KITCHEN };
            (0..12).map(|place| if place % 2 == 0 { word(&topic) } else { word(&BOTH) }).collect()
        };
        (0..n).map(&mut document).collect()
    }

    fn config(seed: u64) -> Doc2VecConfig {
        Doc2VecConfig { dimension: 20, epochs: 30, subsampling: 0.0, seed, ..Doc2VecConfig::default() }
    }

    fn centre(vectors: &[&Vec<f32>]) -> Vec<f32> {
        (0..vectors[0].len()).map(|i| vectors.iter().map(|v| v[i]).sum::<f32>() / vectors.len() as f32).collect()
    }

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn new_documents_lie_nearer_to_their_own_topic_and_a_regression_tells_them_apart() {
        let model = Doc2Vec::train(&documents(200, 1), config(3)).unwrap();
        let sea = centre(&model.trained().iter().step_by(2).collect::<Vec<_>>());
        let kitchen = centre(&model.trained().iter().skip(1).step_by(2).collect::<Vec<_>>());
        let labels: Vec<bool> = (0..200).map(|at| at % 2 == 0).collect();
        let regression = LogisticRegression::fit(model.trained(), &labels, 1.0).unwrap();
        let (mut near, mut right) = (0, 0);
        for (at, document) in documents(100, 2).iter().enumerate() {
            let vector = model.infer(document);
            near += usize::from((cosine(&vector, &sea) > cosine(&vector, &kitchen)) == (at % 2 == 0));
            right += usize::from((regression.logit(&vector) > 0.0) == (at % 2 == 0));
        }
        assert!(near >= 95 && right >= 95, "{near} near their topic, {right} classified, of 100");
    }

    #[test]
    fn equal_seeds_give_equal_vectors_and_inference_has_no_memory() {
        let corpus = documents(20, 1);
        let (a, b) = (Doc2Vec::train(&corpus, config(3)).unwrap(), Doc2Vec::train(&corpus, config(3)).unwrap());
        assert_eq!(a.trained(), b.trained());
        let before = a.infer(&corpus[0]);
        assert_ne!(a.infer(&corpus[1]), before);
        assert_eq!((a.infer(&corpus[0]), b.infer(&corpus[0])), (before.clone(), before));
        assert_ne!(Doc2Vec::train(&corpus, config(4)).unwrap().trained(), a.trained());
    }

    #[test]
    fn a_document_without_a_known_word_is_zeros() {
        let mut corpus = documents(20, 1);
        corpus.push(vec!["once".to_owned()]);
        corpus.push(Vec::new());
        let model = Doc2Vec::train(&corpus, config(1)).unwrap();
        assert!(model.trained()[20..].iter().flatten().all(|&value| value == 0.0));
        assert_eq!(model.infer(&["never".to_owned()]), vec![0.0; 20]);
        assert_eq!(model.infer(&[]), vec![0.0; 20]);
    }

    #[test]
    fn passing_over_frequent_words_still_learns_the_topics() {
        let subsampled = Doc2VecConfig { subsampling: 0.02, ..config(3) };
        let model = Doc2Vec::train(&documents(200, 1), subsampled).unwrap();
        let labels: Vec<bool> = (0..200).map(|at| at % 2 == 0).collect();
        let regression = LogisticRegression::fit(model.trained(), &labels, 1.0).unwrap();
        let fresh = documents(100, 2);
        let right =
            fresh.iter().enumerate().filter(|(at, d)| (regression.logit(&model.infer(d)) > 0.0) == (at % 2 == 0));
        assert!(right.count() >= 95);
    }

    #[test]
    fn settings_and_documents_of_no_use_are_refused() {
        let corpus = documents(4, 1);
        let refused = |config: Doc2VecConfig| Doc2Vec::train(&corpus, config).unwrap_err();
        assert!(matches!(refused(Doc2VecConfig { dimension: 0, ..config(1) }), ClassicalError::Setting { .. }));
        assert!(matches!(refused(Doc2VecConfig { epochs: 0, ..config(1) }), ClassicalError::Setting { .. }));
        assert!(matches!(
            refused(Doc2VecConfig { learning_rate: f32::NAN, ..config(1) }),
            ClassicalError::Setting { .. }
        ));
        assert!(matches!(refused(Doc2VecConfig { subsampling: 1.0, ..config(1) }), ClassicalError::Setting { .. }));
        assert!(matches!(
            refused(Doc2VecConfig { min_count: 999, ..config(1) }),
            ClassicalError::NoWords { least: 999 }
        ));
    }
}
