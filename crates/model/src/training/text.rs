//! Training of the text network.

use rand::RngExt;
use rand::rngs::StdRng;
use tch::Device;

use super::learner::{Learner, learner_methods};
use super::types::{EpochReport, LinearHead, TextConfig, TextExample};
use super::{check_share, linear_head};
use crate::networks::{AttBiGru, TextBatch};
use crate::parameters::{Builder, to_rows, to_vec};
use crate::text::TokenisedText;
use crate::{Dimensions, ModelError, TextInput};

/// Rows of a pass without gradients.
const PREDICT_BATCH: usize = 128;

/// attBiGRU in training.
pub struct TextTrainer {
    pub(super) learner: Learner,
    network: AttBiGru,
    config: TextConfig,
    table_rows: i64,
    device: Device,
}

impl TextTrainer {
    /// A fresh network for a vocabulary of this many rows ([`Vocabulary::rows_total`](crate::Vocabulary::rows_total)).
    pub fn new(config: TextConfig, vocabulary_rows: usize, seed: u64) -> Result<Self, ModelError> {
        for (name, share) in [
            ("word_dropout", config.word_dropout),
            ("word_row_dropout", config.word_row_dropout),
            ("caption_dropout", config.caption_dropout),
            ("dropout", config.dropout),
        ] {
            check_share(name, share)?;
        }
        let device = config.device.resolve()?;
        let dimensions = Dimensions::modern(vocabulary_rows);
        let builder = Builder::fresh(seed, device);
        let network = AttBiGru::new(&builder.scope("text"), &dimensions, config.dropout)?;
        let learner = Learner::new(builder.finish(), config.optimisation, seed)?;
        Ok(Self { learner, network, config, table_rows: dimensions.embedding_rows, device })
    }

    /// One pass over the examples.
    pub fn epoch(&mut self, examples: &[TextExample]) -> Result<EpochReport, ModelError> {
        let mut pass = self.learner.begin(examples.len())?;
        for indices in std::mem::take(&mut pass.batches) {
            let inputs: Vec<TextInput> =
                indices.iter().map(|&i| augment(&examples[i].input, &self.config, &mut pass.rng)).collect();
            let positive: Vec<bool> = indices.iter().map(|&i| examples[i].positive).collect();
            let batch = TextBatch::new(&inputs, self.table_rows, self.device)?;
            let logits = self.network.forward(&batch, true)?.logit;
            let loss = self.learner.sentiment_loss(&logits, &positive)?;
            self.learner.step(&mut pass, &loss, indices.len())?;
        }
        Ok(self.learner.end(pass))
    }

    /// Sentiment logits, in order.
    pub fn predict(&self, inputs: &[TextInput]) -> Result<Vec<f32>, ModelError> {
        let _guard = tch::no_grad_guard();
        let mut logits = Vec::with_capacity(inputs.len());
        for chunk in inputs.chunks(PREDICT_BATCH) {
            let batch = TextBatch::new(chunk, self.table_rows, self.device)?;
            logits.extend(to_vec(&self.network.forward(&batch, false)?.logit)?);
        }
        Ok(logits)
    }

    /// Text vectors, in order.
    pub fn encode(&self, inputs: &[TextInput]) -> Result<Vec<Vec<f32>>, ModelError> {
        let _guard = tch::no_grad_guard();
        let mut vectors = Vec::with_capacity(inputs.len());
        for chunk in inputs.chunks(PREDICT_BATCH) {
            let batch = TextBatch::new(chunk, self.table_rows, self.device)?;
            vectors.extend(to_rows(&self.network.forward(&batch, false)?.vector)?);
        }
        Ok(vectors)
    }

    /// The last layer.
    pub fn head(&self) -> Result<LinearHead, ModelError> {
        linear_head(self.network.head())
    }

    learner_methods!();
}

/// Drops words, the rows of known words and the supporting parts.
fn augment(input: &TextInput, config: &TextConfig, rng: &mut StdRng) -> TextInput {
    let keep_supporting = !rng.random_bool(config.caption_dropout);
    TextInput {
        protagonist: thin_out(&input.protagonist, config, rng),
        supporting: input.supporting.as_ref().filter(|_| keep_supporting).map(|text| thin_out(text, config, rng)),
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
