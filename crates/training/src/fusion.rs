//! Training of the fusion on frozen vectors, and its calibration.

use jtav_model::networks::{Joint, JointBatch, JointForward};
use jtav_model::parameters::{Builder, to_rows, to_vec};
use jtav_model::{Calibration, Dimensions, FusionInput, Modality, ModalitySet, ModelError, SUMMANDS};
use rand::RngExt;
use rand::rngs::StdRng;
use tch::Device;

use crate::calibration::{INTERACTION_BOUND, PART_BOUND, Parts};
use crate::held_out::{self, Shown};
use crate::learner::{Learner, learner_methods};
use crate::types::{EpochReport, FusionConfig, FusionExample, LinearHead, UnimodalHeads, check_share};

/// Posts of a pass without gradients.
const PREDICT_BATCH: usize = 128;
/// Largest size of each summand, in the order of [`SUMMANDS`].
const BOUNDS: [f32; 4] = [PART_BOUND, PART_BOUND, PART_BOUND, INTERACTION_BOUND];

/// CMF-AP in training.
///
/// [`epoch`](Self::epoch) trains CMF-AP with its own logit, as the paper does. [`calibrate`](Self::calibrate) then
/// sums what the encoders say, and CMF-AP beside them if that helps; before it has run, [`predict`](Self::predict) gives
/// CMF-AP alone.
pub struct FusionTrainer {
    pub(crate) learner: Learner,
    network: Joint,
    config: FusionConfig,
    width: usize,
    device: Device,
}

impl FusionTrainer {
    /// A fresh fusion over encoders with these heads.
    pub fn new(config: FusionConfig, heads: &UnimodalHeads, seed: u64) -> Result<Self, ModelError> {
        check_share("modality_dropout", config.modality_dropout)?;
        check_share("dropout", config.dropout)?;
        let device = config.device.resolve()?;
        // The fusion's sizes do not depend on the vocabulary.
        let dimensions = Dimensions::modern();
        let builder = Builder::fresh(seed, device);
        let mut network = Joint::new(&builder.scope("fusion"), &dimensions, config.dropout)?;
        network.set_trust(&[0.0, 0.0, 0.0, 1.0], &[0.0; 4])?;
        let learner = Learner::new(builder.finish(), config.optimisation, seed)?;
        let mut trainer = Self { learner, network, config, width: dimensions.vector as usize, device };
        trainer.set_heads(heads)?;
        Ok(trainer)
    }

    /// Takes copies of the encoders' heads.
    pub(crate) fn set_heads(&mut self, heads: &UnimodalHeads) -> Result<(), ModelError> {
        let heads = [&heads.text, &heads.audio, &heads.image];
        let weights: Vec<f32> = heads.iter().flat_map(|head| head.weight.iter().copied()).collect();
        self.network.set_heads(&weights, &heads.map(|head| head.bias))
    }

    /// Takes a copy of the text network's neutral head.
    pub fn set_neutral(&mut self, head: &LinearHead) -> Result<(), ModelError> {
        self.network.set_neutral(&head.weight, head.bias)
    }

    /// One pass over the examples, modalities hidden at random.
    pub fn epoch(&mut self, examples: &[FusionExample]) -> Result<EpochReport, ModelError> {
        if examples.len() == 1 {
            return Err(ModelError::Input("batch normalisation needs two posts or more".to_owned()));
        }
        let mut pass = self.learner.begin(examples.len())?;
        for indices in std::mem::take(&mut pass.batches) {
            let inputs: Vec<FusionInput> = indices
                .iter()
                .map(|&i| hide(&examples[i].input, self.config.modality_dropout, &mut pass.rng))
                .collect();
            let positive: Vec<bool> = indices.iter().map(|&i| examples[i].positive).collect();
            let batch = JointBatch::new(&inputs, self.width, self.device)?;
            let logits = self.network.forward(&batch, true)?.interaction;
            let loss = self.learner.sentiment_loss(&logits, &positive)?;
            self.learner.step(&mut pass, &loss, indices.len())?;
        }
        Ok(self.learner.end(pass))
    }

    /// Fused logits, in order, without temperatures and prior; CMF-AP's own until [`calibrate`](Self::calibrate) has run.
    pub fn predict(&self, inputs: &[FusionInput]) -> Result<Vec<f32>, ModelError> {
        self.collect(inputs, |forward| to_vec(&forward.logit))
    }

    /// CMF-AP's own logits, in order: the paper's classifier.
    pub fn predict_interaction(&self, inputs: &[FusionInput]) -> Result<Vec<f32>, ModelError> {
        self.collect(inputs, |forward| to_vec(&forward.interaction))
    }

    /// Logits of the text, audio and image heads and of CMF-AP, in order, before their bounds; 0 where a modality is
    /// absent.
    pub fn predict_parts(&self, inputs: &[FusionInput]) -> Result<Vec<[f32; 4]>, ModelError> {
        self.collect(inputs, |forward| {
            let rows = to_rows(&forward.parts)?;
            Ok(rows.iter().map(|row| std::array::from_fn(|part| row.get(part).copied().unwrap_or(0.0))).collect())
        })
    }

