//! Mel spectrogram with the conventions of `librosa.feature.melspectrogram` 0.11: periodic Hann
//! window, frames centred on multiples of the hop with zeros outside the clip, power |X|², and
//! triangular bands on Slaney's mel scale (Auditory Toolbox, 1998) normalised to equal area.

use std::f64::consts::TAU;
use std::fmt;
use std::sync::Arc;

use jtav_simd::{dot, forms};
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use crate::SignalError;
use crate::pcm::{check_clip, copy_zero_padded};
use crate::spectrogram::Spectrogram;

/// What a [`MelSpectrogram`] is built from. The bands span 0 Hz to half the sample rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MelParams {
    /// Sample rate of the clips, in Hz.
    pub sample_rate_hz: u32,
    /// Window and FFT length, in samples; even, 2 to 65536.
    pub n_fft: usize,
    /// Distance between frames, in samples; at least 1.
    pub hop_length: usize,
    /// Number of bands; few enough that each catches at least one FFT bin.
    pub n_mels: usize,
}

/// Filter bank and FFT plan for one parameter set.
pub struct MelSpectrogram {
    params: MelParams,
    fft: Arc<dyn Fft<f32>>,
    window: Vec<f32>,
    bands: Vec<Band>,
}

/// The non-zero part of one row of the `[n_mels, n_fft / 2 + 1]` filter matrix.
struct Band {
    first_bin: usize,
    weights: Vec<f32>,
}

impl MelSpectrogram {
    /// Builds the filter bank.
    ///
    /// # Errors
    /// [`SignalError::InvalidParameter`]; among them a band so narrow that no FFT bin falls into
    /// it, which would be a row of constant silence.
    pub fn new(params: MelParams) -> Result<Self, SignalError> {
        let MelParams { sample_rate_hz, n_fft, hop_length, n_mels } = params;
        if sample_rate_hz == 0 {
            return Err(SignalError::invalid("sample_rate_hz", "must be positive"));
        }
        if !(2..=65_536).contains(&n_fft) || !n_fft.is_multiple_of(2) {
            return Err(SignalError::invalid("n_fft", format!("{n_fft} is not an even number in 2..=65536")));
        }
        if hop_length == 0 {
            return Err(SignalError::invalid("hop_length", "must be positive"));
        }
        if n_mels == 0 || n_mels > n_fft {
            return Err(SignalError::invalid("n_mels", format!("{n_mels} is not in 1..={n_fft}")));
        }
        let built = Self::build(params);
        if let Some(band) = built.bands.iter().position(|band| band.weights.is_empty()) {
            return Err(SignalError::invalid("n_mels", format!("band {band} of {n_mels} contains no FFT bin")));
        }
        Ok(built)
    }

    /// [`Self::new`] for parameters that are known to be valid.
    pub(crate) fn build(params: MelParams) -> Self {
        let MelParams { n_fft, .. } = params;
        let hann = |i| (0.5 - 0.5 * (TAU * i as f64 / n_fft as f64).cos()) as f32;
        Self {
            params,
            fft: FftPlanner::new().plan_fft_forward(n_fft),
            window: (0..n_fft).map(hann).collect(),
            bands: slaney_bands(params),
        }
    }

    /// Mel power of a whole clip, `[1 + samples / hop_length, n_mels]`, not in decibels
    /// (see [`crate::power_to_db`]).
    ///
    /// # Errors
    /// [`SignalError::EmptyClip`], [`SignalError::BadSample`].
    pub fn power(&self, samples: &[f32]) -> Result<Spectrogram, SignalError> {
        check_clip(samples)?;
        let MelParams { n_fft, hop_length, n_mels, .. } = self.params;
        let frames = 1 + samples.len() / hop_length;
        let start_of = |frame: usize| (frame * hop_length) as isize - (n_fft / 2) as isize;
        let mut values = vec![0.0; frames * n_mels];
        let mut pair = FramePair::new(n_fft, self.fft.as_ref());
        for (index, rows) in values.chunks_mut(2 * n_mels).enumerate() {
            copy_zero_padded(samples, start_of(2 * index), &mut pair.frames[0]);
            copy_zero_padded(samples, start_of(2 * index + 1), &mut pair.frames[1]);
            pair.transform(self.fft.as_ref(), &self.window);
            for (row, power) in rows.chunks_mut(n_mels).zip(&pair.powers) {
                row.iter_mut().zip(&self.bands).for_each(|(value, band)| *value = band.apply(power));
            }
        }
        Ok(Spectrogram { frames, bins: n_mels, values })
    }
}

