//! ResNet-101 (He et al. 2016) with torchvision's parameter names and its place of the stride.

use jtav_model::ModelError;
use jtav_model::layers::{BatchNorm, Conv2d};
use jtav_model::parameters::Scope;
use tch::{Kind, Tensor};

/// Bottlenecks of the four stages.
const DEPTHS: [usize; 4] = [3, 4, 23, 3];
/// Channels that leave a bottleneck over those inside.
const EXPANSION: i64 = 4;

/// The network up to its pooled feature, without torchvision's `fc`.
pub(crate) struct ResNet101 {
    stem: (Conv2d, BatchNorm),
    blocks: Vec<Bottleneck>,
}

impl ResNet101 {
    /// Names start at `conv1`, `bn1` and `layer1` under `scope`.
    pub fn new(scope: &Scope) -> Result<Self, ModelError> {
        let mut blocks = Vec::new();
        let mut inputs = 64;
        for (stage, depth) in DEPTHS.into_iter().enumerate() {
            let width = 64 << stage;
            for index in 0..depth {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let scope = scope.sub(&format!("layer{}.{index}", stage + 1));
                blocks.push(Bottleneck::new(&scope, inputs, width, stride)?);
                inputs = EXPANSION * width;
            }
        }
        let stem = (Conv2d::new(&scope.sub("conv1"), (3, 64), (7, 7), 2, 3)?, BatchNorm::new(&scope.sub("bn1"), 64)?);
        Ok(Self { stem, blocks })
    }

    /// `[batch, 2048]` of `[batch, 3, side, side]`, normalised.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let (conv, norm) = &self.stem;
        let mut x = norm.forward(&conv.forward(x)?, train)?.f_relu()?;
        x = x.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
        for block in &self.blocks {
            x = block.forward(&x, train)?;
        }
        Ok(x.f_mean_dim([2_i64, 3].as_slice(), false, Kind::Float)?)
    }
}

/// 1 x 1, 3 x 3, 1 x 1 beside the identity.
struct Bottleneck {
    layers: [(Conv2d, BatchNorm); 3],
    /// Fits the identity where the size changes.
    downsample: Option<(Conv2d, BatchNorm)>,
}

impl Bottleneck {
    fn new(scope: &Scope, inputs: i64, width: i64, stride: i64) -> Result<Self, ModelError> {
        let outputs = EXPANSION * width;
        let layer = |index: usize, channels: (i64, i64), kernel: i64, stride: i64| {
            let conv = scope.sub(&format!("conv{index}"));
            let conv = Conv2d::new(&conv, channels, (kernel, kernel), stride, kernel / 2)?;
            Ok::<_, ModelError>((conv, BatchNorm::new(&scope.sub(&format!("bn{index}")), channels.1)?))
        };
        let downsample = match stride != 1 || inputs != outputs {
            true => Some((
                Conv2d::new(&scope.sub("downsample.0"), (inputs, outputs), (1, 1), stride, 0)?,
                BatchNorm::new(&scope.sub("downsample.1"), outputs)?,
            )),
            false => None,
        };
        let layers =
            [layer(1, (inputs, width), 1, 1)?, layer(2, (width, width), 3, stride)?, layer(3, (width, outputs), 1, 1)?];
        Ok(Self { layers, downsample })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let apply = |(conv, norm): &(Conv2d, BatchNorm), x: &Tensor| norm.forward(&conv.forward(x)?, train);
        let [first, second, third] = &self.layers;
        let inner = apply(second, &apply(first, x)?.f_relu()?)?.f_relu()?;
        let identity = match &self.downsample {
            Some(layer) => apply(layer, x)?,
            None => x.shallow_clone(),
        };
        Ok(apply(third, &inner)?.f_add(&identity)?.f_relu()?)
    }
}
