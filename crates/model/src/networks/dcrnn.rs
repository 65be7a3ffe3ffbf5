//! DCRNN (paper, section 3.1.2): dense convolutions over a constant-Q spectrogram, then a recurrent network over time.

mod on_slices;
mod onnx;

use tch::Tensor;

use crate::error::ModelError;
use crate::layers::{AdditiveAttention, BatchNorm, BiGru, Conv2d, Linear};
use crate::manifest::Dimensions;
use crate::parameters::Scope;

pub(crate) use on_slices::RecurrentOnSlices;

/// Sizes of the convolutional part; the defaults are the authors' shapes with a quarter of their channels
/// (docs/networks.md, "Audio in the profiles `modern` and `light`"), which takes the network from 15 M to well under 1 M
/// parameters.
#[derive(Debug, Clone, Copy)]
pub struct DcrnnConfig {
    pub(crate) stem_channels: i64,
    pub(crate) growth: i64,
    pub(crate) bottleneck: i64,
    pub(crate) transition_channels: i64,
    pub(crate) reduced_channels: i64,
    pub(crate) hidden: i64,
    pub(crate) vector: i64,
    pub(crate) moods: i64,
}

impl DcrnnConfig {
    /// The sizes of a manifest.
    pub fn modern(dimensions: &Dimensions) -> Self {
        Self {
            stem_channels: dimensions.audio_channels,
            growth: dimensions.audio_channels / 2,
            bottleneck: 2 * dimensions.audio_channels,
            transition_channels: dimensions.audio_channels,
            reduced_channels: dimensions.audio_channels,
            hidden: dimensions.audio_hidden,
            vector: dimensions.vector - STATISTICS_VALUES,
            moods: dimensions.moods,
        }
    }
}

/// Values of an audio vector that come from the statistics of the whole clip and not from DCRNN: the logit and four
/// moods.
pub(crate) const STATISTICS_VALUES: i64 = 5;

/// Frames that one time step of the recurrent part stands for: three layers of stride 2.
pub(crate) const FRAMES_PER_STEP: usize = 8;
/// Time steps of a segment of 215 frames after the three strides.
pub(crate) const STEPS: usize = 27;
/// Rows that remain of 96 bins after a kernel of 70 and the strides.
const REDUCED_BINS: i64 = 4;

/// Time steps that see at least one of the first `frames` frames, 1 to 27.
pub(crate) fn steps_of_frames(frames: usize) -> usize {
    frames.div_ceil(FRAMES_PER_STEP).clamp(1, STEPS)
}

/// The audio network. What it says of sentiment and mood while it is trained is said by [`DcrnnHeads`].
pub struct Dcrnn {
    stem: Conv2d,
    stem_norm: BatchNorm,
    block1: DenseBlock,
    transition_norm: BatchNorm,
    transition: Conv2d,
    block2: DenseBlock,
    reduce_norm: BatchNorm,
    reduce: Conv2d,
    gru: BiGru,
    attention: AdditiveAttention,
    dense: Linear,
    dropout: f64,
}

/// The heads that DCRNN is trained with.
pub struct DcrnnHeads {
    head: Linear,
    mood_head: Linear,
}

/// What one forward pass yields, one row per segment.
pub struct AudioForward {
    /// `[segments, 95]`.
    pub vector: Tensor,
    /// `[segments, 27]`.
    pub attention: Tensor,
}

impl Dcrnn {
    /// Tensors start at `scope`; `dropout` acts before the dense layer, in training only.
    pub fn new(scope: &Scope, config: &DcrnnConfig, dropout: f64) -> Result<Self, ModelError> {
        let after_block1 = config.stem_channels + 2 * config.growth;
        let after_block2 = config.transition_channels + 2 * config.growth;
        let recurrent_inputs = config.reduced_channels * REDUCED_BINS;
        let gru = BiGru::new(&scope.sub("gru"), recurrent_inputs, config.hidden)?;
        gru.flatten(recurrent_inputs)?;
        Ok(Self {
            // The authors' kernel: 4 frames by 70 bins, so that one filter sees nearly six octaves.
            stem: Conv2d::new(&scope.sub("conv0"), (1, config.stem_channels), (4, 70), 2, 3)?,
            stem_norm: BatchNorm::new(&scope.sub("norm0"), config.stem_channels)?,
            block1: DenseBlock::new(&scope.sub("denseblock1"), config.stem_channels, config)?,
            transition_norm: BatchNorm::new(&scope.sub("transition1.norm"), after_block1)?,
            transition: Conv2d::new(
                &scope.sub("transition1.conv"),
                (after_block1, config.transition_channels),
                (1, 1),
                1,
                0,
            )?,
            block2: DenseBlock::new(&scope.sub("denseblock2"), config.transition_channels, config)?,
            reduce_norm: BatchNorm::new(&scope.sub("reduce.norm"), after_block2)?,
            reduce: Conv2d::new(&scope.sub("reduce.conv"), (after_block2, config.reduced_channels), (1, 1), 1, 0)?,
            gru,
            attention: AdditiveAttention::new(&scope.sub("attention"), 2 * config.hidden)?,
            dense: Linear::new(&scope.sub("dense"), 2 * config.hidden, config.vector)?,
            dropout,
        })
    }

