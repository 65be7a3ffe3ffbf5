//! Training of the text network.

use jtav_model::networks::{AttBiGru, TextBatch, TextForward};
use jtav_model::parameters::{Builder, to_rows, to_vec};
use jtav_model::{Dimensions, ModalitySet, ModelError, Ngrams, TextInput, TokenisedText};
use rand::RngExt;
use rand::rngs::StdRng;
use tch::Device;

use crate::bag;
use crate::calibration::{Evidence, Stack};
use crate::encoder::Said;
use crate::learner::{Learner, learner_methods};
use crate::types::{EpochReport, LinearHead, TextConfig, TextExample, check_share};

/// Rows of a pass without gradients.
const PREDICT_BATCH: usize = 128;

/// attBiGRU and the bag of n-grams in training.
///
/// [`fit_bag`](Self::fit_bag) comes first; then every [`epoch`](Self::epoch) moves the BiGRU and how far the bag is
/// trusted, with the bag's word for each example taken from a fit that did not see it. On the examples it was fitted
/// to, a bag is right about nearly everything, and nothing would be left to learn.
pub struct TextTrainer {
    pub(crate) learner: Learner,
    network: AttBiGru,
    config: TextConfig,
    table_rows: i64,
    ngram_buckets: usize,
    /// The bag's word for each example, from a fit without it; empty before [`fit_bag`](Self::fit_bag).
    held_out: Vec<[f32; 2]>,
    device: Device,
}

impl TextTrainer {
    /// A fresh network for a vocabulary of this many rows ([`Vocabulary::rows_total`](jtav_model::Vocabulary::rows_total)).
    pub fn new(config: TextConfig, vocabulary_rows: usize, seed: u64) -> Result<Self, ModelError> {
        for (name, share) in [
            ("word_dropout", config.word_dropout),
            ("word_row_dropout", config.word_row_dropout),
            ("caption_dropout", config.caption_dropout),
            ("dropout", config.dropout),
        ] {
            check_share(name, share)?;
        }
        if !(config.bag_penalty > 0.0 && config.bag_penalty.is_finite()) {
            return Err(ModelError::Configuration(format!("bag_penalty is {}, expected above 0", config.bag_penalty)));
        }
        let device = config.device.resolve()?;
        let dimensions = Dimensions::modern(vocabulary_rows);
        let builder = Builder::fresh(seed, device);
        let network = AttBiGru::new(&builder.scope("text"), &dimensions, config.dropout)?;
        let learner = Learner::new(builder.finish(), config.optimisation, seed)?;
        let (table_rows, ngram_buckets) = (dimensions.embedding_rows, dimensions.ngram_buckets as usize);
        Ok(Self { learner, network, config, table_rows, ngram_buckets, held_out: Vec::new(), device })
    }

    /// Fits the bag of n-grams on the examples that the epochs will go over, in the same order; takes seconds for ten
    /// thousand texts. Without it the bag says nothing. [`ModelError::Input`] unless both labels are there.
    pub fn fit_bag(&mut self, examples: &[TextExample]) -> Result<(), ModelError> {
        let fitted = self.fitted_bag(examples)?;
        self.network.set_bag(&fitted.weight, &fitted.idf, fitted.bias)?;
        self.held_out = fitted.held_out;
        Ok(())
    }

    fn fitted_bag(&self, examples: &[TextExample]) -> Result<bag::FittedBag, ModelError> {
        let pairs: Vec<(&Ngrams, bool)> = examples.iter().map(|e| (&e.input.ngrams, e.positive)).collect();
        bag::fit(&pairs, self.ngram_buckets, self.config.bag_penalty, self.config.bag_least_documents)
    }

    /// The bag's word for each example, from a fit without it: that of [`fit_bag`](Self::fit_bag), else of a fit on
    /// these examples that leaves the tables alone.
    pub fn held_out_evidence(&self, examples: &[TextExample]) -> Result<Vec<[f32; 2]>, ModelError> {
        if self.held_out.len() == examples.len() {
            return Ok(self.held_out.clone());
        }
        Ok(self.fitted_bag(examples)?.held_out)
    }

    /// With dropout and augmentation, as in an epoch; for joint training.
    pub(crate) fn say(&self, parts: &[&(TextInput, [f32; 2])], rng: &mut StdRng) -> Result<Said, ModelError> {
        let inputs: Vec<TextInput> = parts.iter().map(|(input, _)| augment(input, &self.config, rng)).collect();
        let evidence: Vec<[f32; 2]> = parts.iter().map(|(_, evidence)| *evidence).collect();
        let batch = TextBatch::new(&inputs, &evidence, self.table_rows, self.device)?;
        let TextForward { vector, logit, .. } = self.network.forward(&batch, true)?;
        Ok(Said { vector, logit, beside: None })
    }