/// Buffers for two frames at once. One complex transform serves both, one as its real and one as its imaginary part: the
/// spectrum of the first is what is symmetric in it, that of the second what is antisymmetric.
struct FramePair {
    frames: [Vec<f32>; 2],
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    /// |X|² of both, up to half the sample rate.
    powers: [Vec<f32>; 2],
}

impl FramePair {
    fn new(n_fft: usize, fft: &dyn Fft<f32>) -> Self {
        let zero = Complex::new(0.0, 0.0);
        Self {
            frames: [vec![0.0; n_fft], vec![0.0; n_fft]],
            spectrum: vec![zero; n_fft],
            scratch: vec![zero; fft.get_inplace_scratch_len()],
            powers: [vec![0.0; n_fft / 2 + 1], vec![0.0; n_fft / 2 + 1]],
        }
    }

    fn transform(&mut self, fft: &dyn Fft<f32>, window: &[f32]) {
        let [first, second] = &self.frames;
        windowed(window, first, second, &mut self.spectrum);
        fft.process_with_scratch(&mut self.spectrum, &mut self.scratch);
        let half = self.spectrum.len() / 2;
        let [first, second] = &mut self.powers;
        for k in [0, half] {
            let z = self.spectrum[k];
            (first[k], second[k]) = (z.re * z.re, z.im * z.im);
        }
        powers(&self.spectrum[1..half], &self.spectrum[half + 1..], &mut first[1..half], &mut second[1..half]);
    }
}

#[inline(always)]
fn windowed_body<const FUSED: bool>(window: &[f32], first: &[f32], second: &[f32], spectrum: &mut [Complex<f32>]) {
    let samples = window.iter().zip(first.iter().zip(second));
    spectrum.iter_mut().zip(samples).for_each(|(z, (w, (a, b)))| *z = Complex::new(w * a, w * b));
}

forms! {
    /// Two frames under the window, as real and imaginary parts.
    fn windowed(window: &[f32], first: &[f32], second: &[f32], spectrum: &mut [Complex<f32>]) = windowed_body
}

#[inline(always)]
fn powers_body<const FUSED: bool>(
    below: &[Complex<f32>],
    above: &[Complex<f32>],
    first: &mut [f32],
    second: &mut [f32],
) {
    for ((first, second), (z, m)) in first.iter_mut().zip(second).zip(below.iter().zip(above.iter().rev())) {
        *first = 0.25 * ((z.re + m.re) * (z.re + m.re) + (z.im - m.im) * (z.im - m.im));
        *second = 0.25 * ((z.im + m.im) * (z.im + m.im) + (m.re - z.re) * (m.re - z.re));
    }
}

forms! {
    /// What is symmetric in a spectrum about its middle, and what is antisymmetric, squared.
    fn powers(below: &[Complex<f32>], above: &[Complex<f32>], first: &mut [f32], second: &mut [f32]) = powers_body
}

impl MelParams {
    /// Place of a frequency on the axis of bands: 0 in the middle of the lowest, 1 in the middle of the next.
    pub fn band_of_hz(&self, hz: f64) -> f64 {
        hz_to_mel(hz) / hz_to_mel(f64::from(self.sample_rate_hz) / 2.0) * (self.n_mels + 1) as f64 - 1.0
    }
}

impl fmt::Debug for MelSpectrogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MelSpectrogram").field("params", &self.params).finish_non_exhaustive()
    }
}

impl Band {
    fn apply(&self, power: &[f32]) -> f32 {
        dot(&self.weights, &power[self.first_bin..self.first_bin + self.weights.len()])
    }
}

fn slaney_bands(params: MelParams) -> Vec<Band> {
    let nyquist_hz = f64::from(params.sample_rate_hz) / 2.0;
    let top_mel = hz_to_mel(nyquist_hz);
    let edge_hz = |i: usize| mel_to_hz(top_mel * i as f64 / (params.n_mels + 1) as f64);
    let bin_hz = |k: usize| k as f64 * f64::from(params.sample_rate_hz) / params.n_fft as f64;
    (0..params.n_mels)
        .map(|band| {
            let (low, centre, high) = (edge_hz(band), edge_hz(band + 1), edge_hz(band + 2));
            // 2 / width makes the triangles equal in area instead of in height.
            let height = 2.0 / (high - low);
            let weight = |k: usize| {
                let rising = (bin_hz(k) - low) / (centre - low);
                let falling = (high - bin_hz(k)) / (high - centre);
                (height * rising.min(falling)) as f32
            };
            let bins = 0..=params.n_fft / 2;
            let first_bin = bins.clone().find(|&k| weight(k) > 0.0).unwrap_or(0);
            let weights = bins.skip(first_bin).map(weight).take_while(|&w| w > 0.0).collect();
            Band { first_bin, weights }
        })
        .collect()
}

