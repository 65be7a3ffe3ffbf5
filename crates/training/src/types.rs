//! Examples, settings and reports of the trainers.

use std::sync::Arc;

use jtav_model::{DeviceChoice, FusionInput, ModelError, SEGMENT_BINS};
use serde::{Deserialize, Serialize};

/// What raters said of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextTarget {
    /// Shares of the votes for negative, neutral and positive; together 1.
    pub votes: [f32; 3],
    /// The mean of their ratings, -1 to 1.
    pub valence: f32,
}

impl TextTarget {
    /// How much they disagreed, 0 to 1.
    pub fn mixed(&self) -> f32 {
        2.0 * self.votes[0].min(self.votes[2])
    }
}

/// One clip with its labels.
#[derive(Debug, Clone)]
pub struct AudioExample {
    /// Whole spectrogram `[frames, 96]` row-major in dB; each epoch takes a random window of 215 frames from it.
    pub decibels: Arc<[f32]>,
    /// True for positive.
    pub positive: bool,
    /// Index of the mood (Q1 is 0), where the clip has one.
    pub mood: Option<usize>,
}

impl AudioExample {
    pub(crate) fn frames(&self) -> Result<usize, ModelError> {
        let frames = self.decibels.len() / SEGMENT_BINS;
        if frames == 0 || !self.decibels.len().is_multiple_of(SEGMENT_BINS) {
            return Err(ModelError::Input(format!(
                "a spectrogram of {} values has no whole frame",
                self.decibels.len()
            )));
        }
        Ok(frames)
    }
}

/// One picture with its label.
#[derive(Debug, Clone)]
pub struct ImageExample {
    /// `side * side * 3` bytes, RGB, row by row.
    pub pixels: Arc<[u8]>,
    /// Side of the square in pixels, for example 256 or 224; at least 224.
    pub side: usize,
    /// True for positive.
    pub positive: bool,
}

/// The vectors of one post with its label.
#[derive(Debug, Clone)]
pub struct FusionExample {
    /// Frozen vectors of the trained encoders.
    pub input: FusionInput,
    /// True for positive.
    pub positive: bool,
}

/// What one pass over the examples did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Epoch that has just ended, from 1; a restored state goes on counting.
    pub epoch: usize,
    /// Mean loss over the examples, with augmentation and dropout on.
    pub loss: f32,
    /// Examples seen.
    pub examples: usize,
    /// Wall time in seconds.
    pub seconds: f32,
}

/// What all trainers are told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Optimisation {
    /// Adam's step size.
    pub learning_rate: f64,
    /// Decoupled weight decay (AdamW) on matrices and kernels; biases, norms and embeddings are left alone.
    pub weight_decay: f64,
    /// Examples per step.
    pub batch_size: usize,
    /// Largest L2 norm of all gradients together; 0 switches clipping off.
    pub clip_norm: f64,
    /// Target of the loss is `1 - smoothing / 2` and `smoothing / 2` in place of 1 and 0.
    pub label_smoothing: f64,
    /// Weight of positive examples in the loss; 1 (the paper) switches it off.
    pub positive_weight: f64,
}

impl Default for Optimisation {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            weight_decay: 1e-2,
            batch_size: 32,
            clip_norm: 5.0,
            label_smoothing: 0.0,
            positive_weight: 1.0,
        }
    }
}

/// How a gradient becomes a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "kebab-case", deny_unknown_fields)]
pub enum UpdateRule {
    /// Adam with moments of 0.9 and 0.999 and decoupled weight decay.
    Adam {
        /// Added to the root of the second moment: 1e-8 in torch, 1e-7 in Keras.
        epsilon: f64,
    },
    /// RMSprop with a moment of 0.9, as Keras has it.
    RmsProp {
        /// Added to the root of the mean square: 1e-7 in Keras.
        epsilon: f64,
    },
}

impl UpdateRule {
    pub(crate) fn is_sound(&self) -> bool {
        let (Self::Adam { epsilon } | Self::RmsProp { epsilon }) = self;
        epsilon.is_finite() && *epsilon > 0.0
    }
}

impl Default for UpdateRule {
    fn default() -> Self {
        Self::Adam { epsilon: 1e-8 }
    }
}

