//! The audio networks of the zoo: DCRNN in its forms and the convnet.

use jtav_model::layers::{BatchNorm, Conv2d, Linear};
use jtav_model::networks::AudioBatch;
use jtav_model::parameters::Scope;
use jtav_model::{ModelError, Standardisation};
use tch::{Device, Tensor};

use super::dcrnn_authors::{AuthorsDcrnn, AuthorsSizes};
use super::dcrnn_paper::{Alignment, PaperDcrnn, PaperSizes};
use super::forward::Forward;
use crate::zoo::architecture::DcrnnForm;

/// Segments on their way into the network.
pub(crate) struct SegmentBatch {
    /// `[segments, 1, 215, 96]`, standardised; time before frequency.
    pub x: Tensor,
    /// Frames of each segment that hold sound, 1 to 215.
    pub frames: Vec<usize>,
}

impl SegmentBatch {
    /// Of levels `[215, 96]` in dB with the frames that hold sound.
    pub fn new(
        segments: &[(&[f32], usize)],
        standardisation: &Standardisation,
        device: Device,
    ) -> Result<Self, ModelError> {
        let x = AudioBatch::new(segments, standardisation, device)?.x;
        Ok(Self { x, frames: segments.iter().map(|&(_, frames)| frames).collect() })
    }
}

/// An audio network of the zoo.
pub(crate) enum AudioEncoder {
    /// docs/networks.md, "Audio in the profile `authors-code`".
    Authors(Box<AuthorsDcrnn>),
    /// docs/networks.md, "Audio in the profile `paper`".
    Paper(Box<PaperDcrnn>),
    /// Choi et al. 2017.
    ConvNet(ConvNet),
}

impl AudioEncoder {
    pub fn dcrnn(scope: &Scope, form: DcrnnForm, vector: i64) -> Result<Self, ModelError> {
        match form {
            DcrnnForm::AuthorsCode => Self::authors(scope, &AuthorsSizes::published(vector)),
            DcrnnForm::Paper => Self::paper(scope, &PaperSizes::published(vector), Alignment::Stride1),
            DcrnnForm::PaperPooled => Self::paper(scope, &PaperSizes::published(vector), Alignment::Pool),
        }
    }

    pub fn authors(scope: &Scope, sizes: &AuthorsSizes) -> Result<Self, ModelError> {
        Ok(Self::Authors(Box::new(AuthorsDcrnn::new(scope, sizes)?)))
    }

    pub fn paper(scope: &Scope, sizes: &PaperSizes, alignment: Alignment) -> Result<Self, ModelError> {
        Ok(Self::Paper(Box::new(PaperDcrnn::new(scope, sizes, alignment)?)))
    }

    /// 32 `filters` as published.
    pub fn conv_net(scope: &Scope, filters: i64) -> Result<Self, ModelError> {
        Ok(Self::ConvNet(ConvNet::new(scope, filters)?))
    }

    pub fn forward(&self, batch: &SegmentBatch, train: bool) -> Result<Forward, ModelError> {
        match self {
            Self::Authors(network) => network.forward(&batch.x, train),
            Self::Paper(network) => network.forward(&batch.x, &batch.frames, train),
            Self::ConvNet(network) => network.forward(&batch.x, train),
        }
    }
}

/// Five times convolution 3 x 3 with 32 filters, batch normalisation, ELU, max pooling; the averages of the five maps
/// are the vector (Choi et al. 2017, "Transfer learning for music classification and regression tasks").
///
/// The frequency pools are theirs, for 96 bins; their time pools are for 29 seconds and would leave nothing of ten,
/// so that these halve.
pub(crate) struct ConvNet {
    layers: Vec<(Conv2d, BatchNorm)>,
    head: Linear,
}

impl ConvNet {
    /// Time by frequency: 215x96 -> 107x48 -> 53x16 -> 26x8 -> 13x4 -> 3x1.
    const POOLS: [[i64; 2]; 5] = [[2, 2], [2, 3], [2, 2], [2, 2], [4, 4]];

    fn new(scope: &Scope, filters: i64) -> Result<Self, ModelError> {
        let layer = |index: usize| {
            let scope = scope.sub(&format!("layer{}", index + 1));
            let inputs = if index == 0 { 1 } else { filters };
            let conv = Conv2d::new(&scope.sub("conv"), (inputs, filters), (3, 3), 1, 1)?;
            Ok((conv, BatchNorm::keras(&scope.sub("norm"), filters, 1e-3)?))
        };
        Ok(Self {
            layers: (0..Self::POOLS.len()).map(layer).collect::<Result<_, ModelError>>()?,
            head: Linear::new(&scope.sub("head"), filters * Self::POOLS.len() as i64, 1)?,
        })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Forward, ModelError> {
        let mut x = x.shallow_clone();
        let mut averages = Vec::with_capacity(self.layers.len());
        for ((conv, norm), pool) in self.layers.iter().zip(Self::POOLS) {
            let active = norm.forward(&conv.forward(&x)?, train)?.f_elu()?;
            x = active.f_max_pool2d(pool, pool, [0, 0], [1, 1], false)?;
            averages.push(x.f_mean_dim([2_i64, 3].as_slice(), false, None)?);
        }
        Forward::of(Tensor::f_cat(&averages, 1)?, &self.head)
    }
}