/// Slaney's scale: linear up to 1 kHz (15 mel), logarithmic above, 27 mel per factor 6.4.
fn hz_to_mel(hz: f64) -> f64 {
    if hz < 1_000.0 { hz * 3.0 / 200.0 } else { 15.0 + (hz / 1_000.0).ln() * 27.0 / 6.4f64.ln() }
}

fn mel_to_hz(mel: f64) -> f64 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1_000.0 * ((mel - 15.0) * 6.4f64.ln() / 27.0).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: MelParams = MelParams { sample_rate_hz: 22_050, n_fft: 2_048, hop_length: 1_024, n_mels: 96 };

    #[test]
    fn the_mel_scale_and_its_inverse_cancel() {
        for hz in [0.0, 60.0, 999.0, 1_000.0, 4_321.0, 11_025.0] {
            assert!((mel_to_hz(hz_to_mel(hz)) - hz).abs() < 1e-9);
        }
    }

    #[test]
    fn frames_that_share_a_transform_do_not_hear_each_other() {
        let mel = MelSpectrogram::new(PARAMS).unwrap();
        // In the middle of the second frame, at the edges of the first and the third, behind the others.
        let mut clip = vec![0.0; 5 * 1_024];
        clip[1_024 - 100..1_024 + 100].fill(1.0);
        let power = mel.power(&clip).unwrap().values;
        let loudness = |frame: usize| power[frame * 96..][..96].iter().copied().fold(0.0, f32::max);
        assert!(loudness(1) > 1.0);
        assert!(loudness(0) < loudness(1) && loudness(2) > 0.0);
        assert!(loudness(3) < 1e-12 * loudness(1), "silent, though it shares a transform with the one before");
        assert!([4, 5].iter().all(|&frame| loudness(frame) == 0.0));
        // The same signal one frame later has the same rows, though each frame has another neighbour.
        let mut later = vec![0.0; 1_024];
        later.extend_from_slice(&clip);
        let shifted = mel.power(&later).unwrap().values;
        let peak = power.iter().copied().fold(0.0, f32::max);
        assert!(power.iter().zip(&shifted[96..]).all(|(a, b)| (a - b).abs() < 1e-6 * peak));
    }

    #[test]
    fn a_tone_is_loudest_in_the_band_around_it() {
        let mel = MelSpectrogram::new(PARAMS).unwrap();
        let tone: Vec<f32> = (0..22_050).map(|i| (TAU * 1_000.0 * f64::from(i) / 22_050.0).sin() as f32).collect();
        let power = mel.power(&tone).unwrap();
        let frame = &power.values[10 * 96..11 * 96];
        let loudest = (0..96).max_by(|&a, &b| frame[a].total_cmp(&frame[b])).unwrap();
        // 1 kHz is 15 mel, band centres lie at (i + 1) * top / 97.
        let expected = 15.0 / hz_to_mel(11_025.0) * 97.0 - 1.0;
        assert!((PARAMS.band_of_hz(1_000.0) - expected).abs() < 1e-9);
        assert!((loudest as f64 - expected).abs() <= 1.0, "band {loudest}, expected {expected}");
    }

    #[test]
    fn parameters_without_a_usable_filter_bank_are_refused() {
        let bad = [
            MelParams { sample_rate_hz: 0, ..PARAMS },
            MelParams { n_fft: 0, ..PARAMS },
            MelParams { n_fft: 2_047, ..PARAMS },
            MelParams { hop_length: 0, ..PARAMS },
            MelParams { n_mels: 0, ..PARAMS },
            MelParams { n_mels: 1_000, ..PARAMS },
        ];
        for params in bad {
            assert!(matches!(MelSpectrogram::new(params), Err(SignalError::InvalidParameter { .. })), "{params:?}");
        }
    }
}
