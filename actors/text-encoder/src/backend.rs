use std::sync::Arc;

use jtav_inference::{Backend, BackendError, BoxedBackend, StubBackend};
use jtav_model::{Checkpoint, DeviceChoice, ModelError, TextInput, TextNetwork};
use jtav_pipeline::{AttentionPart, Embedding, Encoded, Stage, StageError};
use jtav_schemas::{DeadLetterReason, WordWeight};

/// Words named in a published record.
const TOP_WORDS: usize = 5;
/// Rows of an ordinary word: itself and the n-grams of eight characters, `<` and `>` included.
const ROWS_A_WORD: u64 = 19;

type Output = Result<Encoded, StageError>;

/// The attBiGRU of a checkpoint on one thread.
pub struct TextBackend {
    network: TextNetwork,
}

impl TextBackend {
    /// Loads and warms the network on the calling thread.
    pub fn load(
        checkpoint: &Arc<Checkpoint>,
        device: DeviceChoice,
    ) -> Result<BoxedBackend<TextInput, Output>, BackendError> {
        jtav_model::device::single_threaded();
        let network = TextNetwork::from_checkpoint(checkpoint, device).map_err(failure)?;
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

/// Words. Long ones count for as many as their rows would be of ordinary ones: a post of a hundred words of forty letters
/// each reads eight times the rows of another.
fn cost(item: &TextInput) -> u64 {
    (item.word_count() as u64).max(item.row_count() as u64 / ROWS_A_WORD)
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
pub fn stub() -> BoxedBackend<TextInput, Output> {
    Box::new(StubBackend::new(|_: &TextInput| {
        let vector = Embedding::new(vec![1.0; 100])
            .map_err(|error| StageError::permanent(Stage::TextEncoder, DeadLetterReason::NonFiniteOutput, error))?;
        Ok(Encoded { vector, attention: AttentionPart::Words(Vec::new()) })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jtav_model::{Tokenizer, Vocabulary, VocabularyConfig};

    fn input(text: &str) -> TextInput {
        let vocabulary = Vocabulary::build(std::iter::empty::<Vec<String>>(), VocabularyConfig::default());
        TextInput::from_parts(&Tokenizer::new(), &vocabulary, &[("body", text)]).unwrap()
    }

    #[test]
    fn a_post_costs_its_words_and_long_words_cost_more() {
        assert_eq!(cost(&input("so good")), 2);
        assert_eq!(cost(&input(&"word ".repeat(500))), 100);
        let long = format!("{} ", "abcdefghij".repeat(4)).repeat(500);
        assert!((700..1_000).contains(&cost(&input(&long))), "{}", cost(&input(&long)));
    }

    /// The record of a post has a bound of its own, whatever its texts.
    #[test]
    fn words_of_a_record_are_few_and_short() {
        for text in ["x", "字", "İ", "👨\u{200D}", "\u{10FFFF}a", "#aB"] {
            let input = input(&format!("a {}", text.repeat(100_000)));
            let attention = vec![0.5; input.protagonist.words.len()];
            let encoded = finish(&input, jtav_model::Encoded { vector: vec![1.0], attention }).unwrap();
            let AttentionPart::Words(words) = encoded.attention else { panic!("not words") };
            assert!(words.len() <= TOP_WORDS && words.iter().all(|word| word.word.len() <= 4 * 80), "{text}");
        }
    }
}