/// Settings of the text trainer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextConfig {
    /// Optimiser and batch.
    pub optimisation: Optimisation,
    /// Where to train (not part of the recorded settings).
    #[serde(skip)]
    pub device: DeviceChoice,
    /// Probability that a word is left out of an example.
    pub word_dropout: f64,
    /// Probability that a component of the words' vectors is left out, through a whole text.
    pub channel_dropout: f64,
    /// Dropout before and after the dense layer.
    pub dropout: f64,
    /// Weight of the squared error of the valence in the loss.
    pub valence_weight: f64,
    /// Weight of the loss of how much raters disagreed.
    pub mixed_weight: f64,
    /// How much of the bag's logit is added to the polarity, in a profile that has one.
    pub bag_weight: f32,
    /// How much VADER's compound is.
    pub lexicon_weight: f32,
    /// Inverse weight of the bag's L2 penalty in units of one text's loss: smaller is stronger (scikit-learn's `C`).
    pub bag_penalty: f64,
    /// An n-gram counts when at least this many texts hold it.
    pub bag_least_documents: usize,
}

impl Default for TextConfig {
    /// Chosen by grouped cross-validation over the rated texts (docs/results/text.md).
    fn default() -> Self {
        let optimisation =
            Optimisation { learning_rate: 2e-3, batch_size: 64, clip_norm: 1.0, ..Optimisation::default() };
        Self {
            optimisation,
            device: DeviceChoice::Auto,
            word_dropout: 0.1,
            channel_dropout: 0.2,
            dropout: 0.3,
            valence_weight: 4.0,
            mixed_weight: 0.3,
            bag_weight: 0.2,
            lexicon_weight: 1.0,
            bag_penalty: 3.0,
            bag_least_documents: 1,
        }
    }
}

/// Settings of the audio trainer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AudioConfig {
    /// Optimiser and batch.
    pub optimisation: Optimisation,
    /// Where to train (not part of the recorded settings).
    #[serde(skip)]
    pub device: DeviceChoice,
    /// Dropout before the dense layer.
    pub dropout: f64,
    /// Longest run of bins and of frames that a mask covers (SpecAugment, one of each); 0 for none.
    pub mask_bins: usize,
    /// See `mask_bins`.
    pub mask_frames: usize,
    /// Largest shift along frequency in bins (12 are an octave), up or down; 0 for none.
    pub shift_bins: usize,
    /// Weight of the mood loss beside the sentiment loss.
    pub mood_weight: f64,
}

impl Default for AudioConfig {
    fn default() -> Self {
        Self {
            // From scratch on small batches, 1e-3 overshoots.
            optimisation: Optimisation { learning_rate: 5e-4, batch_size: 16, ..Optimisation::default() },
            device: DeviceChoice::Auto,
            dropout: 0.3,
            mask_bins: 12,
            mask_frames: 24,
            shift_bins: 2,
            mood_weight: 1.0,
        }
    }
}

/// Settings of the fusion trainer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FusionConfig {
    /// Optimiser and batch.
    pub optimisation: Optimisation,
    /// Where to train (not part of the recorded settings).
    #[serde(skip)]
    pub device: DeviceChoice,
    /// Probability that a present modality is hidden; the last one never is.
    pub modality_dropout: f64,
    /// Dropout on `u`.
    pub dropout: f64,
}

impl Default for FusionConfig {
    fn default() -> Self {
        Self {
            optimisation: Optimisation { batch_size: 64, ..Optimisation::default() },
            device: DeviceChoice::Auto,
            modality_dropout: 0.2,
            dropout: 0.2,
        }
    }
}

/// A trained encoder's last layer: `logit = weight . vector + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearHead {
    /// One weight per value of the encoder's vector.
    pub weight: Vec<f32>,
    /// The constant.
    pub bias: f32,
}

/// The heads of the three encoders; the fusion adds up their logits.
#[derive(Debug, Clone, PartialEq)]
pub struct UnimodalHeads {
    /// From [`TextTrainer::polarity_head`](crate::TextTrainer::polarity_head).
    pub text: LinearHead,
    /// From [`AudioTrainer::head`](crate::AudioTrainer::head).
    pub audio: LinearHead,
    /// From [`ImageFitter::head`](crate::ImageFitter::head).
    pub image: LinearHead,
}

/// A probability that is drawn from, so below 1: at 1 nothing would be left.
pub fn check_share(name: &str, share: f64) -> Result<(), ModelError> {
    if (0.0..1.0).contains(&share) {
        return Ok(());
    }
    Err(ModelError::Configuration(format!("{name} is {share}, expected 0 to below 1")))
}
