//! DCRNN by the paper, equation 2, made feasible (docs/networks.md, "The shapes of equation 2").

use jtav_model::ModelError;
use jtav_model::layers::{BatchNorm, BiGru, Conv2d, Linear};
use jtav_model::parameters::Scope;
use tch::Tensor;

use super::forward::Forward;

/// How A1 and A3 come to have one size, without which equation 2 cannot join them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alignment {
    /// The pools of units 1 to 3 keep the size.
    Stride1,
    /// All pools shrink, and A1 is pooled to the size of A3.
    Pool,
}

/// Widths of the layers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PaperSizes {
    pub filters: i64,
    /// Hidden values per direction of both recurrent layers.
    pub hidden: i64,
    pub dense: i64,
    pub vector: i64,
}

impl PaperSizes {
    /// The paper gives none ("optimally tuned"); these are ours.
    pub fn published(vector: i64) -> Self {
        Self { filters: 64, hidden: 128, dense: 256, vector }
    }
}

/// Two blocks of four convolutional units, two BiGRUs over time, dense layers.
pub(crate) struct PaperDcrnn {
    blocks: [Block; 2],
    alignment: Alignment,
    gru1: BiGru,
    gru2: BiGru,
    dense: Linear,
    vector: Linear,
    head: Linear,
}

impl PaperDcrnn {
    pub fn new(scope: &Scope, sizes: &PaperSizes, alignment: Alignment) -> Result<Self, ModelError> {
        let inputs = sizes.filters * alignment.rows();
        let gru1 = BiGru::new(&scope.sub("gru1"), inputs, sizes.hidden)?;
        gru1.flatten(inputs)?;
        let gru2 = BiGru::new(&scope.sub("gru2"), 2 * sizes.hidden, sizes.hidden)?;
        gru2.flatten(2 * sizes.hidden)?;
        Ok(Self {
            blocks: [
                Block::new(&scope.sub("block1"), 1, sizes.filters)?,
                Block::new(&scope.sub("block2"), sizes.filters, sizes.filters)?,
            ],
            alignment,
            gru1,
            gru2,
            dense: Linear::new(&scope.sub("dense"), 2 * sizes.hidden, sizes.dense)?,
            vector: Linear::new(&scope.sub("vector"), sizes.dense, sizes.vector)?,
            head: Linear::new(&scope.sub("head"), sizes.vector, 1)?,
        })
    }

    /// Of `[segments, 1, 215, 96]` and the frames of each that hold sound: padding is not read by the BiGRUs.
    pub fn forward(&self, x: &Tensor, frames: &[usize], train: bool) -> Result<Forward, ModelError> {
        let mut x = x.shallow_clone();
        for block in &self.blocks {
            x = block.forward(&x, self.alignment, train)?;
        }
        let (segments, _, time, _) = x.size4()?;
        let sequence = x.f_permute([0, 2, 3, 1])?.f_reshape([segments, time, -1])?;
        // Two pools halve the time.
        let steps: Vec<i64> = frames.iter().map(|&frames| (frames.div_ceil(4) as i64).clamp(1, time)).collect();
        let states = self.gru2.forward(&self.gru1.forward(&sequence, &steps)?, &steps)?;
        let hidden = self.dense.forward(&self.gru2.last_states(&states, &steps)?)?.f_relu()?;
        Forward::of(self.vector.forward(&hidden)?, &self.head)
    }
}

impl Alignment {
    /// Frequency rows that remain of 96 bins.
    fn rows(self) -> i64 {
        match self {
            // 96 / 4 / 4.
            Self::Stride1 => 6,
            // Halved eight times, rounded up.
            Self::Pool => 1,
        }
    }

    /// Pools after unit 1, 2 or 3: 3 x 3 with stride 1, or 1 x 2 along frequency.
    fn inner_pool(self, x: &Tensor) -> Result<Tensor, ModelError> {
        Ok(match self {
            Self::Stride1 => x.f_max_pool2d([3, 3], [1, 1], [1, 1], [1, 1], false)?,
            // Rounded up, since the eighth halving finds one row.
            Self::Pool => x.f_max_pool2d([1, 2], [1, 2], [0, 0], [1, 1], true)?,
        })
    }

    /// Pools after unit 4.
    fn last_pool(self, x: &Tensor) -> Result<Tensor, ModelError> {
        Ok(match self {
            Self::Stride1 => x.f_max_pool2d([2, 4], [2, 4], [0, 0], [1, 1], false)?,
            Self::Pool => x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], true)?,
        })
    }
}

/// `A1 = f(A0)`, `A2 = f(A1)`, `A3 = f(A2)`, `A4 = f(A1 + A3 joined)` with f a convolution, batch normalisation, ReLU
/// and a pool (paper, equation 2).
struct Block {
    units: [(Conv2d, BatchNorm); 4],
}

impl Block {
    fn new(scope: &Scope, inputs: i64, filters: i64) -> Result<Self, ModelError> {
        let unit = |index: usize, inputs: i64| {
            let scope = scope.sub(&format!("unit{index}"));
            let conv = Conv2d::new(&scope.sub("conv"), (inputs, filters), (3, 3), 1, 1)?;
            Ok::<_, ModelError>((conv, BatchNorm::new(&scope.sub("norm"), filters)?))
        };
        Ok(Self { units: [unit(1, inputs)?, unit(2, filters)?, unit(3, filters)?, unit(4, 2 * filters)?] })
    }

    fn forward(&self, x: &Tensor, alignment: Alignment, train: bool) -> Result<Tensor, ModelError> {
        let active = |unit: usize, x: &Tensor| {
            let (conv, norm) = &self.units[unit];
            Ok::<_, ModelError>(norm.forward(&conv.forward(x)?, train)?.f_relu()?)
        };
        let first = alignment.inner_pool(&active(0, x)?)?;
        let second = alignment.inner_pool(&active(1, &first)?)?;
        let third = alignment.inner_pool(&active(2, &second)?)?;
        let (_, _, time, rows) = third.size4()?;
        let first = match alignment {
            Alignment::Stride1 => first,
            Alignment::Pool => first.f_adaptive_max_pool2d([time, rows])?.0,
        };
        alignment.last_pool(&active(3, &Tensor::f_cat(&[first, third], 1)?)?)
    }
}
