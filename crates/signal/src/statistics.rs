//! One vector of numbers for a whole clip: timbre, loudness, harmony, register.
//!
//! | group | values | from |
//! |---|---|---|
//! | [`MFCC`] | of 20 coefficients: mean, standard deviation, deviation of the slope | samples |
//! | [`RMS`] | loudness of frames in dB: 5 quantiles, the same less the maximum, deviation, deviation of the change, share within 30 dB of the maximum | samples |
//! | [`CHROMA`] | of 12 pitch classes: mean, deviation | constant-Q |
//! | [`KEY`] | fit of the best major and minor key, their difference; 12 shares from the tonic; 6 intervals | constant-Q |
//! | [`OCTAVE`] | dB of 8 octaves: mean, deviation | constant-Q |
//! | [`REGISTER`] | centre of pitch, its spread, highest and lowest note, in bins | constant-Q |
//! | [`CHORDS`] | for windows of 2 s and of 0.7 s: fits of 8 chords and 7 comparisons of them | constant-Q |
//!
//! Deviations are those of the population.

use std::f64::consts::TAU;

use jtav_simd::dot;

use crate::SignalError;
use crate::constants::{MFCC_COEFFICIENTS, MFCC_MELS, N_FFT, SAMPLE_RATE_HZ};
use crate::harmony::Harmony;
use crate::mel::{MelParams, MelSpectrogram};
use crate::mfcc::Mfcc;
use crate::moments::Moments;
use crate::pcm::{check_clip, copy_zero_padded};
pub use crate::places::{CHORDS, CHROMA, HARMONY, KEY, MFCC, OCTAVE, REGISTER, RMS, STATISTICS, TIMBRE};
use crate::spectrogram::Spectrogram;

/// Samples from one frame of the cepstral coefficients and of the loudness to the next; librosa's default. Half the hop
/// of the spectrograms: a syllable's slope takes 0.1 s.
const HOP: usize = 512;
/// Frames of the straight line whose slope is taken; `librosa.feature.delta`'s default.
const SLOPE_FRAMES: usize = 9;
/// Added to a frame's amplitude before the logarithm: silence is −100 dB.
const QUIETEST: f64 = 1e-5;
/// A frame no further under the loudest is not a pause.
const PAUSE_DB: f64 = 30.0;
const QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// Filter bank and templates; `Send + Sync`, one serves a whole process.
#[derive(Debug)]
pub struct ClipStatistics {
    mfcc: Mfcc,
    /// Periodic Hann window.
    window: Vec<f32>,
    harmony: Harmony,
}

impl ClipStatistics {
    /// Builds the filter bank.
    pub fn new() -> Self {
        let mel = MelParams { sample_rate_hz: SAMPLE_RATE_HZ, n_fft: N_FFT, hop_length: HOP, n_mels: MFCC_MELS };
        let hann = |at: usize| (0.5 - 0.5 * (TAU * at as f64 / N_FFT as f64).cos()) as f32;
        Self {
            mfcc: Mfcc::build(MelSpectrogram::build(mel), MFCC_MELS, MFCC_COEFFICIENTS),
            window: (0..N_FFT).map(hann).collect(),
            harmony: Harmony::new(),
        }
    }

    /// [`STATISTICS`] finite values of a clip: mono samples at 22,050 Hz, and its constant-Q levels `[frames, 96]` in dB
    /// below its loudest value ([`CqtFrontEnd::decibels`](crate::CqtFrontEnd::decibels)). Time grows with the samples;
    /// beside the result it takes half the memory of the samples.
    ///
    /// # Errors
    /// [`SignalError::EmptyClip`], [`SignalError::BadSample`].
    pub fn of(&self, samples: &[f32], decibels: &[f32]) -> Result<Vec<f32>, SignalError> {
        let mut values = self.timbre(samples)?;
        values.extend(self.harmony(decibels));
        Ok(values)
    }

    /// The first [`TIMBRE`] values.
    ///
    /// # Errors
    /// [`SignalError::EmptyClip`], [`SignalError::BadSample`].
    pub fn timbre(&self, samples: &[f32]) -> Result<Vec<f32>, SignalError> {
        check_clip(samples)?;
        let mut values = cepstral(&self.mfcc.coefficients(samples)?);
        values.extend(loudness(&self.levels(samples)));
        Ok(values.into_iter().map(|value| value as f32).collect())
    }

    /// The other [`HARMONY`] values, of levels in dB, `[frames, 96]`: a level that is no number counts as silence, and so
    /// does a clip without frames.
    pub fn harmony(&self, decibels: &[f32]) -> Vec<f32> {
        self.harmony.of(decibels).to_vec()
    }

    /// Loudness of each windowed frame in dB. By Parseval's theorem it is what `librosa.feature.rms` sums over the bins of
    /// a spectrum.
    fn levels(&self, samples: &[f32]) -> Vec<f64> {
        let mut frame = vec![0.0; N_FFT];
        let frames = 1 + samples.len() / HOP;
        let level = |at: usize| {
            copy_zero_padded(samples, (at * HOP) as isize - (N_FFT / 2) as isize, &mut frame);
            frame.iter_mut().zip(&self.window).for_each(|(x, w)| *x *= w);
            20.0 * ((f64::from(dot(&frame, &frame)) / N_FFT as f64).sqrt() + QUIETEST).log10()
        };
        (0..frames).map(level).collect()
    }
}

