//! Training of the networks, one at a time, as the paper does: each encoder alone, then the fusion on their frozen vectors.
//!
//! | Trainer | Learns | By |
//! |---|---|---|
//! | [`TextTrainer`] | attBiGRU on its words' vectors, and the bag of n-grams beside it | epochs that the caller lists, steps that grow and shrink |
//! | [`AudioTrainer`] | DCRNN with its heads | epochs, as many as validation likes |
//! | [`fit_sound`] | what the statistics of clips say; [`AudioTrainer::hear`] puts it beside DCRNN | its optimum |
//! | [`ImageFitter`] | the head on a frozen backbone | closed form |
//! | [`FusionTrainer`] | CMF-AP on the vectors of the encoders | epochs, as many as validation likes |
//!
//! Those that go by epochs have in common `epoch(&mut self, examples)`, which shuffles by seed and epoch number, `predict`,
//! `encode`, `snapshot` and `restore` for the best weights, and `save_progress` and `load_state` for a training that is cut
//! short. All of them give the encoder's last layer as a [`LinearHead`], and their part of a checkpoint as [`Tensors`].
//!
//! Equal seeds give equal trainings as long as no other thread of the process trains: dropout draws from libtorch's
//! one generator.
//!
//! [`Parts::fit`] makes log-likelihood ratios of what encoders said of items that they had not seen (they know their training
//! items by heart), [`FusionTrainer::calibrate`] takes them over and fits on validation posts what is left, and
//! [`certain_threshold`] finds from which confidence labels keep a promise.
//! [`Standardisation::fit`](jtav_model::Standardisation::fit) takes the bins' statistics of the training clips.
//! [`assemble_checkpoint`] writes the folder.

mod adam;
mod assemble;
mod audio;
mod bag;
mod calibration;
mod certain;
pub mod dense;
mod encoder;
pub mod folds;
mod fusion;
mod held_out;
mod image_fit;
pub mod learner;
pub mod logistic;
pub mod logistic_regression;
mod optimiser;
mod rmsprop;
pub mod semantic;
mod sound;
mod tensors;
mod text;
pub mod three_way;
mod types;

pub use assemble::assemble_checkpoint;
pub use audio::AudioTrainer;
pub use calibration::{Evidence, INTERACTION_BOUND, PART_BOUND, Parts, Platt, Rated};
pub use certain::{LEAST_CERTAIN, certain_threshold};
pub use fusion::{FusionTrainer, hide};
pub use image_fit::{ImageBackboneSource, ImageFit, ImageFitter};
pub use sound::{SoundExample, SoundFit, fit_sound, stack_weight};
pub use tensors::Tensors;
pub use text::{TextExample, TextFeatures, TextTrainer};
pub use types::{
    AudioConfig, AudioExample, EpochReport, FusionConfig, FusionExample, ImageExample, LinearHead, Optimisation,
    TextConfig, TextTarget, UnimodalHeads, UpdateRule, check_share,
};
