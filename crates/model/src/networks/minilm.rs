//! all-MiniLM-L6-v2 (Wang et al. 2020, arXiv 2002.10957; Reimers and Gurevych 2019, arXiv 1908.10084): a BERT (Devlin et al. 2019) of six
//! layers, with the parameter names of Hugging Face's `BertModel` without its pooler.

mod on_slices;
mod onnx;

use tch::{Device, Kind, Tensor};

use crate::checkpoint::weights::StoredWeights;
use crate::error::ModelError;
use crate::layers::{LayerNorm, Linear, length_mask};
use crate::parameters::{Init, Scope, Stored as _};
use crate::text::{MAX_PIECES, Pieces};

pub(crate) use on_slices::EmbeddingsOnSlices;

/// Rows of the table of word pieces.
const VOCABULARY: i64 = 30_522;
/// Rows of the table of positions; [`MAX_PIECES`] of them are used.
const POSITIONS: i64 = 512;
const HEADS: i64 = 12;
const FEED_FORWARD: i64 = 4 * MiniLm::WIDTH;
const EPSILON: f64 = 1e-12;
const _: () = assert!(MAX_PIECES as i64 <= POSITIONS);

/// The encoder.
pub struct MiniLm {
    /// `[VOCABULARY, WIDTH]`; f16 where it serves, as it is stored.
    words: Tensor,
    /// `[POSITIONS, WIDTH]` in f32.
    positions: Tensor,
    /// `[2, WIDTH]` in f32. A post is one sentence, of type 0.
    types: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
    kind: Kind,
}

/// Post-norm: `norm(x + attention(x))`, then `norm(x + feed_forward(x))`.
struct Layer {
    /// Query, key and value, or the three in one.
    projections: Vec<Linear>,
    merge: Linear,
    norm: LayerNorm,
    widen: Linear,
    narrow: Linear,
    last_norm: LayerNorm,
}

/// Texts side by side, padded to the longest.
pub struct PieceBatch {
    /// `[batch, longest]` int64, 0 (`[PAD]`) as padding.
    pub ids: Tensor,
    /// Pieces of each text.
    pub lengths: Vec<i64>,
}

/// What [`MiniLm::forward`] gives; all f32, on the device of the batch.
pub struct MiniLmForward {
    /// `[batch, longest, WIDTH]` for each layer that was asked for; 0 beyond a text's length.
    pub layers: Vec<Tensor>,
    /// `[batch, WIDTH]`: the mean of the last layer over all pieces of a text, the enclosing two included. The vector of
    /// sentence-transformers before its normalisation.
    pub sentence: Tensor,
}

impl PieceBatch {
    /// # Errors
    /// [`ModelError::Input`] for no texts at all.
    pub fn new(texts: &[&Pieces], device: Device) -> Result<Self, ModelError> {
        let longest = texts.iter().map(|text| text.len()).max();
        let longest = longest.ok_or_else(|| ModelError::Input("a batch without texts".to_owned()))?;
        let mut ids = vec![0_i64; texts.len() * longest];
        for (row, text) in ids.chunks_mut(longest).zip(texts) {
            for (place, &id) in row.iter_mut().zip(text.ids()) {
                *place = i64::from(id);
            }
        }
        let ids = Tensor::f_from_slice(&ids)?.f_view([texts.len() as i64, longest as i64])?.f_to_device(device)?;
        Ok(Self { ids, lengths: texts.iter().map(|text| text.len() as i64).collect() })
    }
}

impl MiniLm {
    /// Width of every vector.
    pub const WIDTH: i64 = 384;
    /// Encoder layers; they count from 1, as the hidden states of `BertModel` do, whose first is the embeddings.
    pub const LAYERS: usize = 6;

    /// The table of word pieces alone, `[pieces, WIDTH]` in f16.
    pub(crate) fn word_table(stored: &StoredWeights) -> Result<Tensor, ModelError> {
        let table = stored.tensor("embeddings.word_embeddings.weight", &[VOCABULARY, Self::WIDTH])?;
        Ok(table.f_to_kind(Kind::Half)?)
    }

