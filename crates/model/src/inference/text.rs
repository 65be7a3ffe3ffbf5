//! The text network as it serves.

use tch::{Device, Tensor};

use super::encoded;
use super::text_on_slices::{PostOnSlices, TextOnSlices};
use crate::checkpoint::Checkpoint;
use crate::cpu_time::{Clock, cost_ms};
use crate::device::DeviceChoice;
use crate::error::ModelError;
use crate::networks::{AttBiGru, SemanticSpace, TextBatch, TextDropout};
use crate::parameters::{Builder, to_rows, to_vec};
use crate::passes::passes;
use crate::placement::{AS_PLACED, Contest, CpuEngine, Engine, Placement};
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
    network: Network,
    bag: Option<NgramBag>,
}

#[expect(clippy::large_enum_variant, reason = "one for each device thread, and it stays where it was made")]
enum Network {
    Tensors(OnTensors),
    Slices(TextOnSlices),
}

/// All of it on libtorch.
struct OnTensors {
    words: WordVectors,
    network: AttBiGru,
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
    pub fn from_checkpoint(checkpoint: &Checkpoint, placement: impl Into<Placement>) -> Result<Self, ModelError> {
        Self::build(checkpoint, placement.into(), None)
    }

    /// The same with all arithmetic in f32, for references.
    pub fn from_checkpoint_f32(checkpoint: &Checkpoint, device: DeviceChoice) -> Result<Self, ModelError> {
        Self::build(checkpoint, device.into(), Some(TrunkPrecision::Float))
    }

    fn build(
        checkpoint: &Checkpoint,
        placement: Placement,
        precision: Option<TrunkPrecision>,
    ) -> Result<Self, ModelError> {
        let (manifest, dimensions) = (checkpoint.manifest(), &checkpoint.manifest().dimensions);
        let device = placement.device.resolve()?;
        let width = WordVectors::width_of(manifest);
        if width != dimensions.word_width {
            let named = dimensions.word_width;
            return Err(ModelError::Configuration(format!(
                "words have {width} values, dimensions.word_width is {named}"
            )));
        }
        let stored = checkpoint.stored()?;
        let builder = Builder::stored(&stored, device);
        let scope = builder.scope("text");
        let network = AttBiGru::new(&scope, dimensions, TextDropout::default())?;
        let semantic = SemanticSpace::new(&scope.sub("semantic"), dimensions)?;
        let bag = network.bag()?;
        let version = checkpoint.model_version();
        let contest = Contest::new(&version, "text_attbigru", placement);
        if device == Device::Cpu && placement.cpu_engine != CpuEngine::Libtorch {
            let network = TextOnSlices::new(checkpoint, placement, &contest, &network, semantic.as_ref())?;
            return Ok(Self { network: Network::Slices(network), bag });
        }
        let precision = precision.unwrap_or(TrunkPrecision::best(placement, device));
        let words = WordVectors::open(manifest, checkpoint.bases(), placement.device, Some(precision))?;
        Contest::new(&version, "text_trunk", placement).note(Engine::Libtorch, AS_PLACED);
        contest.note(Engine::Libtorch, AS_PLACED);
        Ok(Self { network: Network::Tensors(OnTensors { words, network, semantic, device }), bag })
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
        let posts: Vec<(&TextInput, f32)> = posts.iter().zip(&counted).map(|(post, (bag, _))| (*post, *bag)).collect();
        let mut found = match &self.network {
            Network::Tensors(network) => network.encode(&posts)?,
            Network::Slices(network) => network.encode(&posts)?,
        };
        for (of_post, (_, per_word)) in found.iter_mut().zip(&counted) {
            credit(&mut of_post.encoded.attention, per_word, &of_post.parts);
        }
        Ok(found.into_iter().map(|post| EncodedText { encoded: post.encoded, semantic: post.semantic }).collect())
    }

    /// Makes the words' vectors and nothing of them: what costs are measured with.
    pub(crate) fn read_words(&self, posts: &[TextInput]) -> Result<(), ModelError> {
        let posts: Vec<&TextInput> = posts.iter().collect();
        match &self.network {
            Network::Tensors(network) => {
                let words = network.words.of(&posts)?;
                // A GPU is still at work; it answers in order, so that what was asked for last comes when all is done.
                words.last().map(|post| to_vec(&post.protagonist)).transpose().map(drop)
            }
            Network::Slices(network) => network.read_words(&posts),
        }
    }

    /// Milliseconds of what stands behind the words' vectors, an item of a pass over `posts`.
    pub(crate) fn cost_of_head(&self, clock: Clock, posts: &[TextInput], batch: usize) -> Result<f64, ModelError> {
        let posts: Vec<(&TextInput, f32)> = posts.iter().map(|post| (post, 0.0)).collect();
        match &self.network {
            Network::Tensors(network) => {
                let words = network.words.of(&posts.iter().map(|(post, _)| *post).collect::<Vec<_>>())?;
                cost_ms(clock, batch, || network.encode_words(&words, &posts).map(drop))
            }
            Network::Slices(network) => network.cost_of_head(&posts, batch),
        }
    }

    /// Runs one small batch, so that the first post does not pay for kernel selection and page faults.
    pub fn warm_up(&self) -> Result<(), ModelError> {
        let word = Word { text: "word".to_owned(), is_mark: false, is_shouted: false };
        let text = ReadText { words: vec![word; 8], pieces: Pieces::of_unknown_words(8) };
        self.encode(&vec![TextInput::new(text.clone(), Some(text), self.bag.is_some()); 4]).map(drop)
    }
}

impl OnTensors {
    /// Each post with its bag's logit.
    fn encode(&self, posts: &[(&TextInput, f32)]) -> Result<Vec<PostOnSlices>, ModelError> {
        let words = self.words.of(&posts.iter().map(|(post, _)| *post).collect::<Vec<_>>())?;
        self.encode_words(&words, posts)
    }

    fn encode_words(
        &self,
        words: &[WordFeatures],
        posts: &[(&TextInput, f32)],
    ) -> Result<Vec<PostOnSlices>, ModelError> {
        let rows: Vec<(&WordFeatures, f32, f32)> =
            words.iter().zip(posts).map(|(words, (post, bag))| (words, *bag, post.lexicon)).collect();
        let batch = TextBatch::new(&rows, self.words.width(), self.device)?;
        let forward = self.network.forward(&batch, false)?;
        let parts = to_rows(&forward.parts)?;
        let encoded = encoded(&forward.vector, &forward.attention, &batch.lengths)?;
        let rows = encoded.into_iter().zip(parts).zip(self.semantic(words)?);
        Ok(rows
            .map(|((encoded, parts), semantic)| {
                let parts = std::array::from_fn(|part| parts.get(part).copied().unwrap_or(0.0));
                PostOnSlices { encoded, parts, semantic }
            })
            .collect())
    }

    fn semantic(&self, words: &[WordFeatures]) -> Result<Vec<Option<Vec<f32>>>, ModelError> {
        let sentences: Option<Vec<&Tensor>> = words.iter().map(|post| post.sentence.as_ref()).collect();
        let (Some(space), Some(sentences)) = (&self.semantic, sentences) else {
            return Ok(words.iter().map(|_| None).collect());
        };
        space.reduce(&sentences)
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
