//! What the four trainers share: order of examples, steps, best weights, state files.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Instant;

use jtav_model::ModelError;
use jtav_model::checkpoint::{Precision, StoredWeights, encode_weights};
use jtav_model::parameters::{Parameters, Stored};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use safetensors::SafeTensors;
use tch::Tensor;

use crate::optimiser::Optimiser;
use crate::types::{EpochReport, Optimisation, UpdateRule};

/// Begins the names of a snapshot's tensors in a state file; no network has such a name.
const BEST: &str = "best.";

/// The trained tensors of a network with their optimiser; equal seeds go over examples in equal order.
pub struct Learner {
    /// Every tensor; the optimiser moves those that are trainable.
    pub parameters: Parameters,
    optimiser: Optimiser,
    optimisation: Optimisation,
    seed: u64,
    epoch: usize,
    best: Option<BTreeMap<String, Tensor>>,
}

/// One pass in progress.
pub struct Pass {
    /// Indices of examples, in batches; none of one example unless there is but one.
    pub batches: Vec<Vec<usize>>,
    /// For augmentation.
    pub rng: StdRng,
    started: Instant,
    loss: f64,
    examples: usize,
}

impl Learner {
    /// With Adam. [`ModelError::Configuration`] for settings out of their range.
    pub fn new(parameters: Parameters, optimisation: Optimisation, seed: u64) -> Result<Self, ModelError> {
        Self::with_rule(parameters, optimisation, UpdateRule::default(), seed)
    }

    /// The same with another rule.
    pub fn with_rule(
        parameters: Parameters,
        optimisation: Optimisation,
        rule: UpdateRule,
        seed: u64,
    ) -> Result<Self, ModelError> {
        let Optimisation { learning_rate, weight_decay, batch_size, clip_norm, label_smoothing, positive_weight } =
            optimisation;
        let sound = learning_rate > 0.0
            && weight_decay >= 0.0
            && batch_size > 0
            && clip_norm >= 0.0
            && (0.0..1.0).contains(&label_smoothing)
            && positive_weight > 0.0;
        if !sound || !rule.is_sound() {
            return Err(ModelError::Configuration(format!("{optimisation:?}, {rule:?}")));
        }
        let optimiser = Optimiser::new(&parameters, &optimisation, rule)?;
        Ok(Self { parameters, optimiser, optimisation, seed, epoch: 0, best: None })
    }

    /// Shuffles. Order, augmentation and dropout depend on the seed and the epoch's number alone, so that a training
    /// that was stopped and taken up again goes the same way.
    pub fn begin(&self, examples: usize) -> Result<Pass, ModelError> {
        if examples == 0 {
            return Err(ModelError::Input("an epoch over no examples".to_owned()));
        }
        let seed = self.seed ^ (self.epoch as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        tch::manual_seed(seed as i64);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut order: Vec<usize> = (0..examples).collect();
        order.shuffle(&mut rng);
        let mut batches: Vec<Vec<usize>> = order.chunks(self.optimisation.batch_size).map(<[usize]>::to_vec).collect();
        // Batch normalisation has no variance over one example.
        if batches.len() > 1 && batches.last().is_some_and(|last| last.len() == 1) {
            let single = batches.pop().unwrap_or_default();
            if let Some(last) = batches.last_mut() {
                last.extend(single);
            }
        }
        Ok(Pass { batches, rng, started: Instant::now(), loss: 0.0, examples: 0 })
    }

    /// One step; `loss` is the mean over `examples`.
    pub fn step(&mut self, pass: &mut Pass, loss: &Tensor, examples: usize) -> Result<(), ModelError> {
        pass.loss += loss.f_double_value(&[])? * examples as f64;
        pass.examples += examples;
        self.optimiser.step(&mut self.parameters, loss)
    }

    /// What the pass did; the next one is another epoch.
    pub fn end(&mut self, pass: Pass) -> EpochReport {
        self.epoch += 1;
        EpochReport {
            epoch: self.epoch,
            loss: (pass.loss / pass.examples.max(1) as f64) as f32,
            examples: pass.examples,
            seconds: pass.started.elapsed().as_secs_f32(),
        }
    }

    /// Mean binary cross-entropy of `[batch]` logits, with smoothing and class weight as configured.
    pub fn sentiment_loss(&self, logits: &Tensor, positive: &[bool]) -> Result<Tensor, ModelError> {
        let edge = self.optimisation.label_smoothing as f32 / 2.0;
        let targets: Vec<f32> = positive.iter().map(|&p| if p { 1.0 - edge } else { edge }).collect();
        let targets = Tensor::f_from_slice(&targets)?.f_to_device(logits.device())?;
        let weight = Tensor::f_from_slice(&[self.optimisation.positive_weight as f32])?.f_to_device(logits.device())?;
        let none: Option<&Tensor> = None;
        let weight = (self.optimisation.positive_weight != 1.0).then_some(&weight);
        Ok(match weight {
            Some(_) => logits.f_binary_cross_entropy_with_logits(&targets, none, weight, tch::Reduction::Mean)?,
            None => logits.f_binary_cross_entropy_with_logits(&targets, none, none, tch::Reduction::Mean)?,
        })
    }

    /// Step size from the next step on.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.optimiser.learning_rate = learning_rate;
    }