    /// Names start right under `scope`: `embeddings`, `encoder`.
    pub fn new(scope: &Scope) -> Result<Self, ModelError> {
        let embeddings = scope.sub("embeddings");
        let table = |name: &str, rows| embeddings.sub(name).weight("weight", &[rows, Self::WIDTH], Init::Normal(0.02));
        let layers = scope.sub("encoder.layer");
        Ok(Self {
            words: table("word_embeddings", VOCABULARY)?,
            positions: table("position_embeddings", POSITIONS)?,
            types: table("token_type_embeddings", 2)?,
            norm: LayerNorm::new(&embeddings.sub("LayerNorm"), Self::WIDTH, EPSILON)?,
            layers: (0..Self::LAYERS).map(|at| Layer::new(&layers.sub(&at.to_string()))).collect::<Result<_, _>>()?,
            kind: Kind::Float,
        })
    }

    /// The network that serves: matrices in `kind`, the table of words in f16, one projection for query, key and value.
    pub fn for_serving(&self, kind: Kind) -> Result<Self, ModelError> {
        Ok(Self {
            words: self.words.f_to_kind(Kind::Half)?,
            positions: self.positions.shallow_clone(),
            types: self.types.shallow_clone(),
            norm: self.norm.share(),
            layers: self.layers.iter().map(|layer| layer.for_serving(kind)).collect::<Result<_, _>>()?,
            kind,
        })
    }

    /// Runs the batch and keeps the outputs of the layers in `wanted`, in ascending order.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a layer that is not there or a row longer than the table of positions.
    pub fn forward(&self, batch: &PieceBatch, wanted: &[usize]) -> Result<MiniLmForward, ModelError> {
        if let Some(layer) = wanted.iter().find(|layer| !(1..=Self::LAYERS).contains(layer)) {
            return Err(ModelError::Input(format!("layer {layer} of {}", Self::LAYERS)));
        }
        let (_, longest) = batch.ids.size2()?;
        if longest > POSITIONS {
            return Err(ModelError::Input(format!("{longest} pieces, {POSITIONS} is the most")));
        }
        let beyond = batch.beyond()?;
        // Added to the scores of all heads and queries alike.
        let mask = match &beyond {
            Some(beyond) => {
                let zeros = beyond.f_zeros_like()?.f_to_kind(self.kind)?;
                Some(zeros.f_masked_fill(beyond, f64::NEG_INFINITY)?.f_unsqueeze(1)?.f_unsqueeze(1)?)
            }
            None => None,
        };
        let blank = |x: &Tensor| -> Result<Tensor, ModelError> {
            Ok(match &beyond {
                Some(beyond) => x.f_masked_fill(&beyond.f_unsqueeze(-1)?, 0.0)?,
                None => x.shallow_clone(),
            })
        };
        let mut x = self.embed(&batch.ids)?;
        let mut layers = Vec::with_capacity(wanted.len());
        let mut last = None;
        for (at, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, mask.as_ref())?;
            let is_last = at + 1 == Self::LAYERS;
            if is_last || wanted.contains(&(at + 1)) {
                let kept = blank(&x)?;
                if wanted.contains(&(at + 1)) {
                    layers.push(kept.shallow_clone());
                }
                last = is_last.then_some(kept);
            }
        }
        let last = last.ok_or_else(|| ModelError::Input("a network without layers".to_owned()))?;
        let lengths = Tensor::f_from_slice(&batch.lengths)?.f_to_device(last.device())?.f_view([-1, 1])?;
        let sentence = last.f_sum_dim_intlist([1_i64].as_slice(), false, None)?.f_div(&lengths)?;
        Ok(MiniLmForward { layers, sentence })
    }

    /// `[batch, longest]` to `[batch, longest, WIDTH]` in f32.
    fn embed(&self, ids: &Tensor) -> Result<Tensor, ModelError> {
        let (batch, longest) = ids.size2()?;
        let words = self.words.f_index_select(0, &ids.f_reshape([-1])?)?.f_to_kind(Kind::Float)?;
        let places = self.positions.f_narrow(0, 0, longest)?.f_add(&self.types.f_narrow(0, 0, 1)?)?;
        let x = words.f_view([batch, longest, Self::WIDTH])?.f_add(&places)?;
        self.norm.forward(&x)
    }
}

