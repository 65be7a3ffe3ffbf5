//! Training of the text network on its words' vectors.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use jtav_model::layers::Linear;
use jtav_model::networks::{AttBiGru, TextBatch, TextDropout, TextForward};
use jtav_model::parameters::{Builder, to_rows, to_vec};
use jtav_model::text::NgramBag;
use jtav_model::word_vectors::WordFeatures;
use jtav_model::{Dimensions, ModelError, Ngrams, TextInput};
use rand::RngExt;
use rand::seq::SliceRandom;
use tch::{Device, Kind, Reduction, Tensor};

use crate::bag;
use crate::learner::Learner;
use crate::tensors::Tensors;
use crate::types::{EpochReport, LinearHead, TextConfig, TextTarget, check_share};

/// Posts of a pass without gradients.
const PREDICT_BATCH: usize = 128;
/// Epochs begin and end with small steps (Smith and Topin 2018): share of all steps until the largest, how much smaller the
/// first is, and the last.
const WARM_UP: f64 = 0.1;
const FIRST_STEP: f64 = 1.0 / 25.0;
const LAST_STEP: f64 = 1e-4 / 25.0;
/// Words by which texts of one batch may differ beyond what their order says, so that batches are not the same ones each epoch.
const LENGTH_NOISE: f64 = 6.0;

/// What the network reads of one text, made once and kept through all epochs.
#[derive(Debug)]
pub struct TextFeatures {
    words: WordFeatures,
    ngrams: Ngrams,
    lexicon: f32,
}

impl TextFeatures {
    /// In f16, which halves what thousands of texts take and loses less than dropout adds.
    pub fn new(input: &TextInput, words: &WordFeatures) -> Result<Self, ModelError> {
        let half = |tensor: &Tensor| tensor.f_to_kind(Kind::Half);
        let words = WordFeatures {
            protagonist: half(&words.protagonist)?,
            supporting: words.supporting.as_ref().map(half).transpose()?,
            sentence: None,
        };
        Ok(Self { words, ngrams: input.ngrams.clone(), lexicon: input.lexicon })
    }

    /// N-grams of the words, for [`TextTrainer::fit_bag`].
    pub fn ngrams(&self) -> &Ngrams {
        &self.ngrams
    }

    fn length(&self) -> i64 {
        let rows = |tensor: &Tensor| tensor.size().first().copied().unwrap_or(0);
        rows(&self.words.protagonist) + self.words.supporting.as_ref().map_or(0, rows)
    }
}

/// One text and what its raters said.
#[derive(Debug)]
pub struct TextExample {
    pub features: TextFeatures,
    pub target: TextTarget,
}

/// attBiGRU in training, with two heads beside those that serve: what raters said on their scale, and how much they
/// disagreed. The two shape what is read and go when training ends.
pub struct TextTrainer {
    pub(crate) learner: Learner,
    network: AttBiGru,
    /// To `[valence, mixed]`.
    beside: Linear,
    bag: Option<NgramBag>,
    config: TextConfig,
    dimensions: Dimensions,
    device: Device,
}

/// Where the tensors of the heads beside are; no part of a checkpoint.
const BESIDE: &str = "beside.";

impl TextTrainer {
    /// A fresh network of a profile.
    pub fn new(config: TextConfig, dimensions: Dimensions, seed: u64) -> Result<Self, ModelError> {
        let TextConfig { word_dropout, channel_dropout, dropout, bag_penalty, .. } = config;
        for (name, share) in
            [("word_dropout", word_dropout), ("channel_dropout", channel_dropout), ("dropout", dropout)]
        {
            check_share(name, share)?;
        }
        if !(bag_penalty > 0.0 && bag_penalty.is_finite()) {
            return Err(ModelError::Configuration(format!("bag_penalty is {bag_penalty}, expected above 0")));
        }
        let device = config.device.resolve()?;
        let builder = Builder::fresh(seed, device);
        let shares = TextDropout { words: word_dropout, channels: channel_dropout, pooled: dropout };
        let mut network = AttBiGru::new(&builder.scope("text"), &dimensions, shares)?;
        let bag_weight = if dimensions.ngram_buckets > 0 { config.bag_weight } else { 0.0 };
        network.weigh_counted(bag_weight, config.lexicon_weight)?;
        let beside = Linear::new(&builder.scope("beside"), dimensions.vector, 2)?;
        let learner = Learner::new(builder.finish(), config.optimisation, seed)?;
        Ok(Self { learner, network, beside, bag: None, config, dimensions, device })
    }

