//! EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946, in the form for mobile processors: no squeeze and excitation,
//! ReLU6 in place of swish) up to its last feature map, as a frozen trunk with its batch normalisations folded.

mod onnx;

pub(crate) use onnx::Kernels;

use std::path::Path;

use half::bf16;
use tch::{Device, Kind, Tensor};

use crate::checkpoint::weights::{StoredWeights, read};
use crate::error::ModelError;
use crate::layers::channels_last;
use crate::parameters::{Builder, Init, Scope, to_vec};

/// Blocks of one size: kernel, stride of the first, factor of the expansion, channels in and out, how many.
struct Stage {
    kernel: i64,
    stride: i64,
    expansion: i64,
    inputs: i64,
    outputs: i64,
    blocks: usize,
}

impl Stage {
    const fn new((kernel, stride): (i64, i64), expansion: i64, (inputs, outputs): (i64, i64), blocks: usize) -> Self {
        Self { kernel, stride, expansion, inputs, outputs, blocks }
    }
}

/// Table 1 of the paper; Lite0 has the depth and the width of B0.
const STAGES: [Stage; 7] = [
    Stage::new((3, 1), 1, (32, 16), 1),
    Stage::new((3, 2), 6, (16, 24), 2),
    Stage::new((5, 2), 6, (24, 40), 2),
    Stage::new((3, 2), 6, (40, 80), 3),
    Stage::new((5, 1), 6, (80, 112), 3),
    Stage::new((5, 2), 6, (112, 192), 4),
    Stage::new((3, 1), 6, (192, 320), 1),
];
const STEM_CHANNELS: i64 = 32;
const LAST_CHANNELS: i64 = 320;
/// Side of the picture over side of the last map.
const REDUCTION: i64 = 32;
/// Stem and blocks that compute in f32 whatever the rest does. Their maps are the ones in which bf16 loses most: a filter
/// that takes neighbouring pixels from each other keeps little but the rounding of both.
const EXACT_BLOCKS: usize = 3;
/// Pictures that a CPU takes at once. The largest map of one has 4.8 MB; of seven and more it is beyond what glibc's
/// malloc keeps (32 MiB), and the kernel clears it anew every time, which costs a third of the whole.
const CPU_ROWS: i64 = 4;

/// A convolution with a bias, and rows of zeros around it as TensorFlow's SAME adds them.
struct Conv {
    /// `[outputs, inputs / groups, kernel, kernel]`.
    weight: Tensor,
    /// `[outputs]`.
    bias: Tensor,
    stride: i64,
    groups: i64,
    /// Zeros at the left and at the top, at the right and at the bottom.
    padding: (i64, i64),
    relu6: bool,
}

/// Where a convolution stands and what it is: `shape` is outputs, inputs of a group and side of the kernel.
struct Plan {
    shape: (i64, i64, i64),
    stride: i64,
    groups: i64,
    relu6: bool,
}

impl Conv {
    fn new(scope: &Scope, plan: &Plan) -> Result<Self, ModelError> {
        let (outputs, inputs, kernel) = plan.shape;
        // SAME on even sides: a stride of 2 looks at `kernel - 2` pixels beside the picture, the odd one right and bottom.
        let around = kernel - plan.stride;
        Ok(Self {
            weight: scope.frozen("weight", &[outputs, inputs, kernel, kernel], Init::HeNormal)?,
            bias: scope.frozen("bias", &[outputs], Init::Constant(0.0))?,
            stride: plan.stride,
            groups: plan.groups,
            padding: (around / 2, around - around / 2),
            relu6: plan.relu6,
        })
    }

