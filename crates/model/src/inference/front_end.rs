//! From decoded sound to what the audio network looks at: with the transforms of `jtav-signal` on a CPU, as products of
//! matrices on a GPU.

use std::borrow::Cow;

use jtav_signal::constants::{HOP_LENGTH, SAMPLE_RATE_HZ};
use jtav_signal::{CqtFrontEnd, DEVICE_RATES_HZ, FrameOperator, Layout, resample, resampled_len};
use tch::{Device, Kind, Tensor};

use crate::error::ModelError;
use crate::parameters::to_vec;
use crate::vectors::{AudioInput, SEGMENT_BINS, SEGMENT_FRAMES, SILENCE_DB, STATISTICS_OF, Waveform, segment_frames};

/// Smallest power that counts, in dB; that of `jtav_signal::to_db`.
const POWER_FLOOR_DB: f64 = -100.0;

/// Where sound is made ready.
pub(super) enum FrontEnd {
    Host(HostFrontEnd),
    Device(DeviceFrontEnd),
}

impl FrontEnd {
    pub fn on(device: Device) -> Result<Self, ModelError> {
        Ok(match device {
            Device::Cuda(_) => Self::Device(DeviceFrontEnd::new(device)?),
            _ => Self::Host(HostFrontEnd(CqtFrontEnd::new())),
        })
    }
}

/// One clip after the other on the calling thread.
pub(super) struct HostFrontEnd(CqtFrontEnd);

impl HostFrontEnd {
    pub fn inputs(&self, clips: &[Waveform]) -> Result<Vec<AudioInput>, ModelError> {
        let input = |clip: &Waveform| {
            let samples = match clip.sample_rate_hz() {
                SAMPLE_RATE_HZ => Cow::Borrowed(clip.samples()),
                rate_hz => Cow::Owned(resample(clip.samples(), rate_hz, SAMPLE_RATE_HZ)?),
            };
            AudioInput::from_sound(&samples, &self.0.decibels(&samples)?.values)
        };
        clips.iter().map(input).collect()
    }
}

/// What [`DeviceFrontEnd::levels`] makes of a batch.
pub(super) struct Levels {
    /// `[segments of all clips, 215, 96]`, dB.
    pub segments: Tensor,
    /// Frames of each clip's segments that hold sound.
    pub frames: Vec<Vec<usize>>,
    /// Samples of each clip at the rate of the model, and its levels, `[frames, 96]`; on the device.
    pub whole: Vec<(Tensor, Tensor)>,
}

impl Levels {
    /// Statistics of each clip. They are made on the host: a clip's samples and levels come back, a few megabytes, and
    /// cost it some milliseconds.
    pub fn statistics(&self) -> Result<Vec<Vec<f32>>, ModelError> {
        let clip = |(samples, levels): &(Tensor, Tensor)| Ok(STATISTICS_OF.of(&to_vec(samples)?, &to_vec(levels)?)?);
        self.whole.iter().map(clip).collect()
    }
}

/// All clips of a batch at once, on the device.
pub(super) struct DeviceFrontEnd {
    device: Device,
    /// The octaves, the lowest (and longest) first.
    octaves: Vec<DeviceOperator>,
    /// By rate.
    resampling: Vec<(u32, DeviceOperator)>,
}

/// A [`FrameOperator`] whose matrix is on the device.
struct DeviceOperator {
    shape: FrameOperator,
    matrix: Tensor,
}

impl DeviceOperator {
    fn new(mut operator: FrameOperator, device: Device) -> Result<Self, ModelError> {
        let shape = [operator.width as i64, operator.outputs as i64];
        let matrix = Tensor::f_from_slice(&std::mem::take(&mut operator.matrix))?.f_view(shape)?.f_to_device(device)?;
        Ok(Self { shape: operator, matrix })
    }

    /// `[rows, outputs]` of a signal whose row 0 begins at sample `first`.
    fn apply(&self, signal: &Tensor, first: usize, rows: usize) -> Result<Tensor, ModelError> {
        let reach = (rows - 1) * self.shape.stride + self.shape.width;
        let frames = signal.f_narrow(0, first as i64, reach as i64)?;
        let frames = frames.f_unfold(0, self.shape.width as i64, self.shape.stride as i64)?;
        Ok(frames.f_matmul(&self.matrix)?)
    }
}

