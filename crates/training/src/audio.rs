//! Training of the audio network.

use jtav_model::networks::{AudioBatch, Dcrnn, DcrnnConfig, DcrnnHeads, SoundStatistics, encode_clips};
use jtav_model::parameters::{Builder, to_rows, to_vec};
use jtav_model::{AudioInput, Dimensions, ModelError, SEGMENT_BINS, SEGMENT_FRAMES, SILENCE_DB, Standardisation};
use rand::RngExt;
use rand::rngs::StdRng;
use tch::{Device, Tensor};

use crate::encoder::linear_head;
use crate::learner::{Learner, learner_methods};
use crate::sound::stack_weight;
use crate::tensors::Tensors;
use crate::types::{AudioConfig, AudioExample, EpochReport, LinearHead, check_share};

/// Values of an audio vector, and how many of them, the last ones, are DCRNN's.
const VECTOR: usize = 100;
const DCRNN_VALUES: usize = 95;

/// DCRNN in training, with its sentiment and mood heads, and beside it the statistics of clips once they are fitted.
///
/// [`predict`](Self::predict) and [`predict_moods`](Self::predict_moods) are DCRNN's own; [`encode`](Self::encode) and
/// [`head`](Self::head) are of both together, as they serve.
pub struct AudioTrainer {
    pub(crate) learner: Learner,
    network: Dcrnn,
    heads: DcrnnHeads,
    statistics: SoundStatistics,
    /// Of DCRNN's logit beside that of the statistics.
    stack: f32,
    config: AudioConfig,
    standardisation: Standardisation,
    moods: usize,
    device: Device,
}

impl AudioTrainer {
    /// A fresh network; `standardisation` comes from the training clips ([`Standardisation::fit`]).
    pub fn new(config: AudioConfig, standardisation: Standardisation, seed: u64) -> Result<Self, ModelError> {
        check_share("dropout", config.dropout)?;
        if config.mask_bins > SEGMENT_BINS || config.mask_frames > SEGMENT_FRAMES || config.shift_bins >= SEGMENT_BINS {
            return Err(ModelError::Configuration(format!("masks or shifts beyond a segment: {config:?}")));
        }
        standardisation.check()?;
        let device = config.device.resolve()?;
        // The audio network's sizes do not depend on the vocabulary.
        let dimensions = Dimensions::modern();
        let builder = Builder::fresh(seed, device);
        let sizes = DcrnnConfig::modern(&dimensions);
        let network = Dcrnn::new(&builder.scope("audio"), &sizes, config.dropout)?;
        let heads = DcrnnHeads::new(&builder.scope("audio"), &sizes)?;
        let learner = Learner::new(builder.finish(), config.optimisation, seed)?;
        let moods = dimensions.moods as usize;
        let statistics = SoundStatistics::idle();
        // Until the statistics are fitted, DCRNN speaks alone.
        Ok(Self { learner, network, heads, statistics, stack: 1.0, config, standardisation, moods, device })
    }

    /// One pass over the examples, one random window of each.
    pub fn epoch(&mut self, examples: &[AudioExample]) -> Result<EpochReport, ModelError> {
        self.check_moods(examples.iter())?;
        let mut pass = self.learner.begin(examples.len())?;
        for indices in std::mem::take(&mut pass.batches) {
            let batch = self.windows(indices.iter().map(|&i| &examples[i]), &mut pass.rng)?;
            let vector = self.network.forward(&batch.x, &batch.steps, true)?.vector;
            let positive: Vec<bool> = indices.iter().map(|&i| examples[i].positive).collect();
            let mut loss = self.learner.sentiment_loss(&self.heads.logit(&vector)?, &positive)?;
            if let Some(mood_loss) = self.mood_loss(&vector, indices.iter().map(|&i| examples[i].mood))? {
                loss = loss.f_add(&mood_loss.f_mul_scalar(self.config.mood_weight)?)?;
            }
            self.learner.step(&mut pass, &loss, indices.len())?;
        }
        Ok(self.learner.end(pass))
    }