impl PieceBatch {
    /// `[batch, longest]`, true where a text has no piece; `None` when all are as long as the longest.
    fn beyond(&self) -> Result<Option<Tensor>, ModelError> {
        let (batch, longest) = self.ids.size2()?;
        if batch != self.lengths.len() as i64 {
            return Err(ModelError::Input(format!("{} lengths for {batch} texts", self.lengths.len())));
        }
        if self.lengths.iter().all(|&length| length == longest) {
            return Ok(None);
        }
        Ok(Some(length_mask(&self.lengths, longest, self.ids.device())?.f_logical_not()?))
    }
}

impl Layer {
    fn new(scope: &Scope) -> Result<Self, ModelError> {
        const WIDTH: i64 = MiniLm::WIDTH;
        let attention = scope.sub("attention");
        let projection = |name| Linear::new(&attention.sub("self").sub(name), WIDTH, WIDTH);
        let merge = attention.sub("output");
        let output = scope.sub("output");
        Ok(Self {
            projections: ["query", "key", "value"].into_iter().map(projection).collect::<Result<_, _>>()?,
            merge: Linear::new(&merge.sub("dense"), WIDTH, WIDTH)?,
            norm: LayerNorm::new(&merge.sub("LayerNorm"), WIDTH, EPSILON)?,
            widen: Linear::new(&scope.sub("intermediate").sub("dense"), WIDTH, FEED_FORWARD)?,
            narrow: Linear::new(&output.sub("dense"), FEED_FORWARD, WIDTH)?,
            last_norm: LayerNorm::new(&output.sub("LayerNorm"), WIDTH, EPSILON)?,
        })
    }

    fn for_serving(&self, kind: Kind) -> Result<Self, ModelError> {
        let weights: Vec<&Tensor> = self.projections.iter().map(|linear| &linear.weight).collect();
        let biases: Vec<&Tensor> = self.projections.iter().map(|linear| &linear.bias).collect();
        let together = Linear { weight: Tensor::f_cat(&weights, 0)?, bias: Tensor::f_cat(&biases, 0)? };
        Ok(Self {
            projections: vec![together.prepared(kind)?],
            merge: self.merge.prepared(kind)?,
            norm: self.norm.share(),
            widen: self.widen.prepared(kind)?,
            narrow: self.narrow.prepared(kind)?,
            last_norm: self.last_norm.share(),
        })
    }

    /// `[batch, longest, WIDTH]` in f32 to the same; `mask` `[batch, 1, 1, longest]` is added to the scores.
    fn forward(&self, x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor, ModelError> {
        let kind = self.merge.weight.kind();
        // Sums and norms stay f32: in bf16 they are a twentieth faster and half as exact.
        let attended = self.attend(&x.f_to_kind(kind)?, mask)?.f_to_kind(Kind::Float)?;
        let x = self.norm.forward(&attended.f_add(x)?)?;
        let widened = self.widen.forward(&x.f_to_kind(kind)?)?.f_gelu("none")?;
        self.last_norm.forward(&self.narrow.forward(&widened)?.f_to_kind(Kind::Float)?.f_add(&x)?)
    }

    fn attend(&self, x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor, ModelError> {
        let (batch, longest, width) = x.size3()?;
        let mut projected = Vec::with_capacity(3);
        for linear in &self.projections {
            projected.extend(linear.forward(x)?.f_split(width, -1)?);
        }
        let heads = |at: usize| -> Result<Tensor, ModelError> {
            Ok(projected[at].f_view([batch, longest, HEADS, width / HEADS])?.f_transpose(1, 2)?)
        };
        let (query, key, value) = (heads(0)?, heads(1)?, heads(2)?);
        let attended = Tensor::f_scaled_dot_product_attention(&query, &key, &value, mask, 0.0, false, None, false)?;
        self.merge.forward(&attended.f_transpose(1, 2)?.f_reshape([batch, longest, width])?)
    }
}