    /// `[segments, 1, 215, 96]`, standardised; `steps` are the valid time steps of each segment.
    pub fn forward(&self, x: &Tensor, steps: &[i64], train: bool) -> Result<AudioForward, ModelError> {
        let sequence = self.convolve(x, train)?;
        let states = self.gru.forward(&sequence, steps)?;
        let attention = self.attention.weights(&states, steps)?;
        let pooled = AdditiveAttention::pool(&attention, &states)?.f_dropout(self.dropout, train)?;
        Ok(AudioForward { vector: self.dense.forward(&pooled)?.f_relu()?, attention })
    }

    /// What the recurrent part is given of `[segments, 1, 215, 96]`: `[segments, 27, 4 * reduced channels]`.
    #[cfg(test)]
    pub(crate) fn sequence(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        self.convolve(x, false)
    }

    /// `[segments, 27, 4 * reduced channels]`.
    fn convolve(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let stem = self.stem_norm.forward(&self.stem.forward(x)?, train)?.f_relu()?;
        // 215x96 -> 109x17 (stem) -> 54x8: zero padding is idle for a maximum of values that are not negative.
        let pooled = stem.f_constant_pad_nd([1, 1, 1, 1])?.f_max_pool2d([4, 4], [2, 2], [0, 0], [1, 1], false)?;
        let block1 = self.block1.forward(&pooled, train)?;
        let transition = self.transition.forward(&self.transition_norm.forward(&block1, train)?.f_relu()?)?;
        let halved = transition.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
        let block2 = self.block2.forward(&halved, train)?;
        let reduced = self.reduce.forward(&self.reduce_norm.forward(&block2, train)?)?;
        let (segments, _, time, _) = reduced.size4()?;
        Ok(reduced.f_permute([0, 2, 3, 1])?.f_reshape([segments, time, -1])?)
    }
}

impl DcrnnHeads {
    /// Tensors start at `scope`, DCRNN's own.
    pub fn new(scope: &Scope, config: &DcrnnConfig) -> Result<Self, ModelError> {
        Ok(Self {
            head: Linear::new(&scope.sub("head"), config.vector, 1)?,
            mood_head: Linear::new(&scope.sub("mood_head"), config.vector, config.moods)?,
        })
    }

    /// `[rows]` sentiment logits of `[rows, vector]`.
    pub fn logit(&self, vector: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.head.forward(vector)?.f_squeeze_dim(1)?)
    }

    /// `[rows, moods]` logits of `[rows, vector]`.
    pub fn moods(&self, vector: &Tensor) -> Result<Tensor, ModelError> {
        self.mood_head.forward(vector)
    }

    /// The last layer of the sentiment logit.
    pub fn head(&self) -> &Linear {
        &self.head
    }
}

/// Two layers whose outputs are joined to their inputs (Huang et al. 2016), sizes kept.
struct DenseBlock {
    layers: Vec<(BatchNorm, Conv2d, BatchNorm, Conv2d)>,
}

impl DenseBlock {
    fn new(scope: &Scope, channels: i64, config: &DcrnnConfig) -> Result<Self, ModelError> {
        let layer = |index: i64| {
            let scope = scope.sub(&format!("denselayer{}", index + 1));
            let inputs = channels + index * config.growth;
            Ok((
                BatchNorm::new(&scope.sub("norm1"), inputs)?,
                Conv2d::new(&scope.sub("conv1"), (inputs, config.bottleneck), (1, 1), 1, 0)?,
                BatchNorm::new(&scope.sub("norm2"), config.bottleneck)?,
                Conv2d::new(&scope.sub("conv2"), (config.bottleneck, config.growth), (3, 3), 1, 1)?,
            ))
        };
        Ok(Self { layers: (0..2).map(layer).collect::<Result<_, ModelError>>()? })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let mut features = x.shallow_clone();
        for (norm1, conv1, norm2, conv2) in &self.layers {
            let inner = conv1.forward(&norm1.forward(&features, train)?.f_relu()?)?;
            let grown = conv2.forward(&norm2.forward(&inner, train)?.f_relu()?)?;
            features = Tensor::f_cat(&[features, grown], 1)?;
        }
        Ok(features)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Builder;
    use tch::{Device, Kind};

    #[test]
    fn a_segment_becomes_twenty_seven_steps() {
        let dimensions = Dimensions::modern();
        let builder = Builder::fresh(1, Device::Cpu);
        let network = Dcrnn::new(&builder.scope("audio"), &DcrnnConfig::modern(&dimensions), 0.0).unwrap();
        let _guard = tch::no_grad_guard();
        let x = Tensor::zeros([2, 1, 215, 96], (Kind::Float, Device::Cpu));
        assert_eq!(network.convolve(&x, false).unwrap().size(), [2, 27, 256]);
        let forward = network.forward(&x, &[27, 3], false).unwrap();
        assert_eq!((forward.vector.size(), forward.attention.size()), (vec![2, 95], vec![2, 27]));
    }

    #[test]
    fn frames_map_to_the_steps_that_see_them() {
        assert_eq!([1, 8, 9, 208, 209, 215].map(steps_of_frames), [1, 1, 2, 26, 27, 27]);
    }
}
