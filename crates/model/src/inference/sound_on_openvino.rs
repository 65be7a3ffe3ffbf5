//! DCRNN on a CPU: convolutions on OpenVINO, one segment at a time, and the recurrent part over slices.

use jtav_engine::Precision;
use jtav_engine::onnx::Dim;
use jtav_engine::openvino::{Input, Library, Network};

use crate::error::ModelError;
use crate::export::sound_graph;
use crate::manifest::Standardisation;
use crate::networks::{Dcrnn, RecurrentOnSlices, mean_of_segments, steps_of_frames};
use crate::vectors::{AudioInput, Encoded, SEGMENT_BINS, SEGMENT_FRAMES};

/// [`Dcrnn`] on OpenVINO.
pub(super) struct SoundOnOpenVino {
    convolutions: Network,
    recurrent: RecurrentOnSlices,
}

impl SoundOnOpenVino {
    /// # Errors
    /// A graph that OpenVINO refuses.
    pub fn new(library: &Library, precision: Precision, network: &Dcrnn) -> Result<Self, ModelError> {
        let _guard = tch::no_grad_guard();
        let convolutions = library.compile(&sound_graph(network, Dim::Of(1))?, precision)?;
        Ok(Self { convolutions, recurrent: network.recurrent_on_slices(precision)? })
    }

    /// Vectors and attention of clips, in order, as [`encode_clips`](crate::networks::encode_clips).
    pub fn encode(&mut self, by: &Standardisation, clips: &[AudioInput]) -> Result<Vec<Encoded>, ModelError> {
        let (mut sequences, mut steps) = (Vec::new(), Vec::new());
        for clip in clips {
            clip.check()?;
            for (segment, &frames) in clip.segments.iter().zip(&clip.valid_frames) {
                self.convolve(by, segment, &mut sequences)?;
                steps.push(steps_of_frames(frames));
            }
        }
        let mut of_segment = self.recurrent.forward(&sequences, &steps).into_iter();
        Ok(clips.iter().map(|clip| mean_of_segments(&clip.valid_frames, &mut of_segment)).collect())
    }

    /// Adds `[27, width]` of a segment to the end of `sequences`.
    fn convolve(&mut self, by: &Standardisation, segment: &[f32], sequences: &mut Vec<f32>) -> Result<(), ModelError> {
        let mut x = segment.to_vec();
        for frame in x.chunks_exact_mut(SEGMENT_BINS) {
            for ((level, mean), deviation) in frame.iter_mut().zip(&by.mean).zip(&by.std) {
                *level = (*level - mean) / deviation;
            }
        }
        let outputs = self.convolutions.run(&[(Input::F32(&x), &[1, 1, SEGMENT_FRAMES, SEGMENT_BINS])])?;
        for output in &outputs {
            sequences.extend_from_slice(output.values()?);
        }
        Ok(())
    }
}
