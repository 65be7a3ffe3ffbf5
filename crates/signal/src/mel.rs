//! Mel spectrogram with the conventions of `librosa.feature.melspectrogram` 0.11: periodic Hann
//! window, frames centred on multiples of the hop with zeros outside the clip, power |X|², and
//! triangular bands on Slaney's mel scale (Auditory Toolbox, 1998) normalised to equal area.

use std::f64::consts::TAU;
use std::fmt;
use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};

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
    fft: Arc<dyn RealToComplex<f32>>,
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
        let bands = slaney_bands(params);
        if let Some(band) = bands.iter().position(|band| band.weights.is_empty()) {
            return Err(SignalError::invalid("n_mels", format!("band {band} of {n_mels} contains no FFT bin")));
        }
        let hann = |i| (0.5 - 0.5 * (TAU * i as f64 / n_fft as f64).cos()) as f32;
        Ok(Self {
            params,
            fft: RealFftPlanner::new().plan_fft_forward(n_fft),
            window: (0..n_fft).map(hann).collect(),
            bands,
        })
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
        let mut windowed = self.fft.make_input_vec();
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut power = vec![0.0; spectrum.len()];
        let mut values = Vec::with_capacity(frames * n_mels);
        for frame in 0..frames {
            let start = (frame * hop_length) as isize - (n_fft / 2) as isize;
            copy_zero_padded(samples, start, &mut windowed);
            windowed.iter_mut().zip(&self.window).for_each(|(x, w)| *x *= w);
            self.fft.process_with_scratch(&mut windowed, &mut spectrum, &mut scratch)?;
            power.iter_mut().zip(&spectrum).for_each(|(p, x)| *p = x.norm_sqr());
            values.extend(self.bands.iter().map(|band| band.apply(&power)));
        }
        Ok(Spectrogram { frames, bins: n_mels, values })
    }
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
        self.weights.iter().zip(&power[self.first_bin..]).map(|(w, p)| w * p).sum()
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
