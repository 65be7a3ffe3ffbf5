//! The text network as it serves.

use tch::{Device, Tensor};

use super::encoded;
use crate::checkpoint::Checkpoint;
use crate::device::DeviceChoice;
use crate::error::ModelError;
use crate::networks::{AttBiGru, SemanticSpace, TextBatch, TextDropout};
use crate::parameters::{Builder, to_rows};
use crate::passes::passes;
use crate::text::{NgramBag, Pieces, ReadText, TextInput, Word};
use crate::trunk::TrunkPrecision;
use crate::vectors::Encoded;
use crate::word_vectors::{WordFeatures, WordVectors};

/// Most posts of one pass through the network; a longer list is cut.
const MAX_BATCH: usize = 128;
/// Most words of one pass, padding included: every post is padded to the longest, so one long text beside a hundred short
/// ones would make a hundred long texts of them.
const MAX_PADDED_WORDS: usize = 3_200;

/// attBiGRU on its words' vectors, on one device. `Send`, not `Sync`: one owner thread.
pub struct TextNetwork {
    words: WordVectors,
    network: AttBiGru,
    bag: Option<NgramBag>,
    semantic: Option<SemanticSpace>,
    device: Device,
}

/// An encoded post.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedText {
    /// Vector (100 values) and attention over the words, those of the protagonist first.
    pub encoded: Encoded,
    /// What the post is about: length 1, compared by the cosine; none in a profile without a sentence encoder, and for a text
    /// that has no direction.
    pub semantic: Option<Vec<f32>>,
}

impl TextNetwork {
    /// Builds the network from the checkpoint's weights, on the base weights that it names.
    ///
    /// # Errors
    /// A base that is missing ([`ModelError::BaseMissing`], which says the command) or damaged.
    pub fn from_checkpoint(checkpoint: &Checkpoint, device: DeviceChoice) -> Result<Self, ModelError> {
        Self::build(checkpoint, device, None)
    }

    /// The same with all arithmetic in f32, for references.
    pub fn from_checkpoint_f32(checkpoint: &Checkpoint, device: DeviceChoice) -> Result<Self, ModelError> {
        Self::build(checkpoint, device, Some(TrunkPrecision::Float))
    }

    fn build(
        checkpoint: &Checkpoint,
        device: DeviceChoice,
        precision: Option<TrunkPrecision>,
    ) -> Result<Self, ModelError> {
        let manifest = checkpoint.manifest();
        let words = WordVectors::open(manifest, checkpoint.bases(), device, precision)?;
        let device = device.resolve()?;
        let dimensions = &manifest.dimensions;
        if words.width() != dimensions.word_width {
            let (found, named) = (words.width(), dimensions.word_width);
            return Err(ModelError::Configuration(format!(
                "words have {found} values, dimensions.word_width is {named}"
            )));
        }
        let stored = checkpoint.stored()?;
        let builder = Builder::stored(&stored, device);
        let scope = builder.scope("text");
        let network = AttBiGru::new(&scope, dimensions, TextDropout::default())?;
        let semantic = SemanticSpace::new(&scope.sub("semantic"), dimensions)?;
        let bag = network.bag()?;
        Ok(Self { words, network, bag, semantic, device })
    }

    /// Vectors, attention and what the posts are about, in order. A word's attention is its share of what the BiGRU looked at
    /// and of what its n-grams say, mixed as the two add to the polarity. An empty list gives an empty list;
    /// [`ModelError::Input`] for a text without words or pieces. A row's result depends on its batch mates by rounding alone
    /// ([`TrunkPrecision`]).
    pub fn encode(&self, inputs: &[TextInput]) -> Result<Vec<EncodedText>, ModelError> {
        let _guard = tch::no_grad_guard();
        let lengths: Vec<usize> = inputs.iter().map(TextInput::word_count).collect();
        let mut results: Vec<Option<EncodedText>> = inputs.iter().map(|_| None).collect();
        for pass in passes(&lengths, has_room) {
            let together: Vec<&TextInput> = pass.iter().map(|&post| &inputs[post]).collect();
            for (post, encoded) in pass.iter().zip(self.pass(&together)?) {
                results[*post] = Some(encoded);
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    fn pass(&self, posts: &[&TextInput]) -> Result<Vec<EncodedText>, ModelError> {
        let words = self.words.of(posts)?;
        let counted: Vec<(f32, Vec<f32>)> = posts
            .iter()
            .map(|post| match &self.bag {
                Some(bag) => {
                    let evidence = bag.evidence(post);
                    (evidence.logits.iter().sum(), evidence.per_word)
                }
                None => (0.0, Vec::new()),
            })
            .collect();
        let rows: Vec<(&WordFeatures, f32, f32)> = words
            .iter()
            .zip(&counted)
            .zip(posts)
            .map(|((words, (bag, _)), post)| (words, *bag, post.lexicon))
            .collect();
        let batch = TextBatch::new(&rows, self.words.width(), self.device)?;
        let forward = self.network.forward(&batch, false)?;
        let parts = to_rows(&forward.parts)?;
        let mut encoded = encoded(&forward.vector, &forward.attention, &batch.lengths)?;
        for ((of_post, (_, per_word)), parts) in encoded.iter_mut().zip(&counted).zip(&parts) {
            credit(&mut of_post.attention, per_word, parts);
        }
        let semantic = self.semantic(&words)?;
        Ok(encoded.into_iter().zip(semantic).map(|(encoded, semantic)| EncodedText { encoded, semantic }).collect())
    }

    fn semantic(&self, words: &[WordFeatures]) -> Result<Vec<Option<Vec<f32>>>, ModelError> {
        let sentences: Option<Vec<&Tensor>> = words.iter().map(|post| post.sentence.as_ref()).collect();
        let (Some(space), Some(sentences)) = (&self.semantic, sentences) else {
            return Ok(words.iter().map(|_| None).collect());
        };
        space.reduce(&sentences)
    }

    /// Runs one small batch, so that the first post does not pay for kernel selection and page faults.
    pub fn warm_up(&self) -> Result<(), ModelError> {
        let word = Word { text: "word".to_owned(), is_mark: false, is_shouted: false };
        let text = ReadText { words: vec![word; 8], pieces: Pieces::of_unknown_words(8) };
        self.encode(&vec![TextInput::new(text.clone(), Some(text), self.bag.is_some()); 4]).map(drop)
    }
}

/// Lengths in words.
fn has_room(posts: usize, longest: usize, _length: usize) -> bool {
    posts < MAX_BATCH && (posts + 1) * longest <= MAX_PADDED_WORDS
}

/// Mixes two distributions over the words, each by the size of its logit in `parts` (BiGRU, bag). The sum stays 1.
fn credit(attention: &mut [f32], per_word: &[f32], parts: &[f32]) {
    let total: f32 = per_word.iter().sum();
    let size = |part: usize| parts.get(part).map_or(0.0, |logit: &f32| logit.abs());
    let (read, counted) = (size(0), size(1));
    // No word of the post in the bag, or two logits of 0: the BiGRU alone says where it looked.
    if total <= f32::EPSILON || read + counted <= f32::EPSILON {
        return;
    }
    let share = counted / (read + counted);
    for (weight, credit) in attention.iter_mut().zip(per_word) {
        *weight = (1.0 - share) * *weight + share * credit / total;
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