    /// Keeps a copy of the weights, in place of an earlier one.
    pub fn snapshot(&mut self) {
        let copies = self.parameters.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.detach().copy()));
        self.best = Some(copies.collect());
    }

    /// Goes back to the last copy; false when there is none.
    pub fn restore(&mut self) -> bool {
        let Some(best) = &self.best else { return false };
        let _guard = tch::no_grad_guard();
        for (name, tensor) in &mut self.parameters.tensors {
            if let Some(kept) = best.get(name) {
                tensor.copy_(kept);
            }
        }
        true
    }

    /// With `with_best` also the weights of the last snapshot, if there is one.
    pub fn save_state(&self, path: &Path, with_best: bool) -> Result<(), ModelError> {
        let mut tensors: BTreeMap<String, Tensor> =
            self.parameters.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        tensors.extend(self.optimiser.state());
        for (name, tensor) in self.best.iter().flatten().filter(|_| with_best) {
            tensors.insert(format!("{BEST}{name}"), tensor.shallow_clone());
        }
        let metadata = HashMap::from([
            ("epoch".to_owned(), self.epoch.to_string()),
            ("steps".to_owned(), self.optimiser.steps.to_string()),
            ("seed".to_owned(), self.seed.to_string()),
        ]);
        let bytes = encode_weights(&tensors, Precision::Full, Some(metadata))?;
        std::fs::write(path, bytes).map_err(|e| ModelError::io(path, e))
    }

    /// Takes every weight from `stored`; moments, epoch and seed stay. Nothing is changed unless all are there.
    pub fn load_weights(&mut self, stored: &StoredWeights) -> Result<(), ModelError> {
        let tensors = &mut self.parameters.tensors;
        let values = tensors
            .iter()
            .map(|(name, tensor)| stored.tensor(name, &tensor.size()))
            .collect::<Result<Vec<Tensor>, ModelError>>()?;
        let _guard = tch::no_grad_guard();
        for (target, value) in tensors.values_mut().zip(values) {
            target.f_copy_(&value)?;
        }
        Ok(())
    }

    /// Nothing is changed unless the whole file fits.
    pub fn load_state(&mut self, path: &Path) -> Result<(), ModelError> {
        let bytes = std::fs::read(path).map_err(|e| ModelError::io(path, e))?;
        let stored = StoredWeights::parse(&bytes).map_err(|reason| ModelError::malformed(path, reason))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|reason| ModelError::malformed(path, reason))?;
        let number = |name: &str| {
            let value = header.metadata().as_ref().and_then(|fields| fields.get(name));
            value
                .and_then(|value| value.parse::<u64>().ok())
                .ok_or_else(|| ModelError::malformed(path, format!("not a training state: `{name}` is missing")))
        };
        let (epoch, steps, seed) = (number("epoch")?, number("steps")?, number("seed")?);

        let weights = self.parameters.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        let targets: Vec<(String, Tensor)> = weights.chain(self.optimiser.state()).collect();
        let values = targets
            .iter()
            .map(|(name, tensor)| stored.tensor(name, &tensor.size()))
            .collect::<Result<Vec<Tensor>, ModelError>>()?;
        let best = self.best_of(&stored)?;
        let _guard = tch::no_grad_guard();
        for ((_, mut target), value) in targets.into_iter().zip(values) {
            target.f_copy_(&value)?;
        }
        self.best = best.or(self.best.take());
        (self.epoch, self.optimiser.steps, self.seed) = (epoch as usize, steps as i32, seed);
        Ok(())
    }
}

impl Learner {
    /// The snapshot in a state file; `None` where it holds none.
    fn best_of(&self, stored: &StoredWeights) -> Result<Option<BTreeMap<String, Tensor>>, ModelError> {
        if !stored.names().any(|name| name.starts_with(BEST)) {
            return Ok(None);
        }
        let tensor = |(name, like): (&String, &Tensor)| {
            let value = stored.tensor(&format!("{BEST}{name}"), &like.size())?;
            Ok((name.clone(), value.f_to_device(like.device())?))
        };
        self.parameters.tensors.iter().map(tensor).collect::<Result<_, ModelError>>().map(Some)
    }
}

/// The methods that every trainer passes on to its `learner`.
#[macro_export]
macro_rules! learner_methods {
    () => {
        /// Changes the optimiser's step size from the next epoch on.
        pub fn set_learning_rate(&mut self, learning_rate: f64) {
            self.learner.set_learning_rate(learning_rate);
        }

        /// Keeps a copy of the weights in memory, in place of an earlier one.
        pub fn snapshot(&mut self) {
            self.learner.snapshot();
        }

        /// Goes back to the weights of the last [`snapshot`](Self::snapshot); false when there is none. The optimiser's
        /// moments stay as they are.
        pub fn restore(&mut self) -> bool {
            self.learner.restore()
        }

        /// Writes weights, the optimiser's moments, epoch and seed to one safetensors file.
        pub fn save_state(&self, path: &std::path::Path) -> Result<(), jtav_model::ModelError> {
            self.learner.save_state(path, false)
        }

        /// [`save_state`](Self::save_state) with the last [`snapshot`](Self::snapshot) too: all that is needed to go on
        /// as if nothing had happened.
        pub fn save_progress(&self, path: &std::path::Path) -> Result<(), jtav_model::ModelError> {
            self.learner.save_state(path, true)
        }

        /// Takes up a training where [`save_state`](Self::save_state) or [`save_progress`](Self::save_progress) left it.
        /// On an error nothing has changed.
        pub fn load_state(&mut self, path: &std::path::Path) -> Result<(), jtav_model::ModelError> {
            self.learner.load_state(path)
        }

        /// What a checkpoint holds of it, by name.
        pub fn tensors(&self) -> $crate::Tensors {
            let tensors = self.learner.parameters.tensors.iter();
            let copies = tensors.map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
            copies.collect::<std::collections::BTreeMap<_, _>>().into()
        }

        /// Trained values.
        pub fn parameter_count(&self) -> usize {
            self.learner.parameters.count()
        }
    };
}

pub use learner_methods;
