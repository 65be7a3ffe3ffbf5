//! The audio network as it serves.

use tch::{Device, Tensor};

use super::front_end::{FrontEnd, Levels};
use super::{AudioInput, Encoded, FRAME_SECONDS, SEGMENT_BINS, SEGMENT_FRAMES, Waveform};
use crate::networks::{Dcrnn, DcrnnConfig, steps_of_frames};
use crate::parameters::{Builder, to_rows};
use crate::{Checkpoint, DeviceChoice, ModelError, Standardisation};

/// Most segments of one pass through the network.
const MAX_SEGMENTS: usize = 32;

/// Segments on their way into the network.
pub(crate) struct AudioBatch {
    /// `[segments, 1, 215, 96]`, standardised.
    pub x: Tensor,
    /// Valid time steps of each segment.
    pub steps: Vec<i64>,
}

impl AudioBatch {
    pub fn new(
        segments: &[(&[f32], usize)],
        standardisation: &Standardisation,
        device: Device,
    ) -> Result<Self, ModelError> {
        let mut levels = Vec::with_capacity(segments.len() * SEGMENT_FRAMES * SEGMENT_BINS);
        for (segment, _) in segments {
            levels.extend_from_slice(segment);
        }
        let frames: Vec<usize> = segments.iter().map(|&(_, frames)| frames).collect();
        let levels = Tensor::f_from_slice(&levels)?.f_to_device(device)?;
        Self::of_levels(&levels, &frames, standardisation)
    }

    /// From decibels that are on the device already, `[segments, 215, 96]` in any form.
    fn of_levels(levels: &Tensor, frames: &[usize], standardisation: &Standardisation) -> Result<Self, ModelError> {
        let shape = [frames.len() as i64, 1, SEGMENT_FRAMES as i64, SEGMENT_BINS as i64];
        let statistic = |values: &[f32]| Tensor::f_from_slice(values)?.f_to_device(levels.device());
        let x = levels.f_view(shape)?;
        let x = x.f_sub(&statistic(&standardisation.mean)?)?.f_div(&statistic(&standardisation.std)?)?;
        let steps = frames.iter().map(|&frames| steps_of_frames(frames) as i64).collect();
        Ok(Self { x, steps })
    }
}

/// DCRNN on one device. `Send`, not `Sync`: one owner thread.
pub struct AudioNetwork {
    network: Dcrnn,
    standardisation: Standardisation,
    device: Device,
    front_end: FrontEnd,
}

impl AudioNetwork {
    /// Builds the network from the checkpoint's weights, and what turns samples into its input.
    pub fn from_checkpoint(checkpoint: &Checkpoint, device: DeviceChoice) -> Result<Self, ModelError> {
        let device = device.resolve()?;
        let manifest = checkpoint.manifest();
        let stored = checkpoint.stored()?;
        let config = DcrnnConfig::modern(&manifest.dimensions);
        let network = Dcrnn::new(&Builder::stored(&stored, device).scope("audio"), &config, 0.0)?;
        let front_end = FrontEnd::on(device)?;
        Ok(Self { network, standardisation: manifest.standardisation.clone(), device, front_end })
    }

    /// [`encode`](Self::encode) for decoded sound: resampled, transformed, cut into segments. On a GPU all of it happens
    /// there, the whole batch at once; on a CPU with the transforms of `jtav-signal`. Both give the same levels within
    /// 2e-4 of a clip's loudest.
    pub fn encode_sound(&self, clips: &[Waveform]) -> Result<Vec<Encoded>, ModelError> {
        match &self.front_end {
            FrontEnd::Host(front_end) => self.encode(&front_end.inputs(clips)?),
            FrontEnd::Device(front_end) => {
                let _guard = tch::no_grad_guard();
                let Levels { segments, frames } = front_end.levels(clips)?;
                encode_levels(&self.network, &self.standardisation, &segments, &frames)
            }
        }
    }

    /// Vectors (100 values) and attention over time, in order. A clip's vector is the mean of its segments' vectors,
    /// each weighing as much as it has sound. [`ModelError::Input`] for a clip that breaks [`AudioInput`]'s rules.
    pub fn encode(&self, inputs: &[AudioInput]) -> Result<Vec<Encoded>, ModelError> {
        encode_clips(&self.network, &self.standardisation, self.device, inputs)
    }

    /// Seconds from one attention value to the next: 215 frames over 27 steps, 0.37 s. Steps count on over segments.
    pub fn seconds_per_step() -> f32 {
        (SEGMENT_FRAMES as f64 * FRAME_SECONDS / steps_of_frames(SEGMENT_FRAMES) as f64) as f32
    }

    /// Attention over time as the share of each second of the clip, from one value per time step.
    pub fn attention_by_second(attention: &[f32]) -> Vec<f32> {
        by_second(attention, Self::seconds_per_step())
    }

