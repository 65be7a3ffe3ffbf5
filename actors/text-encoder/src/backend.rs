use std::sync::Arc;

use jtav_inference::{Backend, BackendError, BoxedBackend, StubBackend};
use jtav_model::{Checkpoint, DeviceChoice, ModelError, TextInput, TextNetwork, Tokenizer};
use jtav_pipeline::{AttentionPart, Embedding, Encoded, Stage, StageError};
use jtav_schemas::{DeadLetterReason, TextPart, WordWeight};

/// Words named in a published record.
const TOP_WORDS: usize = 5;
/// Characters of one text that are read; the encoder keeps 100 tokens, so more could not count.
const MAX_TEXT_CHARS: usize = 20_000;

type Output = Result<Option<Encoded>, StageError>;

/// The attBiGRU of a checkpoint on one thread.
pub struct TextBackend {
    network: TextNetwork,
    checkpoint: Arc<Checkpoint>,
    tokenizer: Tokenizer,
}

impl TextBackend {
    /// Loads and warms the network on the calling thread.
    pub fn load(
        checkpoint: &Arc<Checkpoint>,
        device: DeviceChoice,
    ) -> Result<BoxedBackend<Vec<TextPart>, Output>, BackendError> {
        jtav_model::device::single_threaded();
        let network = TextNetwork::from_checkpoint(checkpoint, device).map_err(failure)?;
        network.warm_up().map_err(failure)?;
        Ok(Box::new(Self { network, checkpoint: Arc::clone(checkpoint), tokenizer: Tokenizer::new() }))
    }

    fn tokenise(&self, texts: &[TextPart]) -> Option<TextInput> {
        let parts: Vec<(&str, String)> =
            texts.iter().map(|part| (part.role.as_str(), part.text.chars().take(MAX_TEXT_CHARS).collect())).collect();
        TextInput::from_parts(&self.tokenizer, self.checkpoint.vocabulary(), &parts)
    }
}

impl Backend for TextBackend {
    type Item = Vec<TextPart>;
    type Output = Output;

    /// Tokens, near enough: a token is about four bytes, and at most 100 are kept.
    fn cost(&self, item: &Vec<TextPart>) -> u64 {
        let bytes: usize = item.iter().map(|part| part.text.len()).sum();
        (bytes as u64 / 4).clamp(1, 100)
    }

    fn forward(&mut self, items: &[Vec<TextPart>]) -> Result<Vec<Output>, BackendError> {
        let inputs: Vec<Option<TextInput>> = items.iter().map(|texts| self.tokenise(texts)).collect();
        let readable: Vec<TextInput> = inputs.iter().flatten().cloned().collect();
        let mut encoded = self.network.encode(&readable).map_err(failure)?.into_iter();
        Ok(inputs
            .iter()
            .map(|input| match (input, input.as_ref().and_then(|_| encoded.next())) {
                (Some(input), Some(encoded)) => finish(input, encoded).map(Some),
                _ => Ok(None),
            })
            .collect())
    }
}

fn finish(input: &TextInput, encoded: jtav_model::Encoded) -> Result<Encoded, StageError> {
    let mut words: Vec<WordWeight> = input
        .protagonist
        .words
        .iter()
        .zip(&encoded.attention)
        .enumerate()
        .map(|(position, (word, weight))| WordWeight { word: word.clone(), position: position as u32, weight: *weight })
        .collect();
    words.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    words.truncate(TOP_WORDS);
    let vector = Embedding::new(encoded.vector)
        .map_err(|error| StageError::permanent(Stage::TextEncoder, DeadLetterReason::NonFiniteOutput, error))?;
    Ok(Encoded { vector, attention: AttentionPart::Words(words) })
}

fn failure(error: ModelError) -> BackendError {
    if error.is_fatal() { BackendError::Device(error.to_string()) } else { BackendError::Batch(error.to_string()) }
}

/// Answers at once with a fixed vector; for load tests of everything else.
pub fn stub() -> BoxedBackend<Vec<TextPart>, Output> {
    Box::new(StubBackend::new(|_: &Vec<TextPart>| {
        let vector = Embedding::new(vec![1.0; 100])
            .map_err(|error| StageError::permanent(Stage::TextEncoder, DeadLetterReason::NonFiniteOutput, error))?;
        Ok(Some(Encoded { vector, attention: AttentionPart::Words(Vec::new()) }))
    }))
}
