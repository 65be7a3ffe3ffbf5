//! DenseNet-121 (Huang et al. 2016, arXiv 1608.06993) with torchvision's parameter names.

use tch::{Kind, Tensor};

use crate::error::ModelError;
use crate::layers::{BatchNorm, Conv2d, channels_last};
use crate::parameters::Scope;

/// Depth and width; the default is DenseNet-121.
#[derive(Debug, Clone, Copy)]
pub struct DenseNetConfig {
    pub(crate) blocks: [usize; 4],
    pub(crate) growth: i64,
    pub(crate) stem_channels: i64,
}

impl DenseNetConfig {
    /// Bottleneck width over growth.
    const BOTTLENECK: i64 = 4;

    /// DenseNet-121: blocks of 6, 12, 24 and 16 layers, 32 channels a layer.
    pub const DENSENET_121: Self = Self { blocks: [6, 12, 24, 16], growth: 32, stem_channels: 64 };

    /// Channels of the last feature map.
    pub fn features(&self) -> i64 {
        let mut channels = self.stem_channels;
        for (index, &layers) in self.blocks.iter().enumerate() {
            channels += layers as i64 * self.growth;
            if index + 1 < self.blocks.len() {
                channels /= 2;
            }
        }
        channels
    }
}

struct DenseLayer {
    norm1: BatchNorm,
    conv1: Conv2d,
    /// `None` once it is folded into `conv1`.
    norm2: Option<BatchNorm>,
    conv2: Conv2d,
}

struct Transition {
    norm: BatchNorm,
    conv: Conv2d,
}

/// The backbone up to the last feature map, without torchvision's classifier.
pub struct DenseNet {
    stem: Conv2d,
    /// `None` once it is folded into `stem`.
    stem_norm: Option<BatchNorm>,
    blocks: Vec<(Vec<DenseLayer>, Option<Transition>)>,
    last_norm: BatchNorm,
    kind: Kind,
}

impl DenseNet {
    /// Names start at `features` under `scope`.
    pub fn new(scope: &Scope, config: DenseNetConfig) -> Result<Self, ModelError> {
        let scope = scope.sub("features");
        let mut channels = config.stem_channels;
        let stem = Conv2d::new(&scope.sub("conv0"), (3, channels), (7, 7), 2, 3)?;
        let stem_norm = Some(BatchNorm::new(&scope.sub("norm0"), channels)?);
        let mut blocks = Vec::new();
        for (index, &depth) in config.blocks.iter().enumerate() {
            let block = scope.sub(&format!("denseblock{}", index + 1));
            let mut layers = Vec::with_capacity(depth);
            for layer in 1..=depth {
                layers.push(DenseLayer::new(&block.sub(&format!("denselayer{layer}")), channels, config.growth)?);
                channels += config.growth;
            }
            let transition = if index + 1 < config.blocks.len() {
                let scope = scope.sub(&format!("transition{}", index + 1));
                let norm = BatchNorm::new(&scope.sub("norm"), channels)?;
                let conv = Conv2d::new(&scope.sub("conv"), (channels, channels / 2), (1, 1), 1, 0)?;
                channels /= 2;
                Some(Transition { norm, conv })
            } else {
                None
            };
            blocks.push((layers, transition));
        }
        let last_norm = BatchNorm::new(&scope.sub("norm5"), channels)?;
        Ok(Self { stem, stem_norm, blocks, last_norm, kind: Kind::Float })
    }

    /// `[batch, 3, side, side]`, normalised, f32, to `[batch, 1024, side / 32, side / 32]` in f32.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        self.forward_in(x, train, self.kind)
    }

    /// The same with convolutions computed in `kind`, the parameters staying as they are.
    pub fn forward_in(&self, x: &Tensor, train: bool, kind: Kind) -> Result<Tensor, ModelError> {
        let mut x = x.f_to_kind(kind)?;
        if kind != Kind::Float {
            x = channels_last(&x)?;
        }
        x = normalised(&self.stem.forward(&x)?, self.stem_norm.as_ref(), train)?;
        x = x.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
        for (layers, transition) in &self.blocks {
            for layer in layers {
                let grown = layer.forward(&x, train)?;
                x = Tensor::f_cat(&[x, grown], 1)?;
            }
            if let Some(Transition { norm, conv }) = transition {
                x = conv.forward(&norm.forward(&x, train)?.f_relu()?)?;
                x = x.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
            }
        }
        Ok(self.last_norm.forward(&x, train)?.f_relu()?.f_to_kind(Kind::Float)?)
    }

    /// The network that serves: normalisations that follow a convolution folded into it, weights in `kind` and
    /// channels last. Evaluation mode only.
    pub fn for_serving(&self, kind: Kind) -> Result<Self, ModelError> {
        let fold = |conv: &Conv2d, norm: &Option<BatchNorm>| match norm {
            Some(norm) => conv.fold(norm)?.prepared(kind),
            None => conv.prepared(kind),
        };
        let layer = |layer: &DenseLayer| {
            Ok(DenseLayer {
                norm1: layer.norm1.share(),
                conv1: fold(&layer.conv1, &layer.norm2)?,
                norm2: None,
                conv2: layer.conv2.prepared(kind)?,
            })
        };
        let mut blocks = Vec::new();
        for (layers, transition) in &self.blocks {
            let layers = layers.iter().map(layer).collect::<Result<Vec<_>, ModelError>>()?;
            let transition = match transition {
                Some(Transition { norm, conv }) => Some(Transition { norm: norm.share(), conv: conv.prepared(kind)? }),
                None => None,
            };
            blocks.push((layers, transition));
        }
        let stem = fold(&self.stem, &self.stem_norm)?;
        Ok(Self { stem, stem_norm: None, blocks, last_norm: self.last_norm.share(), kind })
    }
}

impl DenseLayer {
    fn new(scope: &Scope, inputs: i64, growth: i64) -> Result<Self, ModelError> {
        let inner = DenseNetConfig::BOTTLENECK * growth;
        Ok(Self {
            norm1: BatchNorm::new(&scope.sub("norm1"), inputs)?,
            conv1: Conv2d::new(&scope.sub("conv1"), (inputs, inner), (1, 1), 1, 0)?,
            norm2: Some(BatchNorm::new(&scope.sub("norm2"), inner)?),
            conv2: Conv2d::new(&scope.sub("conv2"), (inner, growth), (3, 3), 1, 1)?,
        })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let inner = self.conv1.forward(&self.norm1.forward(x, train)?.f_relu()?)?;
        self.conv2.forward(&normalised(&inner, self.norm2.as_ref(), train)?)
    }
}

fn normalised(x: &Tensor, norm: Option<&BatchNorm>, train: bool) -> Result<Tensor, ModelError> {
    match norm {
        Some(norm) => Ok(norm.forward(x, train)?.f_relu()?),
        None => Ok(x.f_relu()?),
    }
}
