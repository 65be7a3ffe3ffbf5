//! The architectures, as builders over named tensors, and their inputs as batches. Each takes a small configuration, so
//! that other profiles are other configurations and compositions of the same parts.

mod att_bigru;
mod audio;
mod backbone;
mod clips;
mod cmf_ap;
mod dcrnn;
mod densenet;
mod efficientnet_lite;
mod image_head;
mod joint;
mod minilm;
mod semantic;
mod sound_statistics;
mod torchvision;
mod two_tower;

pub(crate) use att_bigru::{AttBiGruOnSlices, WordsOnSlices};
pub(crate) use audio::{AudioModel, audio_vector};
pub(crate) use clips::{encode_levels, mean_of_segments};
pub(crate) use dcrnn::{FRAMES_PER_STEP, RecurrentOnSlices, STEPS, steps_of_frames};
pub(crate) use efficientnet_lite::Kernels;
pub(crate) use image_head::ImageHeadOnSlices;
pub(crate) use joint::JointOnSlices;
pub(crate) use minilm::EmbeddingsOnSlices;
pub(crate) use semantic::SemanticOnSlices;
pub use {
    att_bigru::{AttBiGru, TextBatch, TextDropout, TextForward, WordFeatures},
    backbone::Backbone,
    clips::{AudioBatch, encode_clips},
    cmf_ap::CrossAttention,
    dcrnn::{AudioForward, Dcrnn, DcrnnConfig, DcrnnHeads},
    densenet::{DenseNet, DenseNetConfig},
    efficientnet_lite::EfficientNetLite0,
    image_head::{ImageForward, ImageHead, ImageModel, Pixels},
    joint::{Joint, JointBatch, JointForward},
    minilm::{MiniLm, MiniLmForward, PieceBatch},
    semantic::SemanticSpace,
    sound_statistics::{Judge, SoundStatistics, SoundVerdict},
    torchvision::densenet_of_torchvision,
    two_tower::{TowerWidths, TwoTower},
};

#[cfg(test)]
#[path = "../../tests/fixtures/dense_oracle.rs"]
mod dense_oracle;
#[cfg(test)]
#[path = "../../tests/fixtures/formula.rs"]
pub(crate) mod formula;
#[cfg(test)]
mod parity_tests;