    /// Computes in the kind of `x`.
    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let (before, after) = self.padding;
        let padded = match before == after {
            true => None,
            false => Some(x.f_constant_pad_nd([before, after, before, after])?),
        };
        let (x, padding) = padded.as_ref().map_or((x, before), |padded| (padded, 0));
        let convolve = |weight: &Tensor, bias: &Tensor| {
            x.f_conv2d(weight, Some(bias), [self.stride; 2], [padding; 2], [1, 1], self.groups)
        };
        let mut y = match self.weight.kind() == x.kind() {
            true => convolve(&self.weight, &self.bias)?,
            false => convolve(&self.weight.f_to_kind(x.kind())?, &self.bias.f_to_kind(x.kind())?)?,
        };
        // In place: nothing else holds the tensor, and no gradient passes through frozen weights.
        Ok(if self.relu6 { y.f_clamp_(0.0, 6.0)? } else { y })
    }

    /// The same convolution in another kind, weights laid out channels last. Kernels of one channel keep their sums when they
    /// are rounded to bf16: see [`round_keeping_sums`]. Where the zeros on both sides differ in
    /// number the kernel gets a first row and a first column of zeros, with which they are equal: libtorch pads both
    /// sides alike, and padding apart from the convolution copies the largest maps of the network. Same sums.
    fn prepared(&self, kind: Kind) -> Result<Self, ModelError> {
        let (before, after) = self.padding;
        let rounded = match kind == Kind::BFloat16 && self.groups > 1 && self.weight.kind() == Kind::Float {
            true => rounded_keeping_sums(&self.weight)?,
            false => self.weight.shallow_clone(),
        };
        let wider = rounded.f_constant_pad_nd([after - before, 0, after - before, 0])?;
        Ok(Self {
            weight: channels_last(&wider.f_to_kind(kind)?)?,
            bias: self.bias.f_to_kind(kind)?,
            padding: (after, after),
            ..*self
        })
    }
}

/// `[channels, 1, kernel, kernel]` in f32, every value one of bf16.
fn rounded_keeping_sums(weight: &Tensor) -> Result<Tensor, ModelError> {
    let shape = weight.size();
    let taps = shape.iter().skip(1).product::<i64>() as usize;
    let mut values = to_vec(weight)?;
    values.chunks_mut(taps.max(1)).for_each(round_keeping_sums);
    Ok(Tensor::f_from_slice(&values)?.f_view(shape.as_slice())?.f_to_device(weight.device())?)
}

/// Rounds a kernel to bf16 so that its sum stays: what rounding adds to a tap is taken from the next smaller one, whose
/// steps are finer. A kernel of differences sums to nearly 0, and rounded tap by tap it would answer to a plain surface.
fn round_keeping_sums(kernel: &mut [f32]) {
    let mut order: Vec<usize> = (0..kernel.len()).collect();
    order.sort_by(|&a, &b| kernel[b].abs().total_cmp(&kernel[a].abs()));
    let mut owed = 0.0_f32;
    for tap in order {
        let wanted = kernel[tap] + owed;
        kernel[tap] = bf16::from_f32(wanted).to_f32();
        owed = wanted - kernel[tap];
    }
}

/// An inverted residual: wider, per channel, narrower.
struct Block {
    /// `None` where the expansion is by 1.
    expand: Option<Conv>,
    depthwise: Conv,
    project: Conv,
    residual: bool,
}