    /// Fits the bag of n-grams; takes seconds for ten thousand texts. Without it the bag says nothing.
    ///
    /// # Errors
    /// [`ModelError::Input`] unless both labels are there, [`ModelError::Configuration`] in a profile without a bag.
    pub fn fit_bag(&mut self, examples: &[(&Ngrams, bool)]) -> Result<(), ModelError> {
        let buckets = self.dimensions.ngram_buckets as usize;
        let fitted = bag::fit(examples, buckets, self.config.bag_penalty, self.config.bag_least_documents)?;
        self.network.set_bag(&fitted.weight, &fitted.idf, fitted.bias)?;
        self.bag = self.network.bag()?;
        Ok(())
    }

    /// Goes over the chosen examples of `pool` in each of `epochs`, which says which. What is counted takes no part: the
    /// network is to find out by itself what it can read. `on_epoch` hears of each; its error ends the training.
    ///
    /// # Errors
    /// Those of `on_epoch`, a loss that diverges, an epoch without examples.
    pub fn fit(
        &mut self,
        pool: &[TextExample],
        epochs: &[Vec<usize>],
        mut on_epoch: impl FnMut(&EpochReport) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let size = self.config.optimisation.batch_size;
        let steps: usize = epochs.iter().map(|chosen| chosen.len().div_ceil(size)).sum();
        let mut step = 0;
        for chosen in epochs {
            let mut pass = self.learner.begin(chosen.len())?;
            let lengths: Vec<i64> = chosen.iter().map(|&at| pool[at].features.length()).collect();
            let mut order: Vec<(f64, usize)> = lengths
                .iter()
                .zip(chosen)
                .map(|(&length, &at)| (length as f64 + LENGTH_NOISE * pass.rng.random::<f64>(), at))
                .collect();
            order.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut batches: Vec<Vec<usize>> =
                order.chunks(size).map(|batch| batch.iter().map(|&(_, at)| at).collect()).collect();
            batches.shuffle(&mut pass.rng);
            for batch in batches {
                self.learner.set_learning_rate(self.config.optimisation.learning_rate * size_of_step(step, steps));
                step += 1;
                let examples: Vec<&TextExample> = batch.iter().map(|&at| &pool[at]).collect();
                let loss = self.loss(&examples)?;
                self.learner.step(&mut pass, &loss, examples.len())?;
            }
            on_epoch(&self.learner.end(pass))?;
        }
        Ok(())
    }

    fn loss(&self, examples: &[&TextExample]) -> Result<Tensor, ModelError> {
        let rows: Vec<(&WordFeatures, f32, f32)> =
            examples.iter().map(|example| (&example.features.words, 0.0, 0.0)).collect();
        let batch = TextBatch::new(&rows, self.dimensions.word_width, self.device)?;
        let forward = self.network.forward(&batch, true)?;
        let targets = Targets::new(examples, self.device)?;
        let classes = three_way(&forward)?.f_log_softmax(1, Kind::Float)?;
        let classes = classes.f_mul(&targets.votes)?.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?;
        let beside = self.beside.forward(&forward.vector.f_dropout(self.config.dropout, true)?)?;
        let valence = beside.f_select(1, 0)?.f_tanh()?.f_mse_loss(&targets.valence, Reduction::None)?;
        let none: Option<&Tensor> = None;
        let mixed = beside.f_select(1, 1)?;
        let mixed = mixed.f_binary_cross_entropy_with_logits(&targets.mixed, none, none, Reduction::None)?;
        let loss = classes.f_neg()?;
        let loss = loss.f_add(&valence.f_mul_scalar(self.config.valence_weight)?)?;
        Ok(loss.f_add(&mixed.f_mul_scalar(self.config.mixed_weight)?)?.f_mean(Kind::Float)?)
    }

    /// Logits of polarity (what is counted included) and of neutral, in order.
    pub fn predict(&self, texts: &[&TextFeatures]) -> Result<Vec<[f32; 2]>, ModelError> {
        self.collect(texts, |forward| {
            Ok(to_vec(&forward.polarity)?.into_iter().zip(to_vec(&forward.neutral)?).map(|(s, n)| [s, n]).collect())
        })
    }

    /// Text vectors, in order.
    pub fn encode(&self, texts: &[&TextFeatures]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.collect(texts, |forward| to_rows(&forward.vector))
    }

