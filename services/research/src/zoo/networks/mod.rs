//! The networks of the profiles `paper` and `authors-code` and their rivals (docs/networks.md).

mod audio;
mod backbone;
pub(crate) mod cmf;
mod dcrnn_authors;
mod dcrnn_paper;
mod flat_fusion;
mod forward;
mod fusion;
mod image;
mod parts;
mod resnet;
mod text;
mod text_authors;
mod vgg;
mod words;

pub(crate) use audio::{AudioEncoder, SegmentBatch};
pub(crate) use backbone::{is_classifier, last_block};
pub(crate) use cmf::CmfAp;
pub(crate) use flat_fusion::{EarlyFusion, LowRank};
pub(crate) use forward::Forward;
pub(crate) use fusion::Fusion;
pub(crate) use image::ImageEncoder;
pub(crate) use parts::PartsBatch;
pub(crate) use text::TextEncoder;

#[cfg(test)]
pub(crate) use {
    dcrnn_authors::AuthorsSizes,
    dcrnn_paper::{Alignment, PaperSizes},
};

#[cfg(test)]
#[path = "../../../../../crates/model/tests/fixtures/dense_oracle.rs"]
mod dense_oracle;
#[cfg(test)]
#[path = "../../../../../crates/model/tests/fixtures/formula.rs"]
mod formula;
#[cfg(test)]
mod parity_tests;