impl Block {
    fn new(scope: &Scope, stage: &Stage, first: bool) -> Result<Self, ModelError> {
        let (inputs, stride) = if first { (stage.inputs, stage.stride) } else { (stage.outputs, 1) };
        let (inner, kernel, outputs) = (inputs * stage.expansion, stage.kernel, stage.outputs);
        let pointwise = |outputs, inputs, relu6| Plan { shape: (outputs, inputs, 1), stride: 1, groups: 1, relu6 };
        let expand = match stage.expansion {
            1 => None,
            _ => Some(Conv::new(&scope.sub("expand"), &pointwise(inner, inputs, true))?),
        };
        let depthwise = Plan { shape: (inner, 1, kernel), stride, groups: inner, relu6: true };
        Ok(Self {
            expand,
            depthwise: Conv::new(&scope.sub("depthwise"), &depthwise)?,
            project: Conv::new(&scope.sub("project"), &pointwise(outputs, inner, false))?,
            residual: stride == 1 && inputs == outputs,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let wide = self.expand.as_ref().map(|expand| expand.forward(x)).transpose()?;
        let filtered = self.depthwise.forward(wide.as_ref().unwrap_or(x))?;
        let mut narrow = self.project.forward(&filtered)?;
        Ok(if self.residual { narrow.f_add_(x)? } else { narrow })
    }

    fn prepared(&self, kind: Kind) -> Result<Self, ModelError> {
        Ok(Self {
            expand: self.expand.as_ref().map(|expand| expand.prepared(kind)).transpose()?,
            depthwise: self.depthwise.prepared(kind)?,
            project: self.project.prepared(kind)?,
            residual: self.residual,
        })
    }
}

/// The trunk. Its tensors are saved with a checkpoint and never trained: `stem`, `blocks.0` to `blocks.15` with `expand`
/// (not in the first), `depthwise` and `project`, and `head`, each with a `weight` and a `bias`.
pub struct EfficientNetLite0 {
    stem: Conv,
    blocks: Vec<Block>,
    head: Conv,
    kind: Kind,
}

impl EfficientNetLite0 {
    /// Channels of the last feature map.
    pub const CHANNELS: i64 = 1280;
    /// Of the map behind the blocks that compute in f32: channels, and the side of the picture over its side.
    pub(crate) const EXACT: (usize, usize) = (24, 4);

    /// Names start right under `scope`.
    pub fn new(scope: &Scope) -> Result<Self, ModelError> {
        let stem = Plan { shape: (STEM_CHANNELS, 3, 3), stride: 2, groups: 1, relu6: true };
        let head = Plan { shape: (Self::CHANNELS, LAST_CHANNELS, 1), stride: 1, groups: 1, relu6: true };
        let in_order = STAGES.iter().flat_map(|stage| (0..stage.blocks).map(move |at| (stage, at == 0)));
        let block = |(index, (stage, first))| Block::new(&scope.sub(&format!("blocks.{index}")), stage, first);
        Ok(Self {
            stem: Conv::new(&scope.sub("stem"), &stem)?,
            blocks: in_order.enumerate().map(block).collect::<Result<_, _>>()?,
            head: Conv::new(&scope.sub("head"), &head)?,
            kind: Kind::Float,
        })
    }

    /// The trunk from a file of base weights, as set-up makes it, in f32.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, one that lacks a tensor or holds another, a value that is not finite.
    pub fn from_file(path: &Path, device: Device) -> Result<Self, ModelError> {
        let bytes = read(path)?;
        let stored = StoredWeights::parse(&bytes).map_err(|reason| ModelError::malformed(path, reason))?;
        let builder = Builder::stored(&stored, device);
        let trunk = Self::new(&builder.scope(""))?;
        stored.check_all_read(&builder.finish())?;
        Ok(trunk)
    }

    /// `[batch, 3, side, side]`, normalised by [`Normalisation::LITE`](crate::Normalisation::LITE), to
    /// `[batch, 1280, side / 32, side / 32]`, 0 to 6, in f32. [`ModelError::Input`] unless the sides are multiples of 32.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        self.forward_in(x, self.kind)
    }

    /// The same with convolutions computed in `kind`, those of the first blocks excepted, the parameters staying as they are.
    pub fn forward_in(&self, x: &Tensor, kind: Kind) -> Result<Tensor, ModelError> {
        let (batch, _, height, width) = x.size4()?;
        if height == 0 || width == 0 || height % REDUCTION != 0 || width % REDUCTION != 0 {
            return Err(ModelError::Input(format!(
                "a picture of {width} x {height} pixels, expected sides that are multiples of {REDUCTION}"
            )));
        }
        if batch <= CPU_ROWS || x.device() != Device::Cpu {
            return self.map(x, kind);
        }
        let part = |first| self.map(&x.f_narrow(0, first, CPU_ROWS.min(batch - first))?, kind);
        let maps = (0..batch).step_by(CPU_ROWS as usize).map(part).collect::<Result<Vec<_>, ModelError>>()?;
        Ok(Tensor::f_cat(&maps, 0)?)
    }

    fn map(&self, x: &Tensor, kind: Kind) -> Result<Tensor, ModelError> {
        let mut x = self.stem.forward(&channels_last(&x.f_to_kind(Kind::Float)?)?)?;
        for (index, block) in self.blocks.iter().enumerate() {
            if index == EXACT_BLOCKS {
                x = x.f_to_kind(kind)?;
            }
            x = block.forward(&x)?;
        }
        Ok(self.head.forward(&x)?.f_to_kind(Kind::Float)?)
    }

    /// The trunk that serves: weights in `kind`, those of the first blocks excepted, and channels last.
    pub fn for_serving(&self, kind: Kind) -> Result<Self, ModelError> {
        let kind_of = |index| if index < EXACT_BLOCKS { Kind::Float } else { kind };
        let prepared = |(index, block): (usize, &Block)| block.prepared(kind_of(index));
        Ok(Self {
            stem: self.stem.prepared(Kind::Float)?,
            blocks: self.blocks.iter().enumerate().map(prepared).collect::<Result<_, _>>()?,
            head: self.head.prepared(kind)?,
            kind,
        })
    }
}

#[cfg(test)]
#[path = "efficientnet_lite_tests.rs"]
mod tests;
