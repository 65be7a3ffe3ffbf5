use std::sync::Arc;

use jtav_inference::{Backend, BackendError, BoxedBackend, StubBackend};
use jtav_model::{Checkpoint, EncodedText, ModelError, Placement, TextInput, TextNetwork};
use jtav_pipeline::{AttentionPart, Embedding, Encoded, Stage, StageError};
use jtav_schemas::{DeadLetterReason, WordWeight};

/// Words named in a published record.
const TOP_WORDS: usize = 5;

/// What the network says of the texts of a post.
#[derive(Debug, Clone, PartialEq)]
pub struct TextOutput {
    /// Vector, and the words that weighed most.
    pub encoded: Encoded,
    /// What the texts are about; none from a checkpoint without a sentence encoder.
    pub semantic: Option<Embedding>,
}

type Output = Result<TextOutput, StageError>;

/// The attBiGRU of a checkpoint on one thread.
pub struct TextBackend {
    network: TextNetwork,
}

impl TextBackend {
    /// Loads and warms the network on the calling thread.
    pub fn load(
        checkpoint: &Arc<Checkpoint>,
        placement: Placement,
    ) -> Result<BoxedBackend<TextInput, Output>, BackendError> {
        jtav_model::device::single_threaded();
        let network = TextNetwork::from_checkpoint(checkpoint, placement).map_err(failure)?;
        network.warm_up().map_err(failure)?;
        Ok(Box::new(Self { network }))
    }
}

impl Backend for TextBackend {
    type Item = TextInput;
    type Output = Output;

    fn cost(&self, item: &TextInput) -> u64 {
        cost(item)
    }

    fn forward(&mut self, items: &[TextInput]) -> Result<Vec<Output>, BackendError> {
        let encoded = self.network.encode(items).map_err(failure)?;
        Ok(items.iter().zip(encoded).map(|(input, encoded)| finish(input, encoded)).collect())
    }
}

/// Pieces, which the sentence encoder reads; words where there are more, since each has its step in the BiGRU. Both have an
/// upper bound, whatever the texts. The reads of the bag of n-grams, most for long words, cost next to nothing.
fn cost(item: &TextInput) -> u64 {
    item.piece_count().max(item.word_count()) as u64
}

fn finish(input: &TextInput, text: EncodedText) -> Output {
    let EncodedText { encoded, semantic } = text;
    let top_words = top_words(input, &encoded.attention);
    let vector = embedding(encoded.vector)?;
    let semantic = semantic.map(embedding).transpose()?;
    Ok(TextOutput { encoded: Encoded { vector, attention: AttentionPart::Words(top_words) }, semantic })
}

/// The words that got the most attention. Punctuation is read and never named; what it got is given to nobody else.
fn top_words(input: &TextInput, attention: &[f32]) -> Vec<WordWeight> {
    let mut words: Vec<(usize, &str, f32)> = input
        .words()
        .zip(attention)
        .enumerate()
        .filter(|(_, (word, _))| !word.is_mark)
        .map(|(position, (word, weight))| (position, word.text.as_str(), *weight))
        .collect();
    words.sort_by(|a, b| b.2.total_cmp(&a.2));
    words.truncate(TOP_WORDS);
    let named = |(position, word, weight): (usize, &str, f32)| WordWeight {
        word: word.to_owned(),
        position: position as u32,
        weight,
    };
    words.into_iter().map(named).collect()
}

fn embedding(values: Vec<f32>) -> Result<Embedding, StageError> {
    Embedding::new(values)
        .map_err(|error| StageError::permanent(Stage::TextEncoder, DeadLetterReason::NonFiniteOutput, error))
}

fn failure(error: ModelError) -> BackendError {
    if error.is_fatal() { BackendError::Device(error.to_string()) } else { BackendError::Batch(error.to_string()) }
}

/// Answers at once with a fixed vector; for load tests of everything else.
pub fn stub() -> BoxedBackend<TextInput, Output> {
    Box::new(StubBackend::new(|_: &TextInput| {
        let vector = embedding(vec![1.0; 100])?;
        Ok(TextOutput { encoded: Encoded { vector, attention: AttentionPart::Words(Vec::new()) }, semantic: None })
    }))
}

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
