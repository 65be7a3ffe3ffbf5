//! The architectures, as builders over named tensors. Each takes a small configuration, so that the profiles `paper`
//! and `authors-code` are other configurations and compositions of the same parts.

mod att_bigru;
mod cmf_ap;
mod dcrnn;
mod densenet;
mod image_head;
mod joint;
pub(crate) mod zoo;

pub(crate) use att_bigru::{AttBiGru, TextBatch, TextForward};
pub(crate) use dcrnn::{Dcrnn, DcrnnConfig, FRAMES_PER_STEP, STEPS, steps_of_frames};
pub(crate) use image_head::{DEVIATION, ImageForward, ImageModel, MEAN, Pixels};
pub(crate) use joint::{Joint, JointBatch, JointForward};

#[cfg(test)]
mod dense_oracle;
#[cfg(test)]
mod parity_tests;
