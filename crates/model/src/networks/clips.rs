//! Clips as batches of segments for DCRNN, and what it says of the segments as one answer per clip.

use tch::{Device, Tensor};

use super::dcrnn::{Dcrnn, steps_of_frames};
use crate::error::ModelError;
use crate::manifest::Standardisation;
use crate::parameters::to_rows;
use crate::vectors::{AudioInput, Encoded, SEGMENT_BINS, SEGMENT_FRAMES};

/// Most segments of one pass through the network.
const MAX_SEGMENTS: usize = 32;

/// Segments on their way into the network.
pub struct AudioBatch {
    /// `[segments, 1, 215, 96]`, standardised.
    pub x: Tensor,
    /// Valid time steps of each segment.
    pub steps: Vec<i64>,
}

impl AudioBatch {
    /// Uploads and standardises segments, each `[215, 96]` in dB with its frames of sound.
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

/// Vectors and attention of clips without gradients, in order; in training as in service, so that both average a clip in
/// the same way. A clip's vector is the mean of its segments' vectors, each weighing as much as it has sound.
pub fn encode_clips(
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
pub(crate) fn encode_levels(
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

/// What the segments of one clip say together; takes as many as it has of those that are to come.
pub(crate) fn mean_of_segments(
    frames: &[usize],
    of_segment: &mut impl Iterator<Item = (Vec<f32>, Vec<f32>)>,
) -> Encoded {
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
}
