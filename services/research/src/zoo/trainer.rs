//! Training and inference of one network of the zoo.

use std::path::Path;

use jtav_model::ModelError;
use jtav_model::parameters::{Builder, Parameters, Scope};
use jtav_training::EpochReport;
use jtav_training::learner::{Learner, learner_methods};
use tch::Device;

use super::network::Network;
use super::weights;
use crate::zoo::architecture::Architecture;
use crate::zoo::input::{Example, Input};
use crate::zoo::networks::last_block;
use crate::zoo::settings::{FineTuning, Settings};

/// A network with its optimiser. Equal seeds give equal trainings as long as no other thread of the process trains:
/// dropout draws from libtorch's one generator.
pub struct Trainer {
    learner: Learner,
    network: Network,
    architecture: Architecture,
    settings: Settings,
    device: Device,
}

impl Trainer {
    /// A fresh network, drawn from the seed.
    pub fn new(architecture: Architecture, settings: Settings, seed: u64) -> Result<Self, ModelError> {
        architecture.check()?;
        let dropout = settings.dropout;
        Self::with(architecture, settings, seed, |scope| Network::new(scope, &architecture, dropout))
    }

    /// The same with a network of other sizes than the published ones.
    pub(super) fn with(
        architecture: Architecture,
        settings: Settings,
        seed: u64,
        build: impl FnOnce(&Scope) -> Result<Network, ModelError>,
    ) -> Result<Self, ModelError> {
        settings.check(&architecture)?;
        let device = settings.device.resolve()?;
        let builder = Builder::fresh(seed, device);
        let network = build(&builder.scope(&architecture.name()))?;
        let mut parameters = builder.finish();
        freeze(&mut parameters, &architecture, settings.fine_tuning)?;
        let learner = Learner::with_rule(parameters, settings.optimisation, settings.rule, seed)?;
        Ok(Self { learner, network, architecture, settings, device })
    }

    /// One pass over the examples, shuffled by seed and epoch number; audio networks see one random segment of each
    /// clip. At least two examples, all of the kind that the network reads. [`ModelError::Torch`] when the loss is no
    /// longer finite: go back to a [`snapshot`](Self::snapshot) and lower the learning rate.
    pub fn epoch(&mut self, examples: &[Example]) -> Result<EpochReport, ModelError> {
        if examples.len() < 2 {
            return Err(ModelError::Input(format!(
                "an epoch over {} examples: batch normalisation needs two or more",
                examples.len()
            )));
        }
        let mut pass = self.learner.begin(examples.len())?;
        for indices in std::mem::take(&mut pass.batches) {
            let inputs: Vec<&Input> = indices.iter().map(|&i| &examples[i].input).collect();
            let positive: Vec<bool> = indices.iter().map(|&i| examples[i].positive).collect();
            let logits = self.network.train(&inputs, &self.settings, self.device, &mut pass.rng)?.logits;
            let loss = self.learner.sentiment_loss(&logits, &positive)?;
            self.learner.step(&mut pass, &loss, indices.len())?;
        }
        let report = self.learner.end(pass);
        if !report.loss.is_finite() {
            return Err(ModelError::Torch(format!(
                "{} diverged: the loss is {}",
                self.architecture.name(),
                report.loss
            )));
        }
        Ok(report)
    }

    /// Sentiment logits, in order, in evaluation mode. A clip's logit is the mean over its segments, each weighing as
    /// much as it has sound.
    pub fn predict(&self, inputs: &[Input]) -> Result<Vec<f32>, ModelError> {
        let _guard = tch::no_grad_guard();
        Ok(self.network.evaluate(inputs, &self.settings, self.device)?.logits)
    }

    /// Feature vectors, in order, in evaluation mode: what the last layer reads, and the input of a fusion or of a
    /// logistic regression. Of CMF-AP it is `u`.
    pub fn features(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, ModelError> {
        let _guard = tch::no_grad_guard();
        Ok(self.network.evaluate(inputs, &self.settings, self.device)?.features)
    }

    /// [`features`](Self::features) and [`predict`](Self::predict) in one pass.
    pub fn outputs(&self, inputs: &[Input]) -> Result<(Vec<Vec<f32>>, Vec<f32>), ModelError> {
        let _guard = tch::no_grad_guard();
        let rows = self.network.evaluate(inputs, &self.settings, self.device)?;
        Ok((rows.features, rows.logits))
    }

    /// Image networks: the 4096, 2048 or 1024 values that end the backbone, in order. The authors fuse those of
    /// DenseNet-121. [`ModelError::Input`] for other networks.
    pub fn pooled_features(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, ModelError> {
        let _guard = tch::no_grad_guard();
        self.network.pooled(inputs, &self.settings, self.device)
    }

    /// Image networks: reads the backbone's weights from a safetensors file with torchvision's names, f32 or f16.
    ///
    /// The file must have this SHA-256 (64 hexadecimal digits). It must hold every tensor of the backbone and nothing
    /// else, except the layer of 1000 classes and torchvision's counters of batches, which are passed over. On an
    /// error no weight has changed.
    pub fn load_backbone(&mut self, path: &Path, sha256: &str) -> Result<(), ModelError> {
        let Architecture::Image { backbone, .. } = self.architecture else {
            return Err(ModelError::Configuration(format!("{} has no backbone to load", self.architecture.name())));
        };
        let prefix = format!("{}.backbone.", self.architecture.name());
        weights::load(&mut self.learner.parameters, &prefix, backbone, path, sha256)
    }

    /// Sum over the values of one tensor, by its full name.
    #[cfg(test)]
    pub(super) fn sum_of(&self, name: &str) -> f64 {
        self.learner.parameters.tensors[name].sum(tch::Kind::Double).double_value(&[])
    }

    /// Which network it is.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// How it is trained.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    learner_methods!();
}

/// Takes what does not move from the optimiser and from the gradients.
fn freeze(parameters: &mut Parameters, architecture: &Architecture, fine_tuning: FineTuning) -> Result<(), ModelError> {
    let Architecture::Image { backbone, .. } = architecture else { return Ok(()) };
    let prefix = format!("{}.backbone.", architecture.name());
    let moves = |name: &String| match (name.strip_prefix(&prefix), fine_tuning) {
        (None, _) | (Some(_), FineTuning::All) => true,
        (Some(_), FineTuning::Head) => false,
        (Some(name), FineTuning::LastBlock) => last_block(*backbone).iter().any(|block| name.starts_with(block)),
    };
    let (moving, frozen): (Vec<String>, Vec<String>) = parameters.trainable.drain(..).partition(moves);
    parameters.trainable = moving;
    for tensor in frozen.iter().filter_map(|name| parameters.tensors.get(name)) {
        let _ = tensor.f_set_requires_grad(false)?;
    }
    Ok(())
}
