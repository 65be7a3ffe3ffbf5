//! attBiGRU over slices, as it serves on a CPU: no row is padded, whatever its batch mates are.

use jtav_engine::Precision;
use jtav_engine::bend::{normalise, tanh};
use jtav_engine::dense::Dense;
use jtav_engine::gru::BiGru;

use super::{AttBiGru, NORM_EPSILON, SQUEEZE};
use crate::error::ModelError;
use crate::layers::Attention;
use crate::parameters::to_vec;

/// The words of one post as vectors, row-major.
#[derive(Clone)]
pub(crate) struct WordsOnSlices {
    /// `[words of the protagonist, width]`.
    pub protagonist: Vec<f32>,
    /// `[words of the supporting part, width]`; empty without one.
    pub supporting: Vec<f32>,
    /// `[384]`: the mean over all pieces of the last layer; none from a table.
    pub sentence: Option<Vec<f32>>,
}

/// What the network says of one post.
pub(crate) struct TextRow {
    /// As [`TextForward::vector`](super::TextForward::vector).
    pub vector: Vec<f32>,
    /// A weight for each word.
    pub attention: Vec<f32>,
    /// As [`TextForward::parts`](super::TextForward::parts).
    pub parts: [f32; 2],
}

/// [`AttBiGru`] over slices.
pub(crate) struct AttBiGruOnSlices {
    gru: BiGru,
    attention: Attention,
    dense: Dense,
    /// To `s` alone; `n` is the fusion's to say.
    head: Dense,
    /// What a unit of the bag's squeezed logit adds to `s`.
    bag: f32,
    width: usize,
}

impl AttBiGru {
    /// The words are multiplied in `precision`, what comes of them in f32.
    pub(crate) fn on_slices(&self, precision: Precision) -> Result<AttBiGruOnSlices, ModelError> {
        let (weight, bias) = self.head_row(0)?;
        let inputs = weight.len();
        Ok(AttBiGruOnSlices {
            gru: self.gru.on_slices(precision)?,
            attention: self.attention.on_slices()?,
            dense: self.dense.on_slices()?,
            head: Dense::new(&weight, &[bias], inputs),
            bag: to_vec(&self.counted)?.first().copied().unwrap_or(0.0),
            width: self.width as usize,
        })
    }
}

impl AttBiGruOnSlices {
    /// Of each post its words, its bag's logit (0 without a bag) and its compound.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a post without words.
    pub fn forward(&self, posts: Vec<(WordsOnSlices, f32, f32)>) -> Result<Vec<TextRow>, ModelError> {
        if posts.iter().any(|(words, ..)| words.protagonist.is_empty()) {
            return Err(ModelError::Input("a text without words".to_owned()));
        }
        let words = |of: &[f32]| of.len() / self.width;
        let lengths: Vec<usize> =
            posts.iter().map(|(post, ..)| words(&post.protagonist) + words(&post.supporting)).collect();
        let counted: Vec<[f32; 2]> = posts.iter().map(|&(_, bag, lexicon)| [(bag / SQUEEZE).tanh(), lexicon]).collect();
        let sequence: Vec<f32> = posts.into_iter().flat_map(|(post, ..)| self.sequence(post)).collect();
        let states = self.gru.forward(&sequence, &lengths);
        let (attention, pooled) = self.attention.pool(&states, &lengths);
        let mut read = self.dense.apply(&self.with_ends(&pooled, &states, &lengths));
        tanh(&mut read);
        let said = self.head.apply(&read);
        let mut attention = attention.into_iter();
        let rows = read.chunks_exact(self.dense.outputs()).zip(said).zip(counted).zip(lengths);
        let rows = rows.map(|(((read, said), counted), length)| TextRow {
            vector: read.iter().copied().chain(counted).collect(),
            attention: attention.by_ref().take(length).collect(),
            parts: [said, counted[0] * self.bag],
        });
        Ok(rows.collect())
    }

    /// Values of a word.
    pub fn width(&self) -> usize {
        self.width
    }

    /// `[words, width]`: normalised words, those of the protagonist gated, then those of the supporting part.
    fn sequence(&self, post: WordsOnSlices) -> Vec<f32> {
        let (mut words, mut supporting) = (post.protagonist, post.supporting);
        let norm = |row: &mut [f32]| normalise(row, NORM_EPSILON as f32);
        words.chunks_exact_mut(self.width).chain(supporting.chunks_exact_mut(self.width)).for_each(norm);
        let mut gate = vec![0.0; self.width];
        for row in supporting.chunks_exact(self.width) {
            gate.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        // 1 for a post without a supporting part.
        let count = (supporting.len() / self.width).max(1) as f32;
        gate.iter_mut().for_each(|sum| *sum = 1.0 + *sum / count);
        for row in words.chunks_exact_mut(self.width) {
            row.iter_mut().zip(&gate).for_each(|(value, gate)| *value *= gate);
            norm(row);
        }
        words.append(&mut supporting);
        words
    }

    /// `[rows, 4 hidden]`: attended states beside the last state of each direction.
    fn with_ends(&self, pooled: &[f32], states: &[f32], lengths: &[usize]) -> Vec<f32> {
        let hidden = self.gru.hidden();
        let width = 2 * hidden;
        let mut joined = Vec::with_capacity(2 * pooled.len());
        let mut first = 0;
        for (pooled, length) in pooled.chunks_exact(width).zip(lengths) {
            let (begin, end) = (first * width, (first + length - 1) * width);
            joined.extend_from_slice(pooled);
            joined.extend_from_slice(&states[end..end + hidden]);
            joined.extend_from_slice(&states[begin + hidden..begin + width]);
            first += length;
        }
        joined
    }
}
