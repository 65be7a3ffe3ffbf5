//! Training of the `modern` profile, one network at a time: the paper trains each encoder alone with its own head,
//! then the fusion on their frozen vectors. [`JointTrainer`] takes up all four and fine-tunes them end to end.
//!
//! Every trainer has the same methods:
//!
//! ```text
//! TextTrainer::new(TextConfig, vocabulary_rows: usize, seed: u64)   epoch(&mut self, &[TextExample])
//! AudioTrainer::new(AudioConfig, Standardisation, seed: u64)        epoch(&mut self, &[AudioExample])
//! ImageTrainer::new(ImageConfig, seed: u64)                         epoch(&mut self, &[ImageExample])
//! FusionTrainer::new(FusionConfig, &UnimodalHeads, seed: u64)       epoch(&mut self, &[FusionExample])
//!
//! epoch(..)   -> Result<EpochReport, ModelError>    one pass, shuffled by seed and epoch number
//! predict(&self, &[TextInput | AudioInput | Rgb224 | FusionInput]) -> Result<Vec<f32>, ModelError>
//!                                                   sentiment logits in order, evaluation mode
//! encode(&self, &[..same..]) -> Result<Vec<Vec<f32>>, ModelError>   the vectors that the fusion reads (fusion: u)
//! set_learning_rate(&mut self, f64)                 takes effect with the next epoch
//! snapshot(&mut self) / restore(&mut self) -> bool  best weights, kept in memory; false when there is none
//! save_state(&self, &Path) / load_state(&mut self, &Path)           weights, the optimiser's memory, epoch, seed
//! save_progress(&self, &Path)                                       the same and the last snapshot
//! parameter_count(&self) -> usize
//! head(&self) -> Result<LinearHead, _>                         encoders only, for UnimodalHeads
//! keep_weights(&mut self, &Kept)                                    audio and image: as an earlier checkpoint has them
//! TextTrainer::fit_bag(&mut self, &[TextExample])                   before the first epoch
//! TextTrainer::weigh(&mut self, &[TextInput], &[bool])              after the last one, on validation
//! ```
//!
//! Equal seeds give equal trainings as long as no other thread of the process trains: dropout draws from libtorch's
//! one generator.
//!
//! [`AudioTrainer::predict_moods`] gives the mood logits. [`FusionTrainer::calibrate`] fits on validation what must
//! not be fitted on training vectors (encoders know their training posts by heart): the reliability of each
//! modality, the temperatures and the thresholds. [`Standardisation::fit`](jtav_model::Standardisation::fit) takes the bins' statistics
//! of the training clips. [`assemble_checkpoint`] writes the folder.

mod adam;
mod assemble;
mod audio;
mod bag;
mod calibration;
mod encoder;
mod fusion;
mod image;
mod joint;
mod kept;
pub mod learner;
pub mod logistic;
mod optimiser;
mod rmsprop;
mod text;
mod types;

pub use assemble::assemble_checkpoint;
pub use audio::AudioTrainer;
pub use fusion::{FusionTrainer, hide};
pub use image::ImageTrainer;
pub use joint::{JointExample, JointTrainer};
pub use kept::Kept;
pub use text::TextTrainer;
pub use types::{
    AudioConfig, AudioExample, EpochReport, FusionConfig, FusionExample, ImageConfig, ImageExample, JointConfig,
    LinearHead, Optimisation, TextConfig, TextExample, UnimodalHeads, UpdateRule, check_share,
};
