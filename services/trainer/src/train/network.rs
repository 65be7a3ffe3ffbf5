//! One face for the trainers that go by epochs, so that one loop trains them.

use std::path::Path;

use jtav_model::{AudioInput, FusionInput, ModelError};
use jtav_training::{AudioExample, AudioTrainer, EpochReport, FusionExample, FusionTrainer};

/// What can be kept in a file and taken up again.
pub(super) trait Stateful {
    fn save_progress(&self, path: &Path) -> Result<(), ModelError>;
    fn load_state(&mut self, path: &Path) -> Result<(), ModelError>;
}

/// A trainer of `jtav-training` for one network.
pub(super) trait Network: Stateful {
    type Example;
    type Input;
    fn set_learning_rate(&mut self, learning_rate: f64);
    fn epoch(&mut self, examples: &[Self::Example]) -> Result<EpochReport, ModelError>;
    fn predict(&self, inputs: &[Self::Input]) -> Result<Vec<f32>, ModelError>;
    fn snapshot(&mut self);
    fn restore(&mut self) -> bool;
}

macro_rules! stateful {
    ($trainer:ty) => {
        impl Stateful for $trainer {
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
    ($trainer:ty, $example:ty, $input:ty) => {
        stateful!($trainer);
        impl Network for $trainer {
            type Example = $example;
            type Input = $input;
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
        }
    };
}

network!(AudioTrainer, AudioExample, AudioInput);
network!(FusionTrainer, FusionExample, FusionInput);
