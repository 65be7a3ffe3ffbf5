//! The fusion as it serves.

use std::sync::Arc;

use jtav_engine::bend::softmax;
use jtav_engine::dense::Dense;
use tch::{Device, Kind};

use crate::checkpoint::Checkpoint;
use crate::error::ModelError;
use crate::judgement::Judgement;
use crate::layers::Linear;
use crate::manifest::Manifest;
use crate::modality::Modality;
use crate::networks::{Joint, JointBatch, JointOnSlices};
use crate::parameters::{Builder, to_rows, to_vec};
use crate::placement::{AS_PLACED, Contest, CpuEngine, Engine, Placement};
use crate::vectors::{Contributions, FusionInput, FusionOutput};

/// Most posts of one pass: the attention tables take 240 kB a post.
const MAX_BATCH: usize = 128;

/// CMF-AP, the sum of the parts and their calibration on one device. `Send`, not `Sync`: one owner thread.
pub struct FusionNetwork {
    network: Joint,
    mood_head: Linear,
    /// The same two over slices, on a CPU, which then compute in their place.
    on_slices: Option<(JointOnSlices, Dense)>,
    manifest: Arc<Manifest>,
    device: Device,
}

/// What the networks say of one post.
struct Said {
    u: Vec<f32>,
    parts: [f32; 4],
    neutral: f32,
    moods: Vec<f32>,
}

impl FusionNetwork {
    /// Builds the network from the checkpoint's weights.
    pub fn from_checkpoint(checkpoint: &Checkpoint, placement: impl Into<Placement>) -> Result<Self, ModelError> {
        let placement = placement.into();
        let device = placement.device.resolve()?;
        let manifest = Arc::new(checkpoint.manifest().clone());
        let dimensions = &manifest.dimensions;
        let stored = checkpoint.stored()?;
        let builder = Builder::stored(&stored, device);
        let mut network = Joint::of_manifest(&builder.scope("fusion"), &manifest)?;
        network.set_bound(&manifest.calibration.bounds())?;
        let mood_head = Linear::new(&builder.scope("audio.mood_head"), dimensions.vector, dimensions.moods)?;
        let own = device == Device::Cpu && placement.cpu_engine != CpuEngine::Libtorch;
        let (engine, because) = if own { (Engine::Own, "on a CPU") } else { (Engine::Libtorch, AS_PLACED) };
        let version = checkpoint.model_version();
        Contest::new(&version, "fusion", placement).note(engine, because);
        let on_slices = own.then(|| Ok::<_, ModelError>((network.on_slices()?, mood_head.on_slices()?))).transpose()?;
        Ok(Self { network, mood_head, on_slices, manifest, device })
    }

    /// The same network for a feed with other log odds of positive against negative, 0 where as many posts are one as the
    /// other. [`ModelError::Configuration`] for odds that are not finite.
    pub fn with_prior(mut self, log_odds: f32) -> Result<Self, ModelError> {
        if !log_odds.is_finite() {
            return Err(ModelError::Configuration(format!("a prior of {log_odds}, expected finite log odds")));
        }
        Arc::make_mut(&mut self.manifest).calibration.prior_log_odds = log_odds;
        Ok(self)
    }

    /// Fuses each post's vectors, whichever are there, in order. [`ModelError::Input`] for a post without any, or
    /// with a vector that has another length or is not finite.
    pub fn fuse(&self, inputs: &[FusionInput]) -> Result<Vec<FusionOutput>, ModelError> {
        let said = match &self.on_slices {
            Some((network, moods)) => on_slices(network, moods, inputs)?,
            None => self.on_tensors(inputs)?,
        };
        Ok(inputs.iter().zip(said).map(|(input, said)| self.judge(input, said)).collect())
    }

    fn judge(&self, input: &FusionInput, said: Said) -> FusionOutput {
        let subset = input.modalities();
        let (calibration, middle) = (&self.manifest.calibration, &self.manifest.middle);
        let judgement = Judgement::of_parts(calibration, middle, subset, &said.parts, said.neutral);
        let [text, audio, image, interaction] = said.parts.map(|part| part / calibration.temperature_of(subset));
        FusionOutput {
            u: said.u,
            logit: text + audio + image + interaction + calibration.prior_log_odds,
            probability: judgement.polarity,
            judgement,
            moods: match input.audio {
                Some(_) => self.manifest.moods.iter().cloned().zip(said.moods).collect(),
                None => Vec::new(),
            },
            contributions: Contributions { text, audio, image, interaction },
        }
    }

    fn on_tensors(&self, inputs: &[FusionInput]) -> Result<Vec<Said>, ModelError> {
        let _guard = tch::no_grad_guard();
        let mut results = Vec::with_capacity(inputs.len());
        for chunk in inputs.chunks(MAX_BATCH) {
            let batch = JointBatch::new(chunk, self.manifest.dimensions.vector as usize, self.device)?;
            let forward = self.network.forward(&batch, false)?;
            let audio = batch.vectors.f_select(1, Modality::Audio as i64)?;
            let moods = to_rows(&self.mood_head.forward(&audio)?.f_softmax(1, Kind::Float)?)?;
            let contributions = to_rows(&forward.contributions)?;
            let rows = to_rows(&forward.u)?.into_iter().zip(contributions).zip(to_vec(&forward.neutral)?).zip(moods);
            results.extend(rows.map(|(((u, parts), neutral), moods)| {
                let parts = std::array::from_fn(|index| parts.get(index).copied().unwrap_or(0.0));
                Said { u, parts, neutral, moods }
            }));
        }
        Ok(results)
    }

    /// Whether it computes over slices, without libtorch.
    pub fn is_on_slices(&self) -> bool {
        self.on_slices.is_some()
    }

    /// What each modality's own head says of its vector, in order: logits of text, audio and image before calibration
    /// and bounds, whatever the other parts are; 0 where a modality is absent. Errors as [`fuse`](Self::fuse).
    pub fn own_logits(&self, inputs: &[FusionInput]) -> Result<Vec<[f32; 3]>, ModelError> {
        let _guard = tch::no_grad_guard();
        let mut results = Vec::with_capacity(inputs.len());
        for chunk in inputs.chunks(MAX_BATCH) {
            let batch = JointBatch::new(chunk, self.manifest.dimensions.vector as usize, self.device)?;
            let rows = to_rows(&self.network.own_logits(&batch)?)?;
            results.extend(rows.iter().map(|row| std::array::from_fn(|part| row.get(part).copied().unwrap_or(0.0))));
        }
        Ok(results)
    }

    /// Runs one post with all parts.
    pub fn warm_up(&self) -> Result<(), ModelError> {
        let vector = Some(vec![0.1; self.manifest.dimensions.vector as usize]);
        self.fuse(&[FusionInput { text: vector.clone(), audio: vector.clone(), image: vector }]).map(drop)
    }
}

fn on_slices(network: &JointOnSlices, moods: &Dense, inputs: &[FusionInput]) -> Result<Vec<Said>, ModelError> {
    let say = |input: &FusionInput| {
        let row = network.forward(input)?;
        let mut moods = input.audio.as_deref().map_or(Vec::new(), |audio| moods.apply(audio));
        softmax(&mut moods);
        Ok(Said { u: row.u, parts: row.contributions, neutral: row.neutral, moods })
    };
    inputs.iter().map(say).collect()
}

#[cfg(test)]
#[path = "fusion_tests.rs"]
mod tests;