    fn check_moods<'a>(&self, mut examples: impl Iterator<Item = &'a AudioExample>) -> Result<(), ModelError> {
        match examples.find_map(|example| example.mood.filter(|&mood| mood >= self.moods)) {
            Some(mood) => Err(ModelError::Input(format!("mood {mood} of {}", self.moods))),
            None => Ok(()),
        }
    }

    /// Random windows of the clips, augmented.
    fn windows<'a>(
        &self,
        examples: impl Iterator<Item = &'a AudioExample>,
        rng: &mut StdRng,
    ) -> Result<AudioBatch, ModelError> {
        let windows = examples.map(|example| self.window(example, rng)).collect::<Result<Vec<_>, _>>()?;
        let segments: Vec<(&[f32], usize)> =
            windows.iter().map(|(levels, frames)| (levels.as_slice(), *frames)).collect();
        AudioBatch::new(&segments, &self.standardisation, self.device)
    }

    /// Cross-entropy over the clips that have a mood, scaled to their share of the batch.
    fn mood_loss(
        &self,
        vector: &Tensor,
        moods: impl Iterator<Item = Option<usize>>,
    ) -> Result<Option<Tensor>, ModelError> {
        let moods: Vec<Option<usize>> = moods.collect();
        let rows: Vec<i64> = (0..moods.len()).filter(|&row| moods[row].is_some()).map(|row| row as i64).collect();
        if rows.is_empty() || self.config.mood_weight == 0.0 {
            return Ok(None);
        }
        let targets: Vec<i64> = moods.iter().flatten().map(|&mood| mood as i64).collect();
        let rows = Tensor::f_from_slice(&rows)?.f_to_device(self.device)?;
        let targets = Tensor::f_from_slice(&targets)?.f_to_device(self.device)?;
        let logits = self.heads.moods(&vector.f_index_select(0, &rows)?)?;
        let none: Option<&Tensor> = None;
        let mean = logits.f_cross_entropy_loss(&targets, none, tch::Reduction::Mean, -100, 0.0)?;
        let share = rows.numel() as f64 / moods.len() as f64;
        Ok(Some(mean.f_mul_scalar(share)?))
    }

    /// A random window, shifted in pitch, with one masked band and one masked stretch of time at its mean level.
    fn window(&self, example: &AudioExample, rng: &mut StdRng) -> Result<(Vec<f32>, usize), ModelError> {
        let frames = example.frames()?;
        let valid = frames.min(SEGMENT_FRAMES);
        let first = rng.random_range(0..=frames - valid);
        let mut levels = example.decibels[first * SEGMENT_BINS..(first + valid) * SEGMENT_BINS].to_vec();
        levels.resize(SEGMENT_FRAMES * SEGMENT_BINS, SILENCE_DB);

        let furthest = self.config.shift_bins as i64;
        shift_bins(&mut levels, rng.random_range(-furthest..=furthest));
        let bins = random_span(rng, self.config.mask_bins, SEGMENT_BINS);
        let times = random_span(rng, self.config.mask_frames, SEGMENT_FRAMES);
        for (time, frame) in levels.chunks_exact_mut(SEGMENT_BINS).enumerate() {
            for (bin, level) in frame.iter_mut().enumerate() {
                if bins.contains(&bin) || times.contains(&time) {
                    *level = self.standardisation.mean[bin];
                }
            }
        }
        Ok((levels, valid))
    }

    /// Sentiment logits, in order: the head on the clip's mean vector, as the fusion computes it.
    pub fn predict(&self, inputs: &[AudioInput]) -> Result<Vec<f32>, ModelError> {
        let _guard = tch::no_grad_guard();
        self.on_vectors(inputs, |vectors| to_vec(&self.heads.logit(vectors)?))
    }

    /// Mood logits (Q1 to Q4), in order.
    pub fn predict_moods(&self, inputs: &[AudioInput]) -> Result<Vec<[f32; 4]>, ModelError> {
        let _guard = tch::no_grad_guard();
        self.on_vectors(inputs, |vectors| {
            let rows = to_rows(&self.heads.moods(vectors)?)?;
            Ok(rows.iter().map(|row| std::array::from_fn(|mood| row.get(mood).copied().unwrap_or(0.0))).collect())
        })
    }

    /// Audio vectors as they serve, in order: what the statistics say, then DCRNN's values. [`ModelError::Input`] for a
    /// clip without statistics.
    pub fn encode(&self, inputs: &[AudioInput]) -> Result<Vec<Vec<f32>>, ModelError> {
        let statistics: Vec<&[f32]> = inputs.iter().map(|input| input.statistics.as_slice()).collect();
        self.statistics.vectors(&statistics, self.values_of_dcrnn(inputs)?)
    }

    fn values_of_dcrnn(&self, inputs: &[AudioInput]) -> Result<Vec<Vec<f32>>, ModelError> {
        let encoded = encode_clips(&self.network, &self.standardisation, self.device, inputs)?;
        Ok(encoded.into_iter().map(|clip| clip.vector).collect())
    }

    /// Puts what the statistics say beside DCRNN, whose logit is added with the weight that
    /// [`stack_weight`](crate::stack_weight) finds on clips that neither was trained on; `groups` are what a fold must not
    /// part. Returns the weight. Call it after the last epoch.
    pub fn hear(
        &mut self,
        statistics: SoundStatistics,
        held_out: &[AudioInput],
        positive: &[bool],
        groups: &[String],
        seed: u64,
    ) -> Result<f32, ModelError> {
        let logit = |input: &AudioInput| Ok(statistics.judge(&input.statistics)?.logit);
        let of_statistics = held_out.iter().map(logit).collect::<Result<Vec<f32>, ModelError>>()?;
        let stack = stack_weight(&of_statistics, &self.predict(held_out)?, positive, groups, seed);
        (self.statistics, self.stack) = (statistics, stack);
        Ok(stack)
    }

    /// What a checkpoint holds of sound, by full name: DCRNN without the heads it was trained with, the statistics, and
    /// the mood head of both.
    pub fn checkpoint_tensors(&self) -> Result<Tensors, ModelError> {
        let mut tensors = self.statistics.checkpoint_tensors(&Dimensions::modern())?;
        let is_head = |name: &str| name.starts_with("audio.head.") || name.starts_with("audio.mood_head.");
        for (name, tensor) in self.learner.parameters.tensors.iter().filter(|(name, _)| !is_head(name)) {
            tensors.insert(name.clone(), tensor.shallow_clone());
        }
        Ok(tensors.into())
    }

    fn on_vectors<T>(
        &self,
        inputs: &[AudioInput],
        head: impl FnOnce(&Tensor) -> Result<Vec<T>, ModelError>,
    ) -> Result<Vec<T>, ModelError> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let flat: Vec<f32> = self.values_of_dcrnn(inputs)?.into_iter().flatten().collect();
        head(&Tensor::f_from_slice(&flat)?.f_view([inputs.len() as i64, -1])?.f_to_device(self.device)?)
    }

    /// The logit as a function of the vectors of [`encode`](Self::encode): that of the statistics as it is, and DCRNN's as
    /// far as it is trusted.
    pub fn head(&self) -> Result<LinearHead, ModelError> {
        let of_dcrnn = linear_head(self.heads.head())?;
        let mut weight = vec![0.0; VECTOR - DCRNN_VALUES];
        weight[0] = 1.0;
        weight.extend(of_dcrnn.weight.iter().map(|weight| self.stack * weight));
        Ok(LinearHead { weight, bias: self.stack * of_dcrnn.bias })
    }

    /// The statistics it was made with.
    pub fn standardisation(&self) -> &Standardisation {
        &self.standardisation
    }

    learner_methods!();
}