impl DeviceFrontEnd {
    pub fn new(device: Device) -> Result<Self, ModelError> {
        let on_device = |operator| DeviceOperator::new(operator, device);
        let octaves = CqtFrontEnd::operators().into_iter().map(on_device).collect::<Result<_, _>>()?;
        let of_rate = |rate_hz| FrameOperator::resampling(rate_hz).map(|operator| (rate_hz, operator));
        let resampling = DEVICE_RATES_HZ.into_iter().filter_map(of_rate);
        let resampling = resampling.map(|(rate_hz, operator)| Ok((rate_hz, on_device(operator)?)));
        Ok(Self { device, octaves, resampling: resampling.collect::<Result<_, ModelError>>()? })
    }

    /// Levels of every clip relative to its own loudest, in segments.
    pub fn levels(&self, clips: &[Waveform]) -> Result<Levels, ModelError> {
        let Some(longest) = self.octaves.first().filter(|_| !clips.is_empty()) else {
            let segments =
                Tensor::f_zeros([0, SEGMENT_FRAMES as i64, SEGMENT_BINS as i64], (Kind::Float, self.device))?;
            return Ok(Levels { segments, frames: Vec::new(), whole: Vec::new() });
        };
        let length = |clip: &Waveform| resampled_len(clip.samples().len(), clip.sample_rate_hz(), SAMPLE_RATE_HZ);
        let lengths: Vec<usize> = clips.iter().map(length).collect();
        let layout = longest.shape.layout(&lengths);
        let starts: Vec<usize> = layout.first_rows.iter().map(|&row| longest.shape.start(row)).collect();
        let signal = self.signal(clips, &starts, &lengths, layout.samples)?;
        let powers = self.powers(&signal, &layout, longest.shape.before)?;
        let frames: Vec<usize> = lengths.iter().map(|len| 1 + len / HOP_LENGTH).collect();
        let levels = decibels(&powers, &layout.first_rows, &frames)?;
        let whole = |(clip, &frames): (usize, &usize)| {
            let samples = signal.f_narrow(0, starts[clip] as i64, lengths[clip] as i64)?;
            Ok((samples, levels.f_select(0, clip as i64)?.f_narrow(0, 0, frames as i64)?))
        };
        let whole = frames.iter().enumerate().map(whole).collect::<Result<Vec<_>, ModelError>>()?;
        let (segments, frames) = segments(&levels, &frames)?;
        Ok(Levels { segments, frames, whole })
    }

    /// `[samples]` at the rate of the model: the clips at their starts, zeros between them.
    fn signal(
        &self,
        clips: &[Waveform],
        starts: &[usize],
        lengths: &[usize],
        samples: usize,
    ) -> Result<Tensor, ModelError> {
        let signal = self.zeros(samples)?;
        for (rate_hz, operator) in &self.resampling {
            let of_rate: Vec<usize> = (0..clips.len()).filter(|&i| clips[i].sample_rate_hz() == *rate_hz).collect();
            if of_rate.is_empty() {
                continue;
            }
            let layout = operator.shape.layout(&of_rate.iter().map(|&i| clips[i].samples().len()).collect::<Vec<_>>());
            let native = self.zeros(layout.samples)?;
            for (&row, &clip) in layout.first_rows.iter().zip(&of_rate) {
                upload(clips[clip].samples(), &native, operator.shape.start(row))?;
            }
            let resampled = operator.apply(&native, 0, layout.rows)?.f_view([-1])?;
            for (&row, &clip) in layout.first_rows.iter().zip(&of_rate) {
                let len = lengths[clip] as i64;
                let from = resampled.f_narrow(0, (row * operator.shape.outputs) as i64, len)?;
                signal.f_narrow(0, starts[clip] as i64, len)?.f_copy_(&from)?;
            }
        }
        for (clip, &start) in clips.iter().zip(starts) {
            match clip.sample_rate_hz() {
                SAMPLE_RATE_HZ => upload(clip.samples(), &signal, start)?,
                rate_hz if DEVICE_RATES_HZ.contains(&rate_hz) => {}
                rate_hz => upload(&resample(clip.samples(), rate_hz, SAMPLE_RATE_HZ)?, &signal, start)?,
            }
        }
        Ok(signal)
    }

    fn zeros(&self, samples: usize) -> Result<Tensor, ModelError> {
        Ok(Tensor::f_zeros([samples as i64], (Kind::Float, self.device))?)
    }

    /// `[rows, 96]`: squares of the constant-Q magnitudes. The signal is laid out for frames that begin `lead` samples
    /// before their own; those of the higher octaves are shorter.
    fn powers(&self, signal: &Tensor, layout: &Layout, lead: usize) -> Result<Tensor, ModelError> {
        let octave = |operator: &DeviceOperator| -> Result<Tensor, ModelError> {
            let products = operator.apply(signal, lead - operator.shape.before, layout.rows)?;
            let bins = operator.shape.outputs as i64 / 2;
            let squares = products.f_square()?;
            Ok(squares.f_narrow(1, 0, bins)?.f_add(&squares.f_narrow(1, bins, bins)?)?)
        };
        let octaves = self.octaves.iter().map(octave).collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::f_cat(&octaves, 1)?)
    }
}

