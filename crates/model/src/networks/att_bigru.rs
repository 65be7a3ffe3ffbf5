//! attBiGRU (paper, section 3.1.1): the supporting parts gate the protagonist's words, a BiGRU reads them, attention
//! pools them.

use tch::{Device, Kind, Tensor};

use crate::error::ModelError;
use crate::layers::{AdditiveAttention, BiGru, LayerNorm, Linear};
use crate::manifest::Dimensions;
use crate::parameters::{Init, Scope, overwrite, to_vec};
use crate::text::{NgramBag, TextInput, TokenisedText};

/// The text network with its head.
///
/// `modern` differs from the paper in six ways: words are means of subword rows (trained here, not fastText's); the
/// gate is `1 + mean(supporting)`, so that a post without a caption is not a post of zeros; the attended *word
/// vectors* join the attended states, a short cut that small data profits from; the supporting mean joins them too,
/// since a gate can only modulate what the protagonist says and a caption often says it alone; one dense layer brings
/// all modalities to the same width; and a [bag of n-grams](NgramBag) stands beside the BiGRU, because on some ten
/// thousand short texts counting beats reading, and both together beat either. Its two logits are the last two values
/// of the vector, squeezed, and the head adds them to what the BiGRU says.
pub struct AttBiGru {
    embedding: Tensor,
    norm: LayerNorm,
    supporting_norm: LayerNorm,
    gru: BiGru,
    attention: AdditiveAttention,
    dense: Linear,
    head: Linear,
    /// `[2]`: how far the logits of words and of pieces are trusted.
    trust: Tensor,
    /// The bag's tables, `[buckets, 1]` each, and its constant, `[1]`; fitted, not moved by gradients.
    bag_weight: Tensor,
    bag_idf: Tensor,
    bag_bias: Tensor,
    dropout: f64,
}

/// Values of the text vector that the bag of n-grams fills: words and pieces.
const BAG_VALUES: i64 = 2;
/// Beyond about this a logit of the bag is squeezed: `s tanh(x / s)`, so that no text can make the vector's last
/// values outweigh all others.
const SQUEEZE: f64 = 4.0;

/// What one forward pass yields.
pub struct TextForward {
    /// `[batch, vector]`.
    pub vector: Tensor,
    /// `[batch]`.
    pub logit: Tensor,
    /// `[batch, longest]`: where the BiGRU looked.
    pub attention: Tensor,
    /// `[batch, 2]`: what the BiGRU with the head's constant and what the bag adds to the logit.
    pub parts: Tensor,
}

impl AttBiGru {
    /// Tensors start at `scope`; `dropout` acts on word vectors and before the dense layer, in training only.
    pub fn new(scope: &Scope, dimensions: &Dimensions, dropout: f64) -> Result<Self, ModelError> {
        let (words, hidden) = (dimensions.embedding, dimensions.text_hidden);
        let gru = BiGru::new(&scope.sub("gru"), words, hidden)?;
        gru.flatten(words)?;
        Ok(Self {
            embedding: scope.sub("embedding").weight(
                "weight",
                &[dimensions.embedding_rows, words],
                Init::Normal(0.1),
            )?,
            norm: LayerNorm::new(&scope.sub("norm"), words)?,
            supporting_norm: LayerNorm::new(&scope.sub("supporting_norm"), words)?,
            gru,
            attention: AdditiveAttention::new(&scope.sub("attention"), 2 * hidden)?,
            dense: Linear::new(&scope.sub("dense"), 2 * hidden + 2 * words, dimensions.vector - BAG_VALUES)?,
            head: Linear::new(&scope.sub("head"), dimensions.vector - BAG_VALUES, 1)?,
            trust: scope.weight("bag.trust", &[BAG_VALUES], Init::Constant(1.0))?,
            bag_weight: scope.buffer("bag.weight", &[dimensions.ngram_buckets, 1], 0.0)?,
            bag_idf: scope.buffer("bag.idf", &[dimensions.ngram_buckets, 1], 0.0)?,
            bag_bias: scope.buffer("bag.bias", &[1], 0.0)?,
            dropout,
        })
    }