/// Moves every frame up (positive) or down in pitch; what comes in is silence.
fn shift_bins(levels: &mut [f32], shift: i64) {
    let distance = shift.unsigned_abs() as usize;
    if distance == 0 {
        return;
    }
    for frame in levels.chunks_exact_mut(SEGMENT_BINS) {
        if shift > 0 {
            frame.copy_within(..SEGMENT_BINS - distance, distance);
            frame[..distance].fill(SILENCE_DB);
        } else {
            frame.copy_within(distance.., 0);
            frame[SEGMENT_BINS - distance..].fill(SILENCE_DB);
        }
    }
}

/// A span of up to `longest` places somewhere in `0..places`.
fn random_span(rng: &mut StdRng, longest: usize, places: usize) -> std::ops::Range<usize> {
    let length = rng.random_range(0..=longest);
    let first = rng.random_range(0..=places - length);
    first..first + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_moves_pitch_and_brings_in_silence() {
        let ramp: Vec<f32> = (0..SEGMENT_BINS).map(|bin| -(bin as f32)).collect();
        let mut up = ramp.clone();
        shift_bins(&mut up, 2);
        assert_eq!(up[..4], [-80.0, -80.0, 0.0, -1.0]);
        let mut down = ramp.clone();
        shift_bins(&mut down, -1);
        assert_eq!((down[0], down[95]), (-1.0, -80.0));
    }
}
