//! The text network as it serves.

use tch::Device;

use super::encoded;
use crate::checkpoint::Checkpoint;
use crate::device::DeviceChoice;
use crate::error::ModelError;
use crate::networks::{AttBiGru, TextBatch};
use crate::parameters::{Builder, to_rows};
use crate::text::{Evidence, NgramBag, Ngrams, TextInput, TokenisedText};
use crate::vectors::Encoded;

/// Most posts of one pass through the network; a longer list is cut.
const MAX_BATCH: usize = 128;
/// Most words of one pass, padding included: every post is padded to the longest, so one long text beside a hundred short
/// ones would make a hundred long texts of them.
const MAX_PADDED_WORDS: usize = 3_200;

/// attBiGRU on one device. `Send`, not `Sync`: one owner thread.
pub struct TextNetwork {
    network: AttBiGru,
    bag: NgramBag,
    table_rows: i64,
    device: Device,
}

impl TextNetwork {
    /// Builds the network from the checkpoint's weights.
    pub fn from_checkpoint(checkpoint: &Checkpoint, device: DeviceChoice) -> Result<Self, ModelError> {
        let device = device.resolve()?;
        let dimensions = &checkpoint.manifest().dimensions;
        let stored = checkpoint.stored()?;
        let network = AttBiGru::new(&Builder::stored(&stored, device).scope("text"), dimensions, 0.0)?;
        let bag = network.bag()?;
        Ok(Self { network, bag, table_rows: dimensions.embedding_rows, device })
    }

    /// Vectors (100 values) and attention over the protagonist's words, in order: a word's share of what the BiGRU
    /// looked at and of what its n-grams say, mixed as the two add to the logit. An empty list gives an empty list;
    /// [`ModelError::Input`] for a text without words or with rows of another vocabulary. A row's result does not
    /// depend on its batch mates beyond rounding (1e-5).
    pub fn encode(&self, inputs: &[TextInput]) -> Result<Vec<Encoded>, ModelError> {
        let _guard = tch::no_grad_guard();
        let lengths: Vec<usize> = inputs.iter().map(|input| input.protagonist.words.len()).collect();
        let mut results: Vec<Option<Encoded>> = inputs.iter().map(|_| None).collect();
        for pass in passes(&lengths) {
            let together: Vec<&TextInput> = pass.iter().map(|&post| &inputs[post]).collect();
            for (post, encoded) in pass.iter().zip(self.pass(&together)?) {
                results[*post] = Some(encoded);
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    fn pass(&self, posts: &[&TextInput]) -> Result<Vec<Encoded>, ModelError> {
        let evidence: Vec<Evidence> = posts.iter().map(|input| self.bag.evidence(input)).collect();
        let logits: Vec<[f32; 2]> = evidence.iter().map(|of_post| of_post.logits).collect();
        let batch = TextBatch::new(posts, &logits, self.table_rows, self.device)?;
        let forward = self.network.forward(&batch, false)?;
        let parts = to_rows(&forward.parts)?;
        let mut encoded = encoded(&forward.vector, &forward.attention, &batch.lengths)?;
        for ((of_post, evidence), parts) in encoded.iter_mut().zip(&evidence).zip(&parts) {
            credit(&mut of_post.attention, &evidence.per_word, parts);
        }
        Ok(encoded)
    }

    /// Runs one small batch, so that the first post does not pay for kernel selection and page faults.
    pub fn warm_up(&self) -> Result<(), ModelError> {
        let word = TokenisedText { words: vec![String::new(); 8], rows: vec![vec![0]; 8] };
        let input = TextInput { protagonist: word.clone(), supporting: Some(word), ngrams: Ngrams::default() };
        self.encode(&vec![input; 4]).map(drop)
    }
}

/// Which posts run together, each post once: those of like length, and no more than a pass may hold.
fn passes(lengths: &[usize]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&post| std::cmp::Reverse(lengths[post]));
    let mut passes: Vec<Vec<usize>> = Vec::new();
    for post in order {
        match passes.last_mut() {
            // The first one is the longest.
            Some(pass) if pass.len() < MAX_BATCH && (pass.len() + 1) * lengths[pass[0]] <= MAX_PADDED_WORDS => {
                pass.push(post);
            }
            _ => passes.push(vec![post]),
        }
    }
    passes
}

/// Mixes two distributions over the words, each by the size of its logit in `parts` (BiGRU, bag). The sum stays 1.
fn credit(attention: &mut [f32], per_word: &[f32], parts: &[f32]) {
    let total: f32 = per_word.iter().sum();
    let size = |part: usize| parts.get(part).map_or(0.0, |logit: &f32| logit.abs());
    let (read, counted) = (size(0), size(1));
    // Nothing of the protagonist in the bag, or two logits of 0: the BiGRU alone says where it looked.
    if total <= f32::EPSILON || read + counted <= f32::EPSILON {
        return;
    }
    let share = counted / (read + counted);
    for (weight, credit) in attention.iter_mut().zip(per_word) {
        *weight = (1.0 - share) * *weight + share * credit / total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_credited_as_the_two_paths_add_to_the_logit() {
        let mut attention = [0.5, 0.5, 0.0];
        credit(&mut attention, &[0.0, 3.0, 1.0], &[-1.0, 3.0]);
        assert_eq!(attention, [0.125, 0.6875, 0.1875]);
    }

    #[test]
    fn a_bag_that_says_nothing_leaves_the_attention_alone() {
        let mut attention = [0.25, 0.75];
        credit(&mut attention, &[0.0, 0.0], &[1.0, 2.0]);
        credit(&mut attention, &[1.0, 0.0], &[0.0, 0.0]);
        credit(&mut attention, &[1.0, 0.0], &[2.0, 0.0]);
        assert_eq!(attention, [0.25, 0.75]);
    }

    proptest::proptest! {
        #[test]
        fn every_post_runs_once_and_no_pass_is_over_its_limits(
            lengths in proptest::collection::vec(1_usize..=100, 0..400)
        ) {
            let passes = passes(&lengths);
            let mut posts: Vec<usize> = passes.concat();
            posts.sort_unstable();
            proptest::prop_assert_eq!(posts, (0..lengths.len()).collect::<Vec<_>>());
            for pass in passes {
                let longest = pass.iter().map(|&post| lengths[post]).max().unwrap_or(0);
                proptest::prop_assert!(pass.len() <= MAX_BATCH && pass.len() * longest <= MAX_PADDED_WORDS);
            }
        }

        #[test]
        fn credited_words_sum_to_one_and_none_is_negative(
            words in proptest::collection::vec((0.01_f32..1.0, 0.0_f32..5.0), 1..30), read in -9.0_f32..9.0, counted in -9.0_f32..9.0
        ) {
            let sum: f32 = words.iter().map(|word| word.0).sum();
            let mut attention: Vec<f32> = words.iter().map(|word| word.0 / sum).collect();
            let per_word: Vec<f32> = words.iter().map(|word| word.1).collect();
            credit(&mut attention, &per_word, &[read, counted]);
            proptest::prop_assert!((attention.iter().sum::<f32>() - 1.0).abs() < 1e-4);
            proptest::prop_assert!(attention.iter().all(|weight| *weight >= 0.0));
        }
    }
}
