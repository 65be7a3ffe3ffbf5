//! One network in the loop that fits it.

use jtav_training::EpochReport;

use super::examples::Examples;
use super::network::Network;
use super::state::BegunStage;
use crate::fit::{FitProgress, Trainable, Validation, validation};

/// A trainer with what it learns from and what it is judged by.
pub(super) struct WithExamples<'a, N: Network> {
    pub network: &'a mut N,
    pub examples: &'a Examples<N>,
    pub begun: &'a BegunStage<'a>,
}

impl<N: Network> Trainable for WithExamples<'_, N> {
    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.network.set_learning_rate(learning_rate);
    }

    fn epoch(&mut self) -> anyhow::Result<EpochReport> {
        Ok(self.network.epoch(&self.examples.train)?)
    }

    fn validate(&mut self) -> anyhow::Result<Validation> {
        validation(&self.network.predict(&self.examples.validation)?, &self.examples.labels)
    }

    fn snapshot(&mut self) {
        self.network.snapshot();
    }

    fn restore(&mut self) -> bool {
        self.network.restore()
    }

    fn keep(&mut self, done: &FitProgress) -> anyhow::Result<()> {
        self.begun.keep(done, self.network)
    }
}
