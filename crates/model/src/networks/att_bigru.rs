//! attBiGRU (paper, section 3.1.1): the supporting parts gate the protagonist's words, a BiGRU reads them, attention
//! pools them.

mod on_slices;

use tch::{Device, Kind, Tensor};

use crate::error::ModelError;
use crate::layers::{AdditiveAttention, BiGru, Linear};
use crate::manifest::Dimensions;
use crate::parameters::{Scope, overwrite, to_vec};
use crate::text::NgramBag;

pub(crate) use on_slices::{AttBiGruOnSlices, WordsOnSlices};

/// The text network with its heads.
///
/// It differs from the paper in six ways: words are vectors of a sentence encoder or of its table
/// ([`WordVectors`](crate::word_vectors::WordVectors)), not fastText's; the gate is `1 + mean(supporting)`, so that a post
/// without a caption is not a post of zeros; the supporting words are read after the protagonist's, since a gate can only
/// modulate what the protagonist says and a caption often says it alone; the end states join the attended ones; one dense
/// layer brings all modalities to the same width; and two counted values stand beside what was read, a
/// [bag of n-grams](NgramBag) and VADER's compound, which the head adds.
///
/// There are two logits: `s` of positive against negative, and `n` of neutral, so that the three classes have the logits
/// `[-s/2, n, s/2]`.
pub struct AttBiGru {
    gru: BiGru,
    attention: AdditiveAttention,
    dense: Linear,
    /// To `[s, n]`.
    head: Linear,
    /// `[2]`: weights of the two counted values in `s`; set, not moved by gradients.
    counted: Tensor,
    /// The bag's tables, `[buckets, 1]` each, and its constant, `[1]`; none in a profile without one.
    bag: Option<[Tensor; 3]>,
    width: i64,
    dropout: TextDropout,
}

/// Values of the text vector that are counted: bag of n-grams, lexicon.
const COUNTED_VALUES: i64 = 2;
/// Beyond about this a logit of the bag is squeezed: `s tanh(x / s)`, so that no text can make one of the vector's values
/// outweigh all others.
const SQUEEZE: f32 = 4.0;
const NORM_EPSILON: f64 = 1e-5;

/// What is left out in training, as shares.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TextDropout {
    /// Whole words.
    pub words: f64,
    /// Components of the words' vectors, the same ones through a text.
    pub channels: f64,
    /// Values before and after the dense layer.
    pub pooled: f64,
}

/// What one forward pass yields.
pub struct TextForward {
    /// `[batch, vector]`.
    pub vector: Tensor,
    /// `[batch]`: positive against negative.
    pub polarity: Tensor,
    /// `[batch]`: neutral.
    pub neutral: Tensor,
    /// `[batch, longest]`: where the BiGRU looked, words of the protagonist and then of the supporting part.
    pub attention: Tensor,
    /// `[batch, 2]`: what the BiGRU with the head's constant and what the bag adds to the polarity.
    pub parts: Tensor,
}

impl AttBiGru {
    /// Tensors start at `scope`; `dropout` acts in training only.
    pub fn new(scope: &Scope, dimensions: &Dimensions, dropout: TextDropout) -> Result<Self, ModelError> {
        let (width, hidden, vector) = (dimensions.word_width, dimensions.text_hidden, dimensions.vector);
        let gru = BiGru::new(&scope.sub("gru"), width, hidden)?;
        gru.flatten(width)?;
        let bag = scope.sub("bag");
        let bag = match dimensions.ngram_buckets {
            0 => None,
            rows => Some([
                bag.buffer("weight", &[rows, 1], 0.0)?,
                bag.buffer("idf", &[rows, 1], 0.0)?,
                bag.buffer("bias", &[1], 0.0)?,
            ]),
        };
        Ok(Self {
            gru,
            attention: AdditiveAttention::new(&scope.sub("attention"), 2 * hidden)?,
            dense: Linear::new(&scope.sub("dense"), 4 * hidden, vector - COUNTED_VALUES)?,
            head: Linear::new(&scope.sub("head"), vector - COUNTED_VALUES, 2)?,
            counted: scope.buffer("counted", &[COUNTED_VALUES], 0.0)?,
            bag,
            width,
            dropout,
        })
    }