/// Copies samples to their place in a signal on the device. Straight from where they are: a batch in one piece on the host
/// would be tens of megabytes of fresh pages, which cost more than all that the device does.
fn upload(samples: &[f32], signal: &Tensor, start: usize) -> Result<(), ModelError> {
    let len = samples.len() as i64;
    // SAFETY: pointer and length are those of `samples`, which outlives the tensor. It is only read, by a copy that has
    // ended when it returns: it is not asked to be asynchronous, and the memory is not pinned.
    let host = unsafe { Tensor::f_from_blob(samples.as_ptr().cast(), &[len], &[1], Kind::Float, Device::Cpu)? };
    signal.f_narrow(0, start as i64, len)?.f_copy_(&host)?;
    Ok(())
}

/// `[clips, frames of the longest, 96]`, dB relative to each clip's loudest value, as `jtav_signal::to_db`. What lies
/// behind a clip's frames means nothing.
fn decibels(powers: &Tensor, first_rows: &[usize], frames: &[usize]) -> Result<Tensor, ModelError> {
    let most = frames.iter().copied().max().unwrap_or(0);
    // A row of zeros behind the last stands for what a shorter clip lacks: it is never the loudest.
    let nothing = powers.size()[0];
    let row =
        |clip: usize, frame: usize| if frame < frames[clip] { (first_rows[clip] + frame) as i64 } else { nothing };
    let rows: Vec<i64> = (0..frames.len())
        .flat_map(|clip| (0..most).map(move |frame| (clip, frame)))
        .map(|(clip, frame)| row(clip, frame))
        .collect();
    let rows = Tensor::f_from_slice(&rows)?.f_to_device(powers.device())?;
    let of_clips = powers.f_constant_pad_nd([0, 0, 0, 1])?.f_index_select(0, &rows)?;
    let of_clips = of_clips.f_view([frames.len() as i64, most as i64, SEGMENT_BINS as i64])?;
    let levels = of_clips.f_clamp_min(10_f64.powf(POWER_FLOOR_DB / 10.0))?.f_log10()?.f_mul_scalar(10.0)?;
    let loudest = levels.f_amax([1, 2], true)?;
    let relative = levels.f_sub(&loudest)?.f_clamp(f64::from(SILENCE_DB), 0.0)?;
    // A clip with nothing above the floor is silent, not as loud as can be.
    let silent = loudest.f_le(POWER_FLOOR_DB + 1e-3)?;
    Ok(relative.f_masked_fill(&silent, f64::from(SILENCE_DB))?)
}