    fn collect<T>(
        &self,
        texts: &[&TextFeatures],
        take: impl Fn(&TextForward) -> Result<Vec<T>, ModelError>,
    ) -> Result<Vec<T>, ModelError> {
        let _guard = tch::no_grad_guard();
        // Of like length together; the results go back to their places.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&at| texts[at].length());
        let mut results: Vec<Option<T>> = texts.iter().map(|_| None).collect();
        for places in order.chunks(PREDICT_BATCH) {
            let row = |&at: &usize| {
                let text = texts[at];
                let counted = self.bag.as_ref().map_or(0.0, |bag| bag.logit(&text.ngrams));
                (&text.words, counted, text.lexicon)
            };
            let rows: Vec<(&WordFeatures, f32, f32)> = places.iter().map(row).collect();
            let batch = TextBatch::new(&rows, self.dimensions.word_width, self.device)?;
            let values = take(&self.network.forward(&batch, false)?)?;
            for (&at, value) in places.iter().zip(values) {
                results[at] = Some(value);
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// Multiplies each of the two logits, what is counted with the first, and adds a constant to it: what a fit on texts that
    /// took no part in training found.
    pub fn calibrate(&mut self, scale: [f32; 2], shift: [f32; 2]) -> Result<(), ModelError> {
        self.network.calibrate(scale, shift)
    }

    /// The last layer's row of the polarity.
    pub fn polarity_head(&self) -> Result<LinearHead, ModelError> {
        let (weight, bias) = self.network.polarity_head()?;
        Ok(LinearHead { weight, bias })
    }

    /// The last layer's row of neutral.
    pub fn neutral_head(&self) -> Result<LinearHead, ModelError> {
        let (weight, bias) = self.network.neutral_head()?;
        Ok(LinearHead { weight, bias })
    }

    /// Writes the weights, what is counted included, to one safetensors file.
    pub fn save_state(&self, path: &std::path::Path) -> Result<(), ModelError> {
        self.learner.save_state(path, false)
    }

    /// Takes up the weights of [`save_state`](Self::save_state). On an error nothing has changed.
    pub fn load_state(&mut self, path: &std::path::Path) -> Result<(), ModelError> {
        self.learner.load_state(path)?;
        self.bag = self.network.bag()?;
        Ok(())
    }

    /// What a checkpoint holds of it, by name.
    pub fn tensors(&self) -> Tensors {
        let all = self.learner.parameters.tensors.iter().filter(|(name, _)| !name.starts_with(BESIDE));
        let copies: BTreeMap<String, Tensor> =
            all.map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        copies.into()
    }

    /// Trained values.
    pub fn parameter_count(&self) -> usize {
        self.learner.parameters.count()
    }
}

/// `[batch, 3]` logits of negative, neutral and positive.
fn three_way(forward: &TextForward) -> Result<Tensor, ModelError> {
    let half = forward.polarity.f_mul_scalar(0.5)?;
    Ok(Tensor::f_stack(&[half.f_neg()?, forward.neutral.shallow_clone(), half], 1)?)
}

/// Share of the largest step that this one has: a cosine up, a cosine down.
fn size_of_step(step: usize, steps: usize) -> f64 {
    let cosine = |from: f64, to: f64, share: f64| to + (from - to) * (1.0 + (PI * share).cos()) / 2.0;
    let turn = (WARM_UP * steps as f64).max(1.0);
    let at = step as f64;
    if at < turn {
        cosine(FIRST_STEP, 1.0, at / turn)
    } else {
        cosine(1.0, LAST_STEP, ((at - turn) / (steps as f64 - turn).max(1.0)).min(1.0))
    }
}

struct Targets {
    /// `[batch, 3]`, rows sum to 1.
    votes: Tensor,
    /// `[batch]`, -1 to 1.
    valence: Tensor,
    /// `[batch]`, 0 to 1.
    mixed: Tensor,
}

impl Targets {
    fn new(examples: &[&TextExample], device: Device) -> Result<Self, ModelError> {
        let votes: Vec<f32> = examples.iter().flat_map(|example| example.target.votes).collect();
        let valence: Vec<f32> = examples.iter().map(|example| example.target.valence).collect();
        let mixed: Vec<f32> = examples.iter().map(|example| example.target.mixed()).collect();
        let on = |values: &[f32]| Tensor::f_from_slice(values)?.f_to_device(device);
        Ok(Self { votes: on(&votes)?.f_view([-1, 3])?, valence: on(&valence)?, mixed: on(&mixed)? })
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