    /// Runs one batch of silence, 15 s of the commonest rate.
    pub fn warm_up(&self) -> Result<(), ModelError> {
        self.encode_sound(&[Waveform::new(vec![0.0; 15 * 44_100], 44_100)?]).map(drop)
    }
}

/// A step belongs to the second in which its middle lies.
fn by_second(attention: &[f32], seconds_per_step: f32) -> Vec<f32> {
    let mut seconds = vec![0.0_f32; (attention.len() as f32 * seconds_per_step).ceil() as usize];
    for (step, weight) in attention.iter().enumerate() {
        let middle = (step as f32 + 0.5) * seconds_per_step;
        if let Some(second) = seconds.get_mut(middle as usize) {
            *second += weight;
        }
    }
    seconds
}

/// Shared with the trainer, so that both average a clip in the same way.
pub(crate) fn encode_clips(
    network: &Dcrnn,
    standardisation: &Standardisation,
    device: Device,
    inputs: &[AudioInput],
) -> Result<Vec<Encoded>, ModelError> {
    let _guard = tch::no_grad_guard();
    let mut segments: Vec<(&[f32], usize)> = Vec::new();
    for input in inputs {
        input.check()?;
        segments.extend(input.segments.iter().map(Vec::as_slice).zip(input.valid_frames.iter().copied()));
    }
    let batches = segments.chunks(MAX_SEGMENTS).map(|chunk| AudioBatch::new(chunk, standardisation, device));
    encode_batches(network, batches, inputs.iter().map(|input| input.valid_frames.as_slice()))
}

/// The same for levels on the device: `[segments of all clips, 215, 96]`, and each clip's frame counts.
fn encode_levels(
    network: &Dcrnn,
    standardisation: &Standardisation,
    levels: &Tensor,
    frames_of_clip: &[Vec<usize>],
) -> Result<Vec<Encoded>, ModelError> {
    let frames = frames_of_clip.concat();
    let batches = frames.chunks(MAX_SEGMENTS).enumerate().map(|(index, frames)| {
        let chunk = levels.f_narrow(0, (index * MAX_SEGMENTS) as i64, frames.len() as i64)?;
        AudioBatch::of_levels(&chunk, frames, standardisation)
    });
    encode_batches(network, batches, frames_of_clip.iter().map(Vec::as_slice))
}

/// Batches of the segments of all clips in a row.
fn encode_batches<'a>(
    network: &Dcrnn,
    batches: impl Iterator<Item = Result<AudioBatch, ModelError>>,
    frames_of_clip: impl Iterator<Item = &'a [usize]>,
) -> Result<Vec<Encoded>, ModelError> {
    let (mut vectors, mut attention) = (Vec::new(), Vec::new());
    for batch in batches {
        let batch = batch?;
        let forward = network.forward(&batch.x, &batch.steps, false)?;
        vectors.extend(to_rows(&forward.vector)?);
        attention.extend(to_rows(&forward.attention)?);
    }
    let mut of_segment = vectors.into_iter().zip(attention);
    Ok(frames_of_clip.map(|frames| mean_of_segments(frames, &mut of_segment)).collect())
}

fn mean_of_segments(frames: &[usize], of_segment: &mut impl Iterator<Item = (Vec<f32>, Vec<f32>)>) -> Encoded {
    let total = frames.iter().sum::<usize>() as f32;
    let mut mean = Encoded { vector: Vec::new(), attention: Vec::new() };
    for (&frames, (vector, attention)) in frames.iter().zip(of_segment) {
        let share = frames as f32 / total;
        mean.vector.resize(vector.len(), 0.0);
        for (sum, value) in mean.vector.iter_mut().zip(vector) {
            *sum += share * value;
        }
        mean.attention.extend(attention.into_iter().map(|weight| share * weight));
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_weigh_as_much_as_they_have_sound() {
        let mut segments = vec![(vec![1.0, 0.0], vec![1.0]), (vec![5.0, 4.0], vec![1.0])].into_iter();
        let mean = mean_of_segments(&[150, 50], &mut segments);
        assert_eq!(mean, Encoded { vector: vec![2.0, 1.0], attention: vec![0.75, 0.25] });
    }

    #[test]
    fn the_seconds_share_what_the_steps_got() {
        assert_eq!(by_second(&[0.1, 0.2, 0.0, 0.3, 0.4], 0.5), [0.3, 0.3, 0.4]);
        assert!(by_second(&[], 0.37).is_empty());
        let ten_seconds = AudioNetwork::attention_by_second(&[1.0 / 27.0; 27]);
        assert_eq!(ten_seconds.len(), 10);
        assert!((ten_seconds.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }

    #[test]
    fn twenty_seven_steps_last_ten_seconds() {
        assert!((AudioNetwork::seconds_per_step() * 27.0 - 9.985).abs() < 1e-3);
    }
}
