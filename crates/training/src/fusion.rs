//! Training of the fusion on frozen vectors, and its calibration.

use jtav_model::networks::{Joint, JointBatch, JointForward};
use jtav_model::parameters::{Builder, to_rows, to_vec};
use jtav_model::{Calibration, Dimensions, FusionInput, Modality, ModalitySet, ModelError, SUMMANDS};
use rand::RngExt;
use rand::rngs::StdRng;
use tch::{Device, Tensor};

use crate::calibration::{self, Evidence, Stack};
use crate::learner::{Learner, learner_methods};
use crate::types::{EpochReport, FusionConfig, FusionExample, UnimodalHeads, check_share};

/// Posts of a pass without gradients.
const PREDICT_BATCH: usize = 128;

/// CMF-AP in training.
///
/// [`epoch`](Self::epoch) trains CMF-AP with its own logit, as the paper does. [`calibrate`](Self::calibrate) then
/// weighs that logit against the encoders' own; before it has run, [`predict`](Self::predict) gives CMF-AP alone.
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
        let dimensions = Dimensions::modern(1);
        let builder = Builder::fresh(seed, device);
        let mut network = Joint::new(&builder.scope("fusion"), &dimensions, config.dropout)?;
        network.set_trust(&[0.0, 0.0, 0.0, 1.0], &[0.0; 3], 0.0)?;
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

    /// With what the encoders' heads said (`[posts, 3]`) in place of the copies of the heads, so that gradients reach
    /// them; for joint training.
    pub(crate) fn forward_with(&self, batch: &JointBatch, own_logits: &Tensor) -> Result<JointForward, ModelError> {
        self.network.forward_with(batch, own_logits, true)
    }

    /// Length of each vector.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Where it is trained.
    pub(crate) fn device(&self) -> Device {
        self.device
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

    /// Fused logits, in order; CMF-AP's own until [`calibrate`](Self::calibrate) has run.
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

    /// Fits on validation posts, in this order: a bound for each of the four logits, so that an input unlike any other
    /// cannot overrule the rest; how far each of the four logits is trusted (a ridge logistic
    /// regression of eight numbers, none of the trusts negative), one temperature and one threshold per subset of
    /// modalities. Each post counts once in every subset that its parts allow. Needs both labels among the posts.
    pub fn calibrate(&mut self, validation: &[FusionExample]) -> Result<Calibration, ModelError> {
        let (mut inputs, mut positive) = (Vec::new(), Vec::new());
        for example in validation {
            let whole = example.input.modalities();
            for subset in ModalitySet::all_non_empty() {
                if Modality::ALL.iter().all(|&modality| whole.contains(modality) || !subset.contains(modality)) {
                    inputs.push(example.input.masked(subset));
                    positive.push(example.positive);
                }
            }
        }
        let parts = self.predict_parts(&inputs)?;
        let bounds = calibration::bounds(&parts);
        self.network.set_bound(&bounds)?;
        let evidence: Vec<Evidence> = inputs
            .iter()
            .zip(parts)
            .zip(positive)
            .map(|((input, parts), positive)| Evidence {
                parts: calibration::bounded(&parts, &bounds),
                subset: input.modalities(),
                positive,
            })
            .collect();
        let stack = Stack::fit(&evidence)?;
        self.network.set_trust(&stack.trust, &stack.offset, stack.bias)?;
        tracing::info!(?bounds, trust = ?stack.trust, offset = ?stack.offset, bias = stack.bias, "fusion calibrated");
        let bound = SUMMANDS.map(str::to_owned).into_iter().zip(bounds).collect();
        Ok(Calibration { bound, ..calibration::per_subset(&evidence, &stack) })
    }

    learner_methods!();
}

/// Hides each present modality with this probability; the last one stays.
pub fn hide(input: &FusionInput, share: f64, rng: &mut StdRng) -> FusionInput {
    let hidden = ModalitySet::from_presence(!rng.random_bool(share), !rng.random_bool(share), !rng.random_bool(share));
    let masked = input.masked(hidden);
    if masked.modalities().is_empty() { input.clone() } else { masked }
}
