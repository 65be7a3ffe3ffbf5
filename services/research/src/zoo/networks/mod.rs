//! The networks of the profiles `paper` and `authors-code` and their rivals (`jtav-spec` 2 to 5, 7, 8).

mod audio;
mod backbone;
mod cmf;
mod dcrnn_authors;
mod dcrnn_paper;
mod flat_fusion;
mod image;
mod parts;
mod resnet;
mod retrieval;
mod text;
mod text_authors;
mod vgg;
mod words;

pub(crate) use audio::{AudioEncoder, SegmentBatch};
pub(crate) use backbone::{is_classifier, last_block};
pub(crate) use cmf::CmfAp;
pub(crate) use flat_fusion::{EarlyFusion, LowRank};
pub(crate) use image::ImageEncoder;
pub(crate) use parts::{Fusion, PartsBatch};
pub(crate) use retrieval::{JointScorer, QueryTable, SongTable, TwoTower};
pub(crate) use text::TextEncoder;

#[cfg(test)]
pub(crate) use {
    dcrnn_authors::AuthorsSizes,
    dcrnn_paper::{Alignment, PaperSizes},
};

use tch::Tensor;

use crate::ModelError;
use crate::layers::Linear;

/// What one forward pass yields.
pub(crate) struct Forward {
    /// `[rows, width]`: the vector before the last layer.
    pub features: Tensor,
    /// `[rows]`.
    pub logits: Tensor,
}

impl Forward {
    /// A linear head on the features themselves.
    fn of(features: Tensor, head: &Linear) -> Result<Self, ModelError> {
        let logits = head.forward(&features)?.f_squeeze_dim(1)?;
        Ok(Self { features, logits })
    }
}

#[cfg(test)]
mod parity_tests;
