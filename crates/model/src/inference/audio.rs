//! The audio network as it serves.

use std::cell::RefCell;

use tch::Device;

use super::front_end::FrontEnd;
use super::sound_on_openvino::SoundOnOpenVino;
use crate::checkpoint::Checkpoint;
use crate::error::ModelError;
use crate::manifest::Standardisation;
use crate::networks::{AudioModel, audio_vector, encode_clips, encode_levels, steps_of_frames};
use crate::parameters::Builder;
use crate::placement::{AS_PLACED, Contest, Engine, Placement};
use crate::vectors::{AudioInput, Encoded, FRAME_SECONDS, SEGMENT_BINS, SEGMENT_FRAMES, Waveform};

/// DCRNN on one device, and beside it, on the host, what the statistics of a clip say. `Send`, not `Sync`: one owner thread.
pub struct AudioNetwork {
    network: AudioModel,
    /// DCRNN on another engine, which then computes in its place.
    dcrnn: Option<Box<RefCell<SoundOnOpenVino>>>,
    standardisation: Standardisation,
    device: Device,
    front_end: FrontEnd,
}

impl AudioNetwork {
    /// Builds the network from the checkpoint's weights, and what turns samples into its input.
    pub fn from_checkpoint(checkpoint: &Checkpoint, placement: impl Into<Placement>) -> Result<Self, ModelError> {
        let placement = placement.into();
        let device = placement.device.resolve()?;
        let manifest = checkpoint.manifest();
        let build = || {
            let stored = checkpoint.stored()?;
            let network = AudioModel::new(&Builder::stored(&stored, device).scope("audio"), &manifest.dimensions)?;
            let front_end = FrontEnd::on(device)?;
            let standardisation = manifest.standardisation.clone();
            Ok(Self { network, dcrnn: None, standardisation, device, front_end })
        };
        let version = checkpoint.model_version();
        let contest = Contest::new(&version, "audio_dcrnn", placement);
        if device != Device::Cpu {
            contest.note(Engine::Libtorch, AS_PLACED);
            return build();
        }
        contest.choose(
            build,
            |library, precision| {
                let network = build()?;
                let dcrnn = SoundOnOpenVino::new(library, precision, &network.network.dcrnn)?;
                Ok(Self { dcrnn: Some(Box::new(RefCell::new(dcrnn))), ..network })
            },
            |network| {
                let levels =
                    |frames: usize| (0..frames * SEGMENT_BINS).map(|at| -((at * 7 % 61) as f32)).collect::<Vec<_>>();
                let clips = [SEGMENT_FRAMES, 100].map(|frames| AudioInput::from_spectrogram(&levels(frames)));
                let [long, short] = clips;
                Ok(network.of_dcrnn(&[long?, short?])?.into_iter().map(|clip| clip.vector).collect())
            },
        )
    }

    /// [`encode`](Self::encode) for decoded sound: resampled, transformed, cut into segments. On a GPU all of it happens
    /// there, the whole batch at once; on a CPU with the transforms of `jtav-signal`. Both give the same levels within
    /// 2e-4 of a clip's loudest.
    pub fn encode_sound(&self, clips: &[Waveform]) -> Result<Vec<Encoded>, ModelError> {
        match &self.front_end {
            FrontEnd::Host(front_end) => self.encode(&front_end.inputs(clips)?),
            FrontEnd::Device(front_end) => {
                let _guard = tch::no_grad_guard();
                let levels = front_end.levels(clips)?;
                let encoded =
                    encode_levels(&self.network.dcrnn, &self.standardisation, &levels.segments, &levels.frames)?;
                let statistics = levels.statistics()?;
                self.with_statistics(encoded, statistics.iter().map(Vec::as_slice))
            }
        }
    }

    /// Vectors (100 values) and attention over time, in order. A clip's vector is the logit and the moods that its
    /// statistics give it, and the mean of its segments' vectors, each weighing as much as it has sound; the attention is
    /// that of the segments. [`ModelError::Input`] for a clip that breaks [`AudioInput`]'s rules or has no statistics.
    pub fn encode(&self, inputs: &[AudioInput]) -> Result<Vec<Encoded>, ModelError> {
        let encoded = self.of_dcrnn(inputs)?;
        self.with_statistics(encoded, inputs.iter().map(|input| input.statistics.as_slice()))
    }

    /// What DCRNN says of clips.
    pub(crate) fn of_dcrnn(&self, inputs: &[AudioInput]) -> Result<Vec<Encoded>, ModelError> {
        match &self.dcrnn {
            Some(dcrnn) => dcrnn.borrow_mut().encode(&self.standardisation, inputs),
            None => encode_clips(&self.network.dcrnn, &self.standardisation, self.device, inputs),
        }
    }

    fn with_statistics<'a>(
        &self,
        encoded: Vec<Encoded>,
        statistics: impl Iterator<Item = &'a [f32]>,
    ) -> Result<Vec<Encoded>, ModelError> {
        let vector = |(encoded, statistics): (Encoded, &[f32])| {
            let verdict = self.network.statistics.judge(statistics)?;
            Ok(Encoded { vector: audio_vector(&verdict, &encoded.vector), attention: encoded.attention })
        };
        encoded.into_iter().zip(statistics).map(vector).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::drawn;
    use crate::manifest::MODERN;
    use crate::placement::{CpuEngine, choices_of};

    #[test]
    fn on_openvino_clips_of_any_length_are_encoded_as_on_libtorch() {
        let checkpoint = drawn::checkpoint(drawn::manifest(MODERN)).unwrap();
        let [exact, network] = [CpuEngine::Libtorch, CpuEngine::OpenVino]
            .map(|engine| AudioNetwork::from_checkpoint(&checkpoint, Placement::on_cpu(engine)).unwrap());
        assert!(network.dcrnn.is_some() && exact.dcrnn.is_none());
        network.warm_up().unwrap();
        let levels = |frames: usize| (0..frames * SEGMENT_BINS).map(|at| -((at * 13 % 71) as f32)).collect::<Vec<_>>();
        let clips = [20, 215, 500, 9].map(|frames| AudioInput::from_spectrogram(&levels(frames)).unwrap());
        let choices = choices_of(&checkpoint.model_version(), Placement::on_cpu(CpuEngine::OpenVino));
        let far = if choices["audio_dcrnn"].is_bf16 { 5e-2 } else { 1e-4 };
        let near = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < far);
        let expected = exact.of_dcrnn(&clips).unwrap();
        for (found, expected) in network.of_dcrnn(&clips).unwrap().iter().zip(&expected) {
            assert!(near(&found.vector, &expected.vector) && near(&found.attention, &expected.attention));
        }
        assert!(network.of_dcrnn(&[]).unwrap().is_empty());
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