    /// Vectors, logits and attention of a batch.
    pub fn forward(&self, batch: &TextBatch, train: bool) -> Result<TextForward, ModelError> {
        let sequence = self.thin_out(&batch.sequence(self.width)?, train)?;
        let states = self.gru.forward(&sequence, &batch.lengths)?;
        let attention = self.attention.weights(&states, &batch.lengths)?;
        let ends = self.gru.last_states(&states, &batch.lengths)?;
        let pooled = Tensor::f_cat(&[AdditiveAttention::pool(&attention, &states)?, ends], 1)?;
        let read = self.dense.forward(&pooled.f_dropout(self.dropout.pooled, train)?)?.f_tanh()?;
        let logits = self.head.forward(&read.f_dropout(self.dropout.pooled, train)?)?;
        let (said, neutral) = (logits.f_select(1, 0)?, logits.f_select(1, 1)?);
        let counted = batch.counted.f_mul(&self.counted)?;
        let polarity = counted.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?.f_add(&said)?;
        let parts = Tensor::f_stack(&[said, counted.f_select(1, 0)?], 1)?;
        Ok(TextForward {
            vector: Tensor::f_cat(&[read, batch.counted.shallow_clone()], 1)?,
            polarity,
            neutral,
            attention,
            parts,
        })
    }

    fn thin_out(&self, sequence: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        if !train {
            return Ok(sequence.shallow_clone());
        }
        let (batch, longest, width) = sequence.size3()?;
        let options = (Kind::Float, sequence.device());
        let words = Tensor::f_ones([batch, longest, 1], options)?.f_dropout(self.dropout.words, true)?;
        // Words that stay keep their size.
        let words = words.f_mul_scalar(1.0 - self.dropout.words)?;
        let channels = Tensor::f_ones([batch, 1, width], options)?.f_dropout(self.dropout.channels, true)?;
        Ok(sequence.f_mul(&words)?.f_mul(&channels)?)
    }

    /// Weights over the whole vector and the constant: `polarity = weight . vector + bias`.
    pub fn polarity_head(&self) -> Result<(Vec<f32>, f32), ModelError> {
        let (mut weight, bias) = self.head_row(0)?;
        weight.extend(to_vec(&self.counted)?);
        Ok((weight, bias))
    }

    /// The same of `neutral`.
    pub fn neutral_head(&self) -> Result<(Vec<f32>, f32), ModelError> {
        let (mut weight, bias) = self.head_row(1)?;
        weight.extend([0.0; COUNTED_VALUES as usize]);
        Ok((weight, bias))
    }

    fn head_row(&self, row: i64) -> Result<(Vec<f32>, f32), ModelError> {
        let bias = to_vec(&self.head.bias)?.get(row as usize).copied().unwrap_or(0.0);
        Ok((to_vec(&self.head.weight.f_get(row)?)?, bias))
    }

    /// Multiplies what is read of each of the two logits and adds a constant to it: what calibration finds.
    pub fn calibrate(&mut self, scale: [f32; 2], shift: [f32; 2]) -> Result<(), ModelError> {
        let width = self.head.weight.size2()?.1 as usize;
        let weight: Vec<f32> =
            to_vec(&self.head.weight)?.iter().enumerate().map(|(at, value)| value * scale[at / width]).collect();
        let bias: Vec<f32> =
            to_vec(&self.head.bias)?.iter().zip(scale.iter().zip(shift)).map(|(b, (by, plus))| b * by + plus).collect();
        overwrite(&mut self.head.weight, &weight)?;
        overwrite(&mut self.head.bias, &bias)?;
        let counted: Vec<f32> = to_vec(&self.counted)?.iter().map(|value| value * scale[0]).collect();
        overwrite(&mut self.counted, &counted)
    }

    /// Sets how much a unit of the bag's logit and of the lexicon's compound adds to the polarity.
    pub fn weigh_counted(&mut self, bag: f32, lexicon: f32) -> Result<(), ModelError> {
        overwrite(&mut self.counted, &[bag * SQUEEZE, lexicon])
    }

    /// The bag as the tables hold it now.
    pub fn bag(&self) -> Result<Option<NgramBag>, ModelError> {
        let Some([weight, idf, bias]) = &self.bag else { return Ok(None) };
        let bias = to_vec(bias)?.first().copied().unwrap_or(0.0);
        NgramBag::new(to_vec(weight)?, to_vec(idf)?, bias).map(Some)
    }

    /// Fills the tables; [`ModelError::Configuration`] in a profile without a bag.
    pub fn set_bag(&mut self, weight: &[f32], idf: &[f32], bias: f32) -> Result<(), ModelError> {
        let Some([of_weight, of_idf, of_bias]) = &mut self.bag else {
            return Err(ModelError::Configuration("this profile has no bag of n-grams".to_owned()));
        };
        overwrite(of_weight, weight)?;
        overwrite(of_idf, idf)?;
        overwrite(of_bias, &[bias])
    }
}

