//! A checkpoint's networks as they serve, as a row of the table. All that this table knows of them stands here.

use std::path::Path;

use anyhow::Context;
use jtav_model::{Checkpoint, DeviceChoice, FusionInput, FusionNetwork, TextFrontEnd, TextInput, TextNetwork};
use jtav_trainer::dataset::{DataPack, Split};
use jtav_trainer::features::Features;
use jtav_trainer::{Progress, score_checkpoint};

use super::model::{Answer, LabelModel, TextParts};

/// Threads that decode media which are not in the cache.
const DECODE_THREADS: usize = 2;

/// A checkpoint on one device.
pub struct ServedModel {
    checkpoint: Checkpoint,
    front_end: TextFrontEnd,
    text: TextNetwork,
    fusion: FusionNetwork,
    device: DeviceChoice,
}

impl ServedModel {
    /// # Errors
    /// A folder that is no checkpoint, a device that is not there.
    pub fn load(folder: &Path, device: DeviceChoice) -> anyhow::Result<Self> {
        let checkpoint = Checkpoint::load(folder).with_context(|| format!("checkpoint {}", folder.display()))?;
        let front_end = TextFrontEnd::of_checkpoint(&checkpoint)?;
        let text = TextNetwork::from_checkpoint(&checkpoint, device)?;
        let fusion = FusionNetwork::from_checkpoint(&checkpoint, device)?;
        Ok(Self { checkpoint, front_end, text, fusion, device })
    }

    /// Name and hash of its weights.
    pub fn version(&self) -> String {
        self.checkpoint.model_version()
    }

    /// What it says of the test posts of a pack with all their parts, in file order; scores are probabilities of positive.
    ///
    /// # Errors
    /// Media that cannot be read, a device fault.
    pub fn fused(
        &self,
        pack: &DataPack,
        cache: &Path,
        seed: u64,
        progress: &dyn Progress,
    ) -> anyhow::Result<Vec<Answer>> {
        let seconds = self.checkpoint.manifest().max_audio_seconds;
        let features = Features::load(pack.split(Split::Test), seconds, cache, DECODE_THREADS, progress)?;
        let scored = score_checkpoint(&self.checkpoint, pack, &features, Split::Test, self.device, seed, progress)?;
        let (_, all) = scored.subsets.last().context("no subset was scored")?;
        let answer = |post: &jtav_trainer::evaluation::Scored| Answer {
            score: post.probability,
            label: if post.positive { 2 } else { 0 },
        };
        Ok(all.scored.iter().map(answer).collect())
    }
}

impl LabelModel for ServedModel {
    /// A post without a word is called nothing: all three are equal.
    fn label(&self, posts: &[TextParts]) -> anyhow::Result<Vec<[f64; 3]>> {
        let input = |post: &TextParts| {
            let parts: Vec<(&str, &str)> = post.iter().map(|part| (part.role.as_str(), part.text.as_str())).collect();
            self.front_end.input(&parts)
        };
        let inputs: Vec<Option<TextInput>> = posts.iter().map(input).collect::<Result<_, _>>()?;
        let places: Vec<usize> = (0..posts.len()).filter(|&at| inputs[at].is_some()).collect();
        let encoded = self.text.encode(&inputs.into_iter().flatten().collect::<Vec<_>>())?;
        let vectors =
            encoded.into_iter().map(|text| FusionInput { text: Some(text.encoded.vector), audio: None, image: None });
        let fused = self.fusion.fuse(&vectors.collect::<Vec<_>>())?;
        let mut probabilities = vec![[1.0 / 3.0; 3]; posts.len()];
        for (at, output) in places.into_iter().zip(fused) {
            probabilities[at] = output.judgement.probabilities.map(f64::from);
        }
        Ok(probabilities)
    }
}