    /// Vectors, logits and attention of a batch.
    pub fn forward(&self, batch: &TextBatch, train: bool) -> Result<TextForward, ModelError> {
        let words = batch.word_vectors(&self.embedding)?;
        let supporting = batch.supporting_mean(&words)?;
        let gate = supporting.f_add_scalar(1.0)?.f_unsqueeze(1)?;
        let gated = gate.f_mul(&batch.protagonist(&words)?)?;
        let sequence = self.norm.forward(&gated)?.f_dropout(self.dropout, train)?;
        let states = self.gru.forward(&sequence, &batch.lengths)?;
        let attention = self.attention.weights(&states, &batch.lengths)?;
        let supporting = self.supporting_norm.forward(&supporting)?.f_mul(&batch.has_supporting)?;
        let pooled = Tensor::f_cat(
            &[
                AdditiveAttention::pool(&attention, &states)?,
                AdditiveAttention::pool(&attention, &sequence)?,
                supporting,
            ],
            1,
        )?;
        let read = self.dense.forward(&pooled.f_dropout(self.dropout, train)?)?.f_tanh()?;
        let counted = batch.evidence.f_div_scalar(SQUEEZE)?.f_tanh()?;
        let by_bag = counted.f_mul(&self.trust)?.f_mul_scalar(SQUEEZE)?;
        let by_bag = by_bag.f_sum_dim_intlist([1_i64].as_slice(), true, Kind::Float)?;
        let parts = Tensor::f_cat(&[self.head.forward(&read)?, by_bag], 1)?;
        let logit = parts.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?;
        Ok(TextForward { vector: Tensor::f_cat(&[read, counted], 1)?, logit, attention, parts })
    }

    /// Weights over the whole vector and the constant: `logit = weight . vector + bias`.
    pub fn head(&self) -> Result<(Vec<f32>, f32), ModelError> {
        let mut weight = to_vec(&self.head.weight)?;
        weight.extend(to_vec(&self.trust.f_mul_scalar(SQUEEZE)?)?);
        Ok((weight, to_vec(&self.head.bias)?.first().copied().unwrap_or(0.0)))
    }

    /// Multiplies what the BiGRU says (its constant with it) and what the bag says, and adds a constant.
    pub fn weigh(&mut self, read: f32, counted: f32, constant: f32) -> Result<(), ModelError> {
        let times = |tensor: &Tensor, by: f32, plus: f32| -> Result<Vec<f32>, ModelError> {
            Ok(to_vec(tensor)?.iter().map(|value| value * by + plus).collect())
        };
        let (weight, bias) = (times(&self.head.weight, read, 0.0)?, times(&self.head.bias, read, constant)?);
        let trust = times(&self.trust, counted, 0.0)?;
        overwrite(&mut self.head.weight, &weight)?;
        overwrite(&mut self.head.bias, &bias)?;
        overwrite(&mut self.trust, &trust)
    }

    /// The bag as the tables hold it now.
    pub fn bag(&self) -> Result<NgramBag, ModelError> {
        let bias = to_vec(&self.bag_bias)?.first().copied().unwrap_or(0.0);
        NgramBag::new(to_vec(&self.bag_weight)?, to_vec(&self.bag_idf)?, bias)
    }

    /// Fills the tables.
    pub fn set_bag(&mut self, weight: &[f32], idf: &[f32], bias: f32) -> Result<(), ModelError> {
        overwrite(&mut self.bag_weight, weight)?;
        overwrite(&mut self.bag_idf, idf)?;
        overwrite(&mut self.bag_bias, &[bias])
    }
}

/// A batch of posts as index tensors.
pub struct TextBatch {
    /// All words' rows in a row, and where each word begins.
    rows: Tensor,
    starts: Tensor,
    /// `[batch, longest]` and `[batch, most supporting]`: position of each word among all words; the place after the
    /// last is a word of zeros and pads.
    protagonist: Tensor,
    supporting: Option<Tensor>,
    /// `[batch, 1]`: supporting words of each post, at least 1 so that none divides by zero.
    supporting_counts: Tensor,
    /// `[batch, 1]`: 1 where there is a supporting word, else 0.
    has_supporting: Tensor,
    /// `[batch, 2]`: the bag's logits of words and of pieces.
    evidence: Tensor,
    /// Words of each protagonist.
    pub lengths: Vec<i64>,
}