/// The words of one post as vectors.
#[derive(Debug)]
pub struct WordFeatures {
    /// `[words of the protagonist, width]` f32.
    pub protagonist: Tensor,
    /// `[words of the supporting part, width]` f32.
    pub supporting: Option<Tensor>,
    /// `[384]`: the mean over all pieces of the last layer; none from a table.
    pub sentence: Option<Tensor>,
}

/// A batch of posts as vectors of their words.
pub struct TextBatch {
    /// `[batch, longest, width]`: words of the protagonist, then of the supporting part, then zeros.
    words: Tensor,
    /// `[batch, longest, 1]`: 1 for words of the protagonist, of the supporting part.
    first: Tensor,
    second: Tensor,
    /// `[batch, 2]`: the bag's logit, squeezed, and the lexicon's compound.
    counted: Tensor,
    /// Words of each post.
    pub lengths: Vec<i64>,
}

impl TextBatch {
    /// Of each post its words' vectors, its bag's logit (0 without a bag) and its compound.
    ///
    /// # Errors
    /// [`ModelError::Input`] for no posts, and for a post without words.
    pub fn new(posts: &[(&WordFeatures, f32, f32)], width: i64, device: Device) -> Result<Self, ModelError> {
        let rows = |tensor: &Tensor| tensor.size().first().copied().unwrap_or(0);
        let sizes: Vec<(i64, i64)> = posts
            .iter()
            .map(|(words, ..)| (rows(&words.protagonist), words.supporting.as_ref().map_or(0, rows)))
            .collect();
        let longest = sizes.iter().map(|(first, second)| first + second).max().unwrap_or(0);
        if longest == 0 || sizes.iter().any(|&(first, _)| first == 0) {
            return Err(ModelError::Input("a text without words".to_owned()));
        }
        let batch = posts.len() as i64;
        let words = Tensor::f_zeros([batch, longest, width], (Kind::Float, device))?;
        let [mut first, mut second] = [(); 2].map(|()| vec![0.0_f32; (batch * longest) as usize]);
        for (post, ((features, ..), &(of_first, of_second))) in posts.iter().zip(&sizes).enumerate() {
            let row = words.f_get(post as i64)?;
            row.f_narrow(0, 0, of_first)?.f_copy_(&features.protagonist)?;
            if let Some(supporting) = features.supporting.as_ref().filter(|_| of_second > 0) {
                row.f_narrow(0, of_first, of_second)?.f_copy_(supporting)?;
            }
            let from = post * longest as usize;
            let (middle, end) = (from + of_first as usize, from + (of_first + of_second) as usize);
            first[from..middle].fill(1.0);
            second[middle..end].fill(1.0);
        }
        let mask = |values: &[f32]| {
            Ok::<_, ModelError>(Tensor::f_from_slice(values)?.f_view([batch, longest, 1])?.f_to_device(device)?)
        };
        let counted: Vec<f32> = posts.iter().flat_map(|&(_, bag, lexicon)| [(bag / SQUEEZE).tanh(), lexicon]).collect();
        Ok(Self {
            words,
            first: mask(&first)?,
            second: mask(&second)?,
            counted: Tensor::f_from_slice(&counted)?.f_view([batch, COUNTED_VALUES])?.f_to_device(device)?,
            lengths: sizes.iter().map(|(first, second)| first + second).collect(),
        })
    }

    /// `[batch, longest, width]`: normalised words, those of the protagonist gated; zeros beyond a post's length.
    fn sequence(&self, width: i64) -> Result<Tensor, ModelError> {
        let none: Option<&Tensor> = None;
        let norm = |x: &Tensor| x.f_layer_norm([width].as_slice(), none, none, NORM_EPSILON, false);
        let words = norm(&self.words)?;
        let supporting = words.f_mul(&self.second)?;
        let count = self.second.f_sum_dim_intlist([1_i64].as_slice(), true, Kind::Float)?.f_clamp_min(1.0)?;
        let mean = supporting.f_sum_dim_intlist([1_i64].as_slice(), true, Kind::Float)?.f_div(&count)?;
        // 1 for a post without a supporting part, whose words are normalised already.
        let gated = norm(&words.f_mul(&mean.f_add_scalar(1.0)?)?)?.f_mul(&self.first)?;
        Ok(gated.f_add(&supporting)?)
    }
}

#[cfg(test)]
#[path = "att_bigru_tests.rs"]
mod tests;
