//! The text network of the authors' code (docs/networks.md, "Text in the profile `authors-code`").

use jtav_model::ModelError;
use jtav_model::layers::{BatchNorm, BiGru, Linear, unit_rows};
use jtav_model::parameters::{Init, Scope};
use tch::{Kind, Tensor};

use super::forward::Forward;
use super::words::{MAX_WORDS, WordBatch};

/// Hidden values per direction.
const HIDDEN: i64 = 150;
/// Values of the vector.
const VECTOR: i64 = 300;
/// Keras' epsilon of batch normalisation.
const EPSILON: f64 = 1e-3;

/// attBiGRU as the authors wrote it: a softmax gate from the largest values of the caption, two BiGRUs, attention
/// with a sigmoid and one bias per *position*, batch normalisation everywhere, a dense layer scaled to length 1.
///
/// Texts are always 100 words long and padding is read like words, as there. One thing differs: a post without a
/// caption is gated by 1 and not by the softmax of a bias, which would be one learned gate for all of them
/// (docs/networks.md, "Text").
pub(crate) struct AuthorsText {
    words_norm: BatchNorm,
    gate: Option<Gate>,
    layers: [(BiGru, BatchNorm); 2],
    attention: PositionAttention,
    attention_norm: BatchNorm,
    dense: Linear,
    dense_norm: BatchNorm,
    head: Linear,
    dropout: f64,
}

impl AuthorsText {
    /// `gated` with the caption's path, else BiGRU alone.
    pub fn new(scope: &Scope, dimension: i64, gated: bool, dropout: f64) -> Result<Self, ModelError> {
        let norm = |name: &str, width: i64| BatchNorm::keras(&scope.sub(name), width, EPSILON);
        let layer = |name: &str, inputs: i64| {
            let gru = BiGru::new(&scope.sub(&format!("{name}.gru")), inputs, HIDDEN)?;
            gru.flatten(inputs)?;
            Ok::<_, ModelError>((gru, norm(&format!("{name}.norm"), 2 * HIDDEN)?))
        };
        Ok(Self {
            words_norm: norm("words_norm", dimension)?,
            gate: gated.then(|| Gate::new(&scope.sub("gate"), dimension)).transpose()?,
            layers: [layer("layer1", dimension)?, layer("layer2", 2 * HIDDEN)?],
            attention: PositionAttention::new(&scope.sub("attention"), 2 * HIDDEN)?,
            attention_norm: norm("attention_norm", 2 * HIDDEN)?,
            dense: Linear::new(&scope.sub("dense"), 2 * HIDDEN, VECTOR)?,
            dense_norm: norm("dense_norm", VECTOR)?,
            head: Linear::new(&scope.sub("head"), VECTOR, 1)?,
            dropout,
        })
    }

    pub fn forward(&self, batch: &WordBatch, train: bool) -> Result<Forward, ModelError> {
        let mut x = self.words_norm.forward_steps(&batch.words, train)?;
        if let Some(gate) = &self.gate {
            x = gate.forward(&x, batch, train)?;
        }
        let whole = vec![MAX_WORDS as i64; batch.lengths.len()];
        for (gru, norm) in &self.layers {
            let states = gru.forward(&x, &whole)?.f_relu()?;
            x = norm.forward_steps(&states, train)?.f_dropout(self.dropout, train)?;
        }
        let pooled = self.attention_norm.forward(&self.attention.forward(&x)?, train)?;
        let vector = self.dense_norm.forward(&self.dense.forward(&pooled)?.f_relu()?, train)?;
        Forward::of(unit_rows(&vector)?, &self.head)
    }
}

/// Largest value of each coordinate over the caption's five words, dense, softmax, the same for all 100 words.
struct Gate {
    dense: Linear,
    norm: BatchNorm,
    product_norm: BatchNorm,
}

impl Gate {
    fn new(scope: &Scope, dimension: i64) -> Result<Self, ModelError> {
        Ok(Self {
            dense: Linear::new(&scope.sub("dense"), dimension, dimension)?,
            norm: BatchNorm::keras(&scope.sub("norm"), dimension, EPSILON)?,
            product_norm: BatchNorm::keras(&scope.sub("product_norm"), dimension, EPSILON)?,
        })
    }

    /// `[batch, 100, dimension]` gated.
    fn forward(&self, x: &Tensor, batch: &WordBatch, train: bool) -> Result<Tensor, ModelError> {
        let (_, words, dimension) = x.size3()?;
        let mut gated = x.shallow_clone();
        if let Some(supporting) = &batch.supporting {
            // Posts without a caption stay out of the statistics of those with one.
            let rows = batch.supporting_lengths.iter().enumerate().filter(|(_, words)| **words > 0);
            let rows: Vec<i64> = rows.map(|(row, _)| row as i64).collect();
            let with_caption = Tensor::f_from_slice(&rows)?.f_to_device(x.device())?;
            let largest = supporting.f_index_select(0, &with_caption)?.f_amax([1], false)?;
            let gate = self.dense.forward(&largest)?.f_softmax(-1, Kind::Float)?;
            let gate = gate.f_unsqueeze(1)?.f_expand([rows.len() as i64, words, dimension], false)?;
            let gate = self.norm.forward_steps(&gate, train)?;
            gated = x.f_ones_like()?.f_index_copy(0, &with_caption, &gate)?.f_mul(x)?;
        }
        self.product_norm.forward_steps(&gated, train)
    }
}

/// `a = softmax(sigmoid(W h_i + b_i) . c)` with a bias of its own for each of the 100 positions.
struct PositionAttention {
    weight: Tensor,
    bias: Tensor,
    context: Tensor,
}

impl PositionAttention {
    fn new(scope: &Scope, width: i64) -> Result<Self, ModelError> {
        // Keras' He rule takes the root of a vector's length for its fan-in.
        let context = Init::Normal((2.0 / (width as f32).sqrt()).sqrt());
        Ok(Self {
            weight: scope.weight("weight", &[width, width], Init::HeNormal)?,
            bias: scope.weight("bias", &[MAX_WORDS as i64, width], Init::Constant(0.0))?,
            context: scope.weight("context", &[width, 1], context)?,
        })
    }

    /// `[batch, width]` of `[batch, 100, width]`.
    fn forward(&self, states: &Tensor) -> Result<Tensor, ModelError> {
        let none: Option<&Tensor> = None;
        let hidden = states.f_linear(&self.weight, none)?.f_add(&self.bias)?.f_sigmoid()?;
        let weights = hidden.f_matmul(&self.context)?.f_squeeze_dim(-1)?.f_softmax(1, Kind::Float)?;
        Ok(weights.f_unsqueeze(1)?.f_bmm(states)?.f_squeeze_dim(1)?)
    }
}