    /// One pass over the examples. [`ModelError::Input`] when the bag was fitted on another number of them.
    pub fn epoch(&mut self, examples: &[TextExample]) -> Result<EpochReport, ModelError> {
        if !self.held_out.is_empty() && self.held_out.len() != examples.len() {
            return Err(ModelError::Input(format!(
                "{} examples for a bag that was fitted on {}; fit it on the same ones",
                examples.len(),
                self.held_out.len()
            )));
        }
        let mut pass = self.learner.begin(examples.len())?;
        for indices in std::mem::take(&mut pass.batches) {
            let inputs: Vec<TextInput> =
                indices.iter().map(|&i| augment(&examples[i].input, &self.config, &mut pass.rng)).collect();
            let positive: Vec<bool> = indices.iter().map(|&i| examples[i].positive).collect();
            let evidence: Vec<[f32; 2]> =
                indices.iter().map(|&i| self.held_out.get(i).copied().unwrap_or_default()).collect();
            let batch = TextBatch::new(&inputs, &evidence, self.table_rows, self.device)?;
            let logits = self.network.forward(&batch, true)?.logit;
            let loss = self.learner.sentiment_loss(&logits, &positive)?;
            self.learner.step(&mut pass, &loss, indices.len())?;
        }
        Ok(self.learner.end(pass))
    }

    /// After the last epoch: fits on validation texts how far the BiGRU and the bag are trusted (two weights, none
    /// negative, and a constant). On training texts the BiGRU is right about nearly everything, so its gradients say
    /// nothing of what it is worth. [`ModelError::Input`] unless both labels are there.
    pub fn weigh(&mut self, inputs: &[TextInput], positive: &[bool]) -> Result<(), ModelError> {
        let parts = self.collect(inputs, |forward| to_rows(&forward.parts))?;
        let evidence: Vec<Evidence> = parts
            .iter()
            .zip(positive)
            .map(|(parts, &positive)| Evidence {
                parts: std::array::from_fn(|part| parts.get(part).copied().unwrap_or(0.0)),
                subset: ModalitySet::from_presence(true, false, false),
                positive,
            })
            .collect();
        let stack = Stack::fit(&evidence)?;
        let [read, counted, ..] = stack.trust;
        tracing::info!(read, counted, "text network weighed");
        self.network.weigh(read, counted, stack.bias + stack.offset[0])
    }

    /// Sentiment logits, in order.
    pub fn predict(&self, inputs: &[TextInput]) -> Result<Vec<f32>, ModelError> {
        self.collect(inputs, |forward| to_vec(&forward.logit))
    }

    /// Text vectors, in order.
    pub fn encode(&self, inputs: &[TextInput]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.collect(inputs, |forward| to_rows(&forward.vector))
    }

    fn collect<T>(
        &self,
        inputs: &[TextInput],
        take: impl Fn(&TextForward) -> Result<Vec<T>, ModelError>,
    ) -> Result<Vec<T>, ModelError> {
        let _guard = tch::no_grad_guard();
        let bag = self.network.bag()?;
        let mut results = Vec::with_capacity(inputs.len());
        for chunk in inputs.chunks(PREDICT_BATCH) {
            let evidence: Vec<[f32; 2]> = chunk.iter().map(|input| bag.evidence(input).logits).collect();
            let batch = TextBatch::new(chunk, &evidence, self.table_rows, self.device)?;
            results.extend(take(&self.network.forward(&batch, false)?)?);
        }
        Ok(results)
    }

    /// The last layer.
    pub fn head(&self) -> Result<LinearHead, ModelError> {
        let (weight, bias) = self.network.head()?;
        Ok(LinearHead { weight, bias })
    }

    learner_methods!();
}

/// Drops words, the rows of known words and the supporting parts; the bag's word for the example stays what it is.
fn augment(input: &TextInput, config: &TextConfig, rng: &mut StdRng) -> TextInput {
    let keep_supporting = !rng.random_bool(config.caption_dropout);
    TextInput {
        protagonist: thin_out(&input.protagonist, config, rng),
        supporting: input.supporting.as_ref().filter(|_| keep_supporting).map(|text| thin_out(text, config, rng)),
        ngrams: Ngrams::default(),
    }
}

fn thin_out(text: &TokenisedText, config: &TextConfig, rng: &mut StdRng) -> TokenisedText {
    let mut thinned = TokenisedText::default();
    let stays = if text.rows.is_empty() { 0 } else { rng.random_range(0..text.rows.len()) };
    for (at, rows) in text.rows.iter().enumerate() {
        if at != stays && rng.random_bool(config.word_dropout) {
            continue;
        }
        // A word's own row comes first and is followed by its n-grams; a row that stands alone has nothing to fall
        // back on.
        let by_pieces = rows.len() > 1 && rng.random_bool(config.word_row_dropout);
        thinned.rows.push(rows[usize::from(by_pieces)..].to_vec());
    }
    thinned
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn thinning_never_empties_a_text_or_a_word() {
        let config = TextConfig { word_dropout: 0.95, word_row_dropout: 0.95, ..TextConfig::default() };
        let text = TokenisedText { words: Vec::new(), rows: vec![vec![1], vec![2, 3], vec![4, 5, 6]] };
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..200 {
            let thinned = thin_out(&text, &config, &mut rng);
            assert!(!thinned.rows.is_empty() && thinned.rows.iter().all(|rows| !rows.is_empty()));
        }
    }
}
