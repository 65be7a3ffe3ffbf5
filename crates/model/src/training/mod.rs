//! Training of the `modern` profile, one network at a time: the paper trains each encoder alone with its own head,
//! then the fusion on their frozen vectors.
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
//! save_state(&self, &Path) / load_state(&mut self, &Path)           weights, Adam's moments, epoch, seed
//! parameter_count(&self) -> usize
//! head(&self) -> LinearHead                         encoders only, for UnimodalHeads
//! ```
//!
//! [`AudioTrainer::predict_moods`] gives the mood logits. [`FusionTrainer::calibrate`] fits on validation what must
//! not be fitted on training vectors (encoders know their training posts by heart): the reliability of each
//! modality, the temperatures and the thresholds. [`standardisation`] takes the bins' statistics of the training
//! clips. [`assemble_checkpoint`] writes the folder.

mod types;

pub use types::{
    AudioConfig, AudioExample, EpochReport, FusionConfig, FusionExample, ImageConfig, ImageExample, LinearHead,
    Optimisation, TextConfig, TextExample, UnimodalHeads,
};
