//! DCRNN of the authors' code (docs/networks.md, "Audio in the profile `authors-code`").

use jtav_model::ModelError;
use jtav_model::layers::{BatchNorm, BiGru, Conv2d, Linear};
use jtav_model::parameters::Scope;
use tch::Tensor;

use super::forward::Forward;

/// Keras' epsilons: that of the applications' convolutional blocks, and that of a bare layer.
const CONV_EPSILON: f64 = 1.001e-5;
const EPSILON: f64 = 1e-3;
/// Time steps and remaining frequency rows after the three strides.
const STEPS: i64 = 27;
const ROWS: i64 = 4;

/// Widths of the layers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AuthorsSizes {
    pub stem: i64,
    pub growth: i64,
    pub bottleneck: i64,
    pub transition: i64,
    /// Hidden values per direction of the two recurrent layers.
    pub hidden: [i64; 2],
    pub vector: i64,
}

impl AuthorsSizes {
    /// As published: 14,959,691 parameters with a vector of 100 and the head.
    pub fn published(vector: i64) -> Self {
        Self { stem: 256, growth: 64, bottleneck: 256, transition: 192, hidden: [768, 384], vector }
    }
}

/// A small DenseNet over `[time, frequency]`, then two BiGRUs over time; no length is known to it.
pub(crate) struct AuthorsDcrnn {
    input_norm: BatchNorm,
    stem: Conv2d,
    stem_norm: BatchNorm,
    block1: Vec<GrowthLayer>,
    transition_norm: BatchNorm,
    transition: Conv2d,
    block2: Vec<GrowthLayer>,
    last_norm: BatchNorm,
    gru1: BiGru,
    gru1_norm: BatchNorm,
    gru2: BiGru,
    representation_norm: BatchNorm,
    dense: Linear,
    head: Linear,
}

impl AuthorsDcrnn {
    pub fn new(scope: &Scope, sizes: &AuthorsSizes) -> Result<Self, ModelError> {
        let after_block1 = sizes.stem + 2 * sizes.growth;
        let after_block2 = sizes.transition + 2 * sizes.growth;
        let conv_norm = |name: &str, width: i64| BatchNorm::keras(&scope.sub(name), width, CONV_EPSILON);
        let norm = |name: &str, width: i64| BatchNorm::keras(&scope.sub(name), width, EPSILON);
        let [hidden1, hidden2] = sizes.hidden;
        let gru1 = BiGru::new(&scope.sub("gru1"), ROWS * after_block2, hidden1)?;
        gru1.flatten(ROWS * after_block2)?;
        let gru2 = BiGru::new(&scope.sub("gru2"), 2 * hidden1, hidden2)?;
        gru2.flatten(2 * hidden1)?;
        Ok(Self {
            input_norm: norm("input_norm", 1)?,
            // 4 frames by 70 bins, so that one filter sees nearly six octaves.
            stem: Conv2d::new(&scope.sub("conv0"), (1, sizes.stem), (4, 70), 2, 3)?,
            stem_norm: conv_norm("norm0", sizes.stem)?,
            block1: growth_block(&scope.sub("denseblock1"), sizes.stem, sizes)?,
            transition_norm: conv_norm("transition1.norm", after_block1)?,
            transition: Conv2d::new(&scope.sub("transition1.conv"), (after_block1, sizes.transition), (1, 1), 1, 0)?,
            block2: growth_block(&scope.sub("denseblock2"), sizes.transition, sizes)?,
            last_norm: conv_norm("norm5", after_block2)?,
            gru1,
            gru1_norm: norm("gru1_norm", 2 * hidden1)?,
            gru2,
            representation_norm: norm("rep", 2 * hidden2)?,
            dense: Linear::new(&scope.sub("dense"), 2 * hidden2, sizes.vector)?,
            head: Linear::new(&scope.sub("head"), sizes.vector, 1)?,
        })
    }

    /// Of `[segments, 1, 215, 96]`.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Forward, ModelError> {
        let sequence = self.convolve(x, train)?;
        let whole = vec![STEPS; sequence.size()[0] as usize];
        let states = self.gru1.forward(&sequence, &whole)?.f_relu()?;
        let states = self.gru1_norm.forward_steps(&states, train)?;
        let last = self.gru2.last_states(&self.gru2.forward(&states, &whole)?, &whole)?;
        let representation = self.representation_norm.forward(&last.f_relu()?, train)?;
        Forward::of(self.dense.forward(&representation)?.f_relu()?, &self.head)
    }

    /// `[segments, 27, 4 * channels]`, frequency before channel.
    fn convolve(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let x = self.stem.forward(&self.input_norm.forward(x, train)?)?;
        let x = self.stem_norm.forward(&x, train)?.f_relu()?;
        // 109x17 -> 54x8; what is padded are zeros, and no value is below zero.
        let x = x.f_constant_pad_nd([1, 1, 1, 1])?.f_max_pool2d([4, 4], [2, 2], [0, 0], [1, 1], false)?;
        let x = grow(&self.block1, &x, train)?;
        let x = self.transition.forward(&self.transition_norm.forward(&x, train)?.f_relu()?)?;
        let x = x.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
        let x = self.last_norm.forward(&grow(&self.block2, &x, train)?, train)?;
        let (segments, _, time, _) = x.size4()?;
        Ok(x.f_permute([0, 2, 3, 1])?.f_reshape([segments, time, -1])?)
    }
}

/// Normalise, 1 x 1, normalise, 3 x 3; its output joins its input.
struct GrowthLayer {
    norm1: BatchNorm,
    conv1: Conv2d,
    norm2: BatchNorm,
    conv2: Conv2d,
}

fn growth_block(scope: &Scope, channels: i64, sizes: &AuthorsSizes) -> Result<Vec<GrowthLayer>, ModelError> {
    let layer = |index: i64| {
        let scope = scope.sub(&format!("denselayer{}", index + 1));
        let inputs = channels + index * sizes.growth;
        Ok(GrowthLayer {
            norm1: BatchNorm::keras(&scope.sub("norm1"), inputs, CONV_EPSILON)?,
            conv1: Conv2d::new(&scope.sub("conv1"), (inputs, sizes.bottleneck), (1, 1), 1, 0)?,
            norm2: BatchNorm::keras(&scope.sub("norm2"), sizes.bottleneck, CONV_EPSILON)?,
            conv2: Conv2d::new(&scope.sub("conv2"), (sizes.bottleneck, sizes.growth), (3, 3), 1, 1)?,
        })
    };
    (0..2).map(layer).collect()
}

fn grow(layers: &[GrowthLayer], x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
    let mut x = x.shallow_clone();
    for layer in layers {
        let inner = layer.conv1.forward(&layer.norm1.forward(&x, train)?.f_relu()?)?;
        let grown = layer.conv2.forward(&layer.norm2.forward(&inner, train)?.f_relu()?)?;
        x = Tensor::f_cat(&[x, grown], 1)?;
    }
    Ok(x)
}
