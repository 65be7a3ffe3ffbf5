//! One face for the four trainers, so that one loop trains them all.

use std::path::Path;

use jtav_model::{AudioInput, FusionInput, ModelError, Rgb224, TextInput};
use jtav_training::{
    AudioExample, AudioTrainer, EpochReport, FusionExample, FusionTrainer, ImageExample, ImageTrainer, JointTrainer,
    TextExample, TextTrainer,
};

/// What can be kept in a file and taken up again.
pub(super) trait Stateful {
    fn save_state(&self, path: &Path) -> Result<(), ModelError>;
    fn save_progress(&self, path: &Path) -> Result<(), ModelError>;
    fn load_state(&mut self, path: &Path) -> Result<(), ModelError>;
}

/// A trainer of `jtav-training` for one network.
pub(super) trait Network: Stateful {
    type Example;
    type Input;
    /// What comes before the first epoch over these examples.
    fn prepare(&mut self, _examples: &[Self::Example]) -> Result<(), ModelError> {
        Ok(())
    }
    fn set_learning_rate(&mut self, learning_rate: f64);
    fn epoch(&mut self, examples: &[Self::Example]) -> Result<EpochReport, ModelError>;
    fn predict(&self, inputs: &[Self::Input]) -> Result<Vec<f32>, ModelError>;
    fn snapshot(&mut self);
    fn restore(&mut self) -> bool;
    fn parameter_count(&self) -> usize;
}

macro_rules! stateful {
    ($trainer:ty) => {
        impl Stateful for $trainer {
            fn save_state(&self, path: &Path) -> Result<(), ModelError> {
                <$trainer>::save_state(self, path)
            }
            fn save_progress(&self, path: &Path) -> Result<(), ModelError> {
                <$trainer>::save_progress(self, path)
            }
            fn load_state(&mut self, path: &Path) -> Result<(), ModelError> {
                <$trainer>::load_state(self, path)
            }
        }
    };
}

macro_rules! network {
    ($trainer:ty, $example:ty, $input:ty $(, $prepare:ident)?) => {
        stateful!($trainer);
        impl Network for $trainer {
            type Example = $example;
            type Input = $input;
            $(
                fn prepare(&mut self, examples: &[Self::Example]) -> Result<(), ModelError> {
                    <$trainer>::$prepare(self, examples)
                }
            )?
            fn set_learning_rate(&mut self, learning_rate: f64) {
                <$trainer>::set_learning_rate(self, learning_rate);
            }
            fn epoch(&mut self, examples: &[Self::Example]) -> Result<EpochReport, ModelError> {
                <$trainer>::epoch(self, examples)
            }
            fn predict(&self, inputs: &[Self::Input]) -> Result<Vec<f32>, ModelError> {
                <$trainer>::predict(self, inputs)
            }
            fn snapshot(&mut self) {
                <$trainer>::snapshot(self);
            }
            fn restore(&mut self) -> bool {
                <$trainer>::restore(self)
            }
            fn parameter_count(&self) -> usize {
                <$trainer>::parameter_count(self)
            }
        }
    };
}

network!(TextTrainer, TextExample, TextInput, fit_bag);
network!(AudioTrainer, AudioExample, AudioInput);
network!(ImageTrainer, ImageExample, Rgb224);
network!(FusionTrainer, FusionExample, FusionInput);
stateful!(JointTrainer);
