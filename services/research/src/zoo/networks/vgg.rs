//! VGG-19 (Simonyan and Zisserman 2015, configuration E) with torchvision's parameter names.

use jtav_model::ModelError;
use jtav_model::layers::{Conv2d, Linear};
use jtav_model::parameters::Scope;
use tch::Tensor;

/// Channels of the convolutions between one pool and the next.
const STAGES: [&[i64]; 5] =
    [&[64, 64], &[128, 128], &[256, 256, 256, 256], &[512, 512, 512, 512], &[512, 512, 512, 512]];
/// Side of the map that fc6 reads.
const SIDE: i64 = 7;
/// Values of fc6 and fc7.
const HIDDEN: i64 = 4096;

/// The network up to fc7, without torchvision's `classifier.6`.
pub(crate) struct Vgg19 {
    stages: Vec<Vec<Conv2d>>,
    fc6: Linear,
    fc7: Linear,
}

impl Vgg19 {
    /// Names start at `features` and `classifier` under `scope`.
    pub fn new(scope: &Scope) -> Result<Self, ModelError> {
        let (mut inputs, mut index) = (3, 0);
        let mut stages = Vec::with_capacity(STAGES.len());
        for widths in STAGES {
            let mut convs = Vec::with_capacity(widths.len());
            for &width in widths {
                let scope = scope.sub(&format!("features.{index}"));
                convs.push(Conv2d::with_bias(&scope, (inputs, width), (3, 3), 1, 1)?);
                inputs = width;
                // torchvision numbers the ReLUs too.
                index += 2;
            }
            stages.push(convs);
            // ... and the pools.
            index += 1;
        }
        Ok(Self {
            stages,
            fc6: Linear::new(&scope.sub("classifier.0"), inputs * SIDE * SIDE, HIDDEN)?,
            fc7: Linear::new(&scope.sub("classifier.3"), HIDDEN, HIDDEN)?,
        })
    }

    /// `[batch, 4096]` of `[batch, 3, side, side]`, normalised. torchvision's dropout after fc6 and fc7 is left out:
    /// it would blur a feature that is read and not trained.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let mut x = x.shallow_clone();
        for convs in &self.stages {
            for conv in convs {
                x = conv.forward(&x)?.f_relu()?;
            }
            x = x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
        }
        let flat = x.f_adaptive_avg_pool2d([SIDE, SIDE])?.f_flatten(1, -1)?;
        Ok(self.fc7.forward(&self.fc6.forward(&flat)?.f_relu()?)?.f_relu()?)
    }
}
