//! The architectures, as builders over named tensors, and their inputs as batches. Each takes a small configuration, so
//! that other profiles are other configurations and compositions of the same parts.

mod att_bigru;
mod clips;
mod cmf_ap;
mod dcrnn;
mod densenet;
mod image_head;
mod joint;

pub(crate) use clips::encode_levels;
pub(crate) use dcrnn::{FRAMES_PER_STEP, STEPS, steps_of_frames};
pub use {
    att_bigru::{AttBiGru, TextBatch, TextForward, gather, places_tensor},
    clips::{AudioBatch, encode_clips},
    cmf_ap::CrossAttention,
    dcrnn::{AudioForward, Dcrnn, DcrnnConfig},
    densenet::{DenseNet, DenseNetConfig},
    image_head::{ImageForward, ImageModel, Pixels},
    joint::{Joint, JointBatch, JointForward},
};

#[cfg(test)]
#[path = "../../tests/fixtures/dense_oracle.rs"]
mod dense_oracle;
#[cfg(test)]
#[path = "../../tests/fixtures/formula.rs"]
mod formula;
#[cfg(test)]
mod parity_tests;