    /// Fused embeddings `u`, in order.
    pub fn encode(&self, inputs: &[FusionInput]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.collect(inputs, |forward| to_rows(&forward.u))
    }

    fn collect<T>(
        &self,
        inputs: &[FusionInput],
        take: impl Fn(&JointForward) -> Result<Vec<T>, ModelError>,
    ) -> Result<Vec<T>, ModelError> {
        let _guard = tch::no_grad_guard();
        let mut results = Vec::with_capacity(inputs.len());
        for chunk in inputs.chunks(PREDICT_BATCH) {
            let batch = JointBatch::new(chunk, self.width, self.device)?;
            results.extend(take(&self.network.forward(&batch, false)?)?);
        }
        Ok(results)
    }

    /// Takes over what was fitted of the encoders, and fits two things on validation posts, each only if that lowers the log
    /// loss of posts it was not fitted on (five folds over `groups`): how far CMF-AP is trusted beside the encoders, and
    /// a temperature for each subset of modalities. Each post counts once in every subset that its parts allow. `groups`
    /// has a value per post; posts that share an item share theirs.
    ///
    /// # Errors
    /// [`ModelError::Input`] for groups of another number, a post without a part, a vector that is not finite.
    pub fn calibrate(
        &mut self,
        parts: &Parts,
        validation: &[FusionExample],
        groups: &[u64],
    ) -> Result<Calibration, ModelError> {
        if validation.len() != groups.len() {
            return Err(ModelError::Input(format!("{} groups for {} posts", groups.len(), validation.len())));
        }
        let mut shown = self.shown(parts, validation, groups)?;
        let all: Vec<Shown> = shown.iter().map(|(_, post)| *post).collect();
        let (trust, constant) = held_out::interaction(&all);
        let [text, audio, image] = parts.platt;
        let slopes = [text.slope, audio.slope, image.slope, trust].map(|value| value as f32);
        let constants = [text.constant, audio.constant, image.constant, constant].map(|value| value as f32);
        self.network.set_trust(&slopes, &constants)?;
        self.network.set_bound(&BOUNDS)?;

        let bound = f64::from(INTERACTION_BOUND);
        for (_, post) in &mut shown {
            post.evidence += (trust * post.interaction + constant).clamp(-bound, bound);
        }
        let mut calibration = Calibration { bound: named_bounds(), ..Calibration::default() };
        for subset in ModalitySet::all_non_empty() {
            let posts: Vec<Shown> = shown.iter().filter(|(of, _)| *of == subset).map(|(_, post)| *post).collect();
            let temperature = held_out::temperature(&posts);
            if temperature != 1.0 {
                calibration.temperature.insert(subset.to_string(), temperature as f32);
            }
        }
        tracing::info!(?slopes, ?constants, temperature = ?calibration.temperature, "fusion calibrated");
        Ok(calibration)
    }

    /// Each post as every subset that its parts allow shows it.
    fn shown(
        &self,
        parts: &Parts,
        posts: &[FusionExample],
        groups: &[u64],
    ) -> Result<Vec<(ModalitySet, Shown)>, ModelError> {
        let (mut inputs, mut truths) = (Vec::new(), Vec::new());
        for (post, &group) in posts.iter().zip(groups) {
            let whole = post.input.modalities();
            for subset in ModalitySet::all_non_empty() {
                if Modality::ALL.iter().all(|&modality| whole.contains(modality) || !subset.contains(modality)) {
                    inputs.push(post.input.masked(subset));
                    truths.push((subset, post.positive, group));
                }
            }
        }
        let show = |(logits, (subset, positive, group)): ([f32; 4], (ModalitySet, bool, u64))| {
            let present = Modality::ALL.map(|modality| subset.contains(modality).then(|| logits[modality as usize]));
            let evidence = parts.ratios(&present).map(f64::from).iter().sum();
            (subset, Shown { evidence, interaction: f64::from(logits[3]), positive, group })
        };
        Ok(self.predict_parts(&inputs)?.into_iter().zip(truths).map(show).collect())
    }

    learner_methods!();
}

fn named_bounds() -> std::collections::BTreeMap<String, f32> {
    SUMMANDS.map(str::to_owned).into_iter().zip(BOUNDS).collect()
}

/// Hides each present modality with this probability; the last one stays.
pub fn hide(input: &FusionInput, share: f64, rng: &mut StdRng) -> FusionInput {
    let hidden = ModalitySet::from_presence(!rng.random_bool(share), !rng.random_bool(share), !rng.random_bool(share));
    let masked = input.masked(hidden);
    if masked.modalities().is_empty() { input.clone() } else { masked }
}

#[cfg(test)]
#[path = "fusion_tests.rs"]
mod tests;