/// Cuts `[clips, frames of the longest, 96]` as [`AudioInput::from_spectrogram`] does.
fn segments(levels: &Tensor, frames: &[usize]) -> Result<(Tensor, Vec<Vec<usize>>), ModelError> {
    let most = levels.size()[1];
    let padding = levels.size()[0] * most;
    let of_clips: Vec<Vec<usize>> = frames.iter().map(|&frames| segment_frames(frames)).collect();
    let mut rows = Vec::new();
    for (clip, segments) in of_clips.iter().enumerate() {
        for (segment, &valid) in segments.iter().enumerate() {
            let first = clip as i64 * most + (segment * SEGMENT_FRAMES) as i64;
            rows.extend((0..SEGMENT_FRAMES as i64).map(|at| if at < valid as i64 { first + at } else { padding }));
        }
    }
    let rows = Tensor::f_from_slice(&rows)?.f_to_device(levels.device())?;
    let all = levels.f_reshape([-1, SEGMENT_BINS as i64])?;
    let silence = Tensor::f_full([1, SEGMENT_BINS as i64], f64::from(SILENCE_DB), (Kind::Float, levels.device()))?;
    let segments = Tensor::f_cat(&[all, silence], 0)?.f_index_select(0, &rows)?;
    let segments = segments.f_view([-1, SEGMENT_FRAMES as i64, SEGMENT_BINS as i64])?;
    Ok((segments, of_clips))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chords of harmonics under noise, each clip its own.
    fn clip(seconds: f64, sample_rate_hz: u32, pitch_hz: f64) -> Waveform {
        let mut state = pitch_hz as u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / 16_777_216.0 - 0.5
        };
        let sample = |at: usize| {
            let seconds = at as f64 / f64::from(sample_rate_hz);
            let harmonic = |n: u32| (std::f64::consts::TAU * pitch_hz * f64::from(n) * seconds).sin() / f64::from(n);
            (0.3 * (1..6).map(harmonic).sum::<f64>() + 0.02 * noise()) as f32
        };
        let samples: Vec<f32> = (0..(seconds * f64::from(sample_rate_hz)) as usize).map(sample).collect();
        Waveform::new(samples, sample_rate_hz).unwrap()
    }

    fn both(clips: &[Waveform]) -> (Vec<AudioInput>, Vec<AudioInput>) {
        let expected = HostFrontEnd(CqtFrontEnd::new()).inputs(clips).unwrap();
        crate::device::open_cuda_library();
        let device = Device::cuda_if_available();
        let levels = DeviceFrontEnd::new(device).unwrap().levels(clips).unwrap();
        let mut statistics = levels.statistics().unwrap().into_iter();
        let Levels { segments, frames, .. } = levels;
        let values = to_vec(&segments).unwrap();
        let mut segments = values.chunks(SEGMENT_FRAMES * SEGMENT_BINS).map(<[f32]>::to_vec);
        let found = frames.into_iter().map(|valid_frames| {
            let segments = segments.by_ref().take(valid_frames.len()).collect();
            AudioInput { segments, valid_frames, remainder: Vec::new(), statistics: statistics.next().unwrap() }
        });
        (expected, found.collect())
    }

    /// Of the loudest.
    fn amplitude(decibels: f32) -> f32 {
        10_f32.powf(decibels / 20.0)
    }

    fn assert_alike(clips: &[Waveform]) {
        let (expected, found) = both(clips);
        assert_eq!(expected.len(), found.len());
        for (clip, (expected, found)) in expected.iter().zip(&found).enumerate() {
            assert_eq!(expected.valid_frames, found.valid_frames, "clip {clip}");
            for (place, (a, b)) in expected.statistics.iter().zip(&found.statistics).enumerate() {
                assert!((a - b).abs() < 0.02 * a.abs().max(1.0), "clip {clip} statistic {place}: {a} and {b}");
            }
            for (segment, (expected, found)) in expected.segments.iter().zip(&found.segments).enumerate() {
                for (at, (a, b)) in expected.iter().zip(found).enumerate() {
                    let difference = (amplitude(*a) - amplitude(*b)).abs();
                    assert!(difference < 2e-4, "clip {clip} segment {segment} value {at}: {a} and {b} dB");
                }
            }
        }
    }

    #[test]
    fn a_batch_of_clips_of_all_rates_and_lengths_has_the_levels_of_the_host() {
        let rates = DEVICE_RATES_HZ.into_iter().chain([SAMPLE_RATE_HZ, 44_101]);
        let clips: Vec<Waveform> =
            rates.enumerate().map(|(i, rate)| clip(0.3 + 1.7 * i as f64, rate, 90.0 + 37.0 * i as f64)).collect();
        assert_alike(&clips);
    }

    #[test]
    fn a_clip_has_the_same_levels_alone_and_between_loud_neighbours() {
        let quiet =
            Waveform::new(clip(3.0, 44_100, 220.0).samples().iter().map(|x| x * 1e-3).collect::<Vec<_>>(), 44_100)
                .unwrap();
        let alone = both(std::slice::from_ref(&quiet)).1.swap_remove(0);
        let between = both(&[clip(2.0, 44_100, 880.0), quiet, clip(2.0, 44_100, 660.0)]).1.swap_remove(1);
        let pairs = alone.segments.concat().into_iter().zip(between.segments.concat());
        for (at, (a, b)) in pairs.enumerate() {
            assert!((a - b).abs() < 0.05, "value {at}: {a} and {b}");
        }
    }

    #[test]
    fn silence_is_minus_eighty_and_one_sample_is_a_clip() {
        let silence = Waveform::new(vec![0.0; 30_000], 44_100).unwrap();
        let click = Waveform::new(vec![0.5], 48_000).unwrap();
        let (expected, found) = both(&[silence, click.clone(), click]);
        assert!(found[0].segments.concat().iter().all(|&level| level == SILENCE_DB));
        assert_eq!((found[1].valid_frames.clone(), expected[1].valid_frames.clone()), (vec![1], vec![1]));
        assert!(both(&[]).1.is_empty());
    }

    #[test]
    fn a_waveform_holds_usable_samples_at_a_usable_rate() {
        assert!(Waveform::new(Vec::new(), 44_100).is_err());
        assert!(Waveform::new(vec![f32::NAN], 44_100).is_err());
        assert!(Waveform::new(vec![0.0], 0).is_err());
        assert!(Waveform::new(vec![0.0], 44_100).is_ok());
    }
}