impl Default for ClipStatistics {
    fn default() -> Self {
        Self::new()
    }
}

/// Mean and deviation of each coefficient, and the deviation of its slope.
fn cepstral(coefficients: &Spectrogram) -> Vec<f64> {
    let of = |coefficient: usize| {
        let values = coefficients.values.iter().skip(coefficient).step_by(coefficients.bins);
        values.map(|&value| f64::from(value)).collect::<Vec<f64>>()
    };
    let tracks: Vec<Vec<f64>> = (0..coefficients.bins).map(of).collect();
    let moments: Vec<Moments> = tracks.iter().map(|track| Moments::of(track.iter().copied())).collect();
    let means = moments.iter().map(Moments::mean);
    let deviations = moments.iter().map(Moments::deviation);
    means.chain(deviations).chain(tracks.iter().map(|track| slope_deviation(track))).collect()
}

/// Deviation of the slope of the straight line through each frame and its four neighbours on either side (Savitzky and
/// Golay, Analytical Chemistry 36, 1964). The first and last four frames have the slope of the nearest whole line; a track
/// too short for one has none, 0.
fn slope_deviation(track: &[f64]) -> f64 {
    let half = SLOPE_FRAMES / 2;
    let weight: f64 = (1..=half).map(|at| 2.0 * (at * at) as f64).sum();
    let mut moments = Moments::default();
    let whole = (track.len() + 1).saturating_sub(SLOPE_FRAMES);
    for (at, frames) in track.windows(SLOPE_FRAMES).enumerate() {
        let slope = (1..=half).map(|d| d as f64 * (frames[half + d] - frames[half - d])).sum::<f64>() / weight;
        let at_an_end = usize::from(at == 0) + usize::from(at + 1 == whole);
        (0..1 + at_an_end * half).for_each(|_| moments.add(slope));
    }
    moments.deviation()
}

fn loudness(levels: &[f64]) -> Vec<f64> {
    let mut sorted = levels.to_vec();
    sorted.sort_by(f64::total_cmp);
    let loudest = sorted.last().copied().unwrap_or(0.0);
    let quantiles = QUANTILES.map(|share| quantile(&sorted, share));
    let changes = Moments::of(levels.windows(2).map(|pair| pair[1] - pair[0]));
    let sounding = levels.iter().map(|&level| f64::from(u8::from(level > loudest - PAUSE_DB)));
    let rest = [Moments::of(levels.iter().copied()).deviation(), changes.deviation(), Moments::of(sounding).mean()];
    quantiles.into_iter().chain(quantiles.map(|level| level - loudest)).chain(rest).collect()
}

/// Between the two nearest of the sorted values, as numpy does by default; 0 of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * sorted.len().saturating_sub(1) as f64;
    let at = |index: usize| sorted.get(index).or(sorted.last()).copied().unwrap_or(0.0);
    let (below, above) = (at(place as usize), at(place as usize + 1));
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_lie_side_by_side_and_fill_the_vector() {
        let groups = [MFCC, RMS, CHROMA, KEY, OCTAVE, REGISTER, CHORDS];
        assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [60, 13, 24, 21, 16, 9, 30]);
        assert!(groups.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!((STATISTICS, TIMBRE, HARMONY), (173, 73, 100));
    }

    #[test]
    fn the_filter_bank_of_the_statistics_has_no_empty_band() {
        let mel = MelParams { sample_rate_hz: SAMPLE_RATE_HZ, n_fft: N_FFT, hop_length: HOP, n_mels: MFCC_MELS };
        assert!(Mfcc::new(mel, MFCC_COEFFICIENTS).is_ok());
    }

    #[test]
    fn quantiles_lie_between_the_nearest_values() {
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|share| quantile(&[1.0, 2.0, 4.0], share)), [1.0, 1.5, 2.0, 4.0]);
        assert_eq!((quantile(&[3.0], 0.95), quantile(&[], 0.5)), (3.0, 0.0));
    }

    #[test]
    fn a_straight_line_has_one_slope_and_a_short_track_has_none() {
        let line: Vec<f64> = (0..30).map(|at| 3.0 * f64::from(at)).collect();
        assert!(slope_deviation(&line) < 1e-12);
        assert_eq!(slope_deviation(&line[..8]), 0.0);
        assert!(slope_deviation(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 9.0]) > 0.0);
    }

    #[test]
    fn a_tone_twice_as_loud_is_six_decibels_louder_and_has_the_same_harmony() {
        let statistics = ClipStatistics::new();
        let front_end = crate::CqtFrontEnd::new();
        let tone =
            |gain: f64| -> Vec<f32> { (0..44_100).map(|at| (gain * (f64::from(at) * 0.1).sin()) as f32).collect() };
        let of = |samples: &[f32]| statistics.of(samples, &front_end.decibels(samples).unwrap().values).unwrap();
        let (quiet, loud) = (of(&tone(0.25)), of(&tone(0.5)));
        let (median, gain_db) = (RMS.start + 2, 20.0 * 2.0_f32.log10());
        assert!((loud[median] - quiet[median] - gain_db).abs() < 1e-2, "{} {}", quiet[median], loud[median]);
        for place in CHROMA.start..STATISTICS {
            assert!((quiet[place] - loud[place]).abs() < 0.05, "{place}: {} {}", quiet[place], loud[place]);
        }
    }
}