impl TextBatch {
    /// `evidence` is what the bag of n-grams says of each input; `table_rows` is the height of the embedding table, a
    /// row beyond it is refused here rather than read.
    pub fn new<T: std::borrow::Borrow<TextInput>>(
        inputs: &[T],
        evidence: &[[f32; 2]],
        table_rows: i64,
        device: Device,
    ) -> Result<Self, ModelError> {
        let mut flat = FlatWords::default();
        let mut protagonists = Vec::with_capacity(inputs.len());
        let mut supporters = Vec::with_capacity(inputs.len());
        for input in inputs.iter().map(T::borrow) {
            protagonists.push(flat.add(&input.protagonist, table_rows)?);
            supporters.push(input.supporting.as_ref().map(|text| flat.add(text, table_rows)).transpose()?);
        }
        if protagonists.iter().any(|places| places.is_empty()) {
            return Err(ModelError::Input("a text without words".to_owned()));
        }
        let supporters: Vec<_> = supporters.into_iter().map(Option::unwrap_or_default).collect();
        let nothing = flat.starts.len() as i64;
        let lengths: Vec<i64> = protagonists.iter().map(|places| places.len() as i64).collect();
        let counts: Vec<f32> = supporters.iter().map(|places| places.len().max(1) as f32).collect();
        let has: Vec<f32> = supporters.iter().map(|places| f32::from(u8::from(!places.is_empty()))).collect();
        Ok(Self {
            rows: Tensor::f_from_slice(&flat.rows)?.f_to_device(device)?,
            starts: Tensor::f_from_slice(&flat.starts)?.f_to_device(device)?,
            protagonist: places_tensor(&protagonists, nothing, device)?,
            supporting: supporters
                .iter()
                .any(|places| !places.is_empty())
                .then(|| places_tensor(&supporters, nothing, device))
                .transpose()?,
            supporting_counts: Tensor::f_from_slice(&counts)?.f_view([-1, 1])?.f_to_device(device)?,
            has_supporting: Tensor::f_from_slice(&has)?.f_view([-1, 1])?.f_to_device(device)?,
            evidence: Tensor::f_from_slice(evidence.as_flattened())?.f_view([-1, BAG_VALUES])?.f_to_device(device)?,
            lengths,
        })
    }

    /// `[words + 1, width]`: the mean of each word's rows, then one row of zeros.
    fn word_vectors(&self, table: &Tensor) -> Result<Tensor, ModelError> {
        const MEAN: i64 = 1;
        let no_weights: Option<&Tensor> = None;
        let means = Tensor::f_embedding_bag(table, &self.rows, &self.starts, false, MEAN, false, no_weights, false)?.0;
        let zero = Tensor::f_zeros([1, table.size2()?.1], (Kind::Float, table.device()))?;
        Ok(Tensor::f_cat(&[means, zero], 0)?)
    }

    /// `[batch, longest, width]`.
    fn protagonist(&self, words: &Tensor) -> Result<Tensor, ModelError> {
        gather(words, &self.protagonist)
    }

    /// `[batch, width]`: mean of the supporting words, zeros for a post without any.
    fn supporting_mean(&self, words: &Tensor) -> Result<Tensor, ModelError> {
        let Some(supporting) = &self.supporting else {
            let (posts, width) = (self.lengths.len() as i64, words.size2()?.1);
            return Ok(Tensor::f_zeros([posts, width], (Kind::Float, words.device()))?);
        };
        let sum = gather(words, supporting)?.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?;
        Ok(sum.f_div(&self.supporting_counts)?)
    }
}

#[derive(Default)]
struct FlatWords {
    rows: Vec<i64>,
    starts: Vec<i64>,
}

impl FlatWords {
    /// Appends a text; returns the places of its words.
    fn add(&mut self, text: &TokenisedText, table_rows: i64) -> Result<Vec<i64>, ModelError> {
        let first = self.starts.len() as i64;
        for rows in &text.rows {
            if rows.is_empty() || rows.iter().any(|&row| i64::from(row) >= table_rows) {
                return Err(ModelError::Input(format!("rows {rows:?} of a table of {table_rows}")));
            }
            self.starts.push(self.rows.len() as i64);
            self.rows.extend(rows.iter().map(|&row| i64::from(row)));
        }
        Ok((first..self.starts.len() as i64).collect())
    }
}

/// `[batch, longest]` of lists of places, filled up with `nothing`.
pub fn places_tensor(places: &[Vec<i64>], nothing: i64, device: Device) -> Result<Tensor, ModelError> {
    let longest = places.iter().map(Vec::len).max().unwrap_or(0);
    let mut flat = Vec::with_capacity(places.len() * longest);
    for row in places {
        flat.extend_from_slice(row);
        flat.resize(flat.len() + longest - row.len(), nothing);
    }
    Ok(Tensor::f_from_slice(&flat)?.f_view([places.len() as i64, longest as i64])?.f_to_device(device)?)
}

/// `[batch, longest, width]`: the rows of `[words, width]` at `[batch, longest]` places.
pub fn gather(words: &Tensor, places: &Tensor) -> Result<Tensor, ModelError> {
    let (batch, longest) = places.size2()?;
    Ok(words.f_index_select(0, &places.f_view([-1])?)?.f_view([batch, longest, -1])?)
}
