//! Mel-frequency cepstral coefficients (Davis & Mermelstein, IEEE TASSP 1980) with the conventions of
//! `librosa.feature.mfcc` 0.11: decibels of the mel power, no lower than 80 dB under the loudest value of the clip, then
//! the first terms of an orthonormal cosine transform (DCT-II) over the bands.

use std::f64::consts::PI;

use jtav_simd::dot;

use crate::SignalError;
use crate::constants::{FLOOR_DB, HOP_LENGTH, MFCC_COEFFICIENTS, MFCC_MELS, N_FFT, SAMPLE_RATE_HZ};
use crate::mel::{MelParams, MelSpectrogram};
use crate::spectrogram::{POWER_FLOOR, Spectrogram};

/// Filter bank and cosine table for one parameter set.
#[derive(Debug)]
pub struct Mfcc {
    mel: MelSpectrogram,
    /// `[coefficients, n_mels]`.
    cosines: Vec<f32>,
    coefficients: usize,
}

impl Mfcc {
    /// The first `coefficients` of the cosine transform over the bands of `mel`.
    ///
    /// # Errors
    /// [`SignalError::InvalidParameter`]: more coefficients than bands or none; those of [`MelSpectrogram::new`].
    pub fn new(mel: MelParams, coefficients: usize) -> Result<Self, SignalError> {
        let bands = mel.n_mels;
        if coefficients == 0 || coefficients > bands {
            return Err(SignalError::invalid("coefficients", format!("{coefficients} is not in 1..={bands}")));
        }
        MelSpectrogram::new(mel).map(|mel| Self::build(mel, bands, coefficients))
    }

    /// [`Self::new`] for sizes that are known to be valid.
    pub(crate) fn build(mel: MelSpectrogram, bands: usize, coefficients: usize) -> Self {
        let cosine = |k: usize, band: usize| {
            let scale = if k == 0 { (1.0 / bands as f64).sqrt() } else { (2.0 / bands as f64).sqrt() };
            (scale * (PI * k as f64 * (2 * band + 1) as f64 / (2 * bands) as f64).cos()) as f32
        };
        let cosines = (0..coefficients).flat_map(|k| (0..bands).map(move |band| cosine(k, band))).collect();
        Self { mel, cosines, coefficients }
    }

    /// librosa's defaults at the sample rate and hop of [`crate::constants`]: 20 coefficients over 128 bands.
    ///
    /// # Errors
    /// Never with the constants as they are.
    pub fn standard() -> Result<Self, SignalError> {
        let mel = MelParams { sample_rate_hz: SAMPLE_RATE_HZ, n_fft: N_FFT, hop_length: HOP_LENGTH, n_mels: MFCC_MELS };
        Self::new(mel, MFCC_COEFFICIENTS)
    }

    /// Coefficients of a whole clip, `[1 + samples / hop_length, coefficients]`. Unlike the spectrograms in decibels
    /// they do depend on the level of the clip: the first coefficient is loudness.
    ///
    /// # Errors
    /// [`SignalError::EmptyClip`], [`SignalError::BadSample`].
    pub fn coefficients(&self, samples: &[f32]) -> Result<Spectrogram, SignalError> {
        let Spectrogram { frames, bins, values: power } = self.mel.power(samples)?;
        let mut decibels = power;
        decibels.iter_mut().for_each(|value| *value = 10.0 * value.max(POWER_FLOOR).log10());
        let floor = decibels.iter().copied().fold(f32::NEG_INFINITY, f32::max) + FLOOR_DB;
        let mut values = Vec::with_capacity(frames * self.coefficients);
        for frame in decibels.chunks_exact_mut(bins) {
            frame.iter_mut().for_each(|level| *level = level.max(floor));
            values.extend(self.cosines.chunks_exact(bins).map(|row| dot(row, frame)));
        }
        Ok(Spectrogram { frames, bins: self.coefficients, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_the_cosine_table_are_orthonormal() {
        let mfcc = Mfcc::standard().unwrap();
        let rows: Vec<&[f32]> = mfcc.cosines.chunks(MFCC_MELS).collect();
        assert_eq!(rows.len(), MFCC_COEFFICIENTS);
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate() {
                let product: f32 = a.iter().zip(*b).map(|(x, y)| x * y).sum();
                assert!((product - f32::from(u8::from(i == j))).abs() < 1e-5, "{i} {j} {product}");
            }
        }
    }

    #[test]
    fn silence_has_loudness_and_nothing_else() {
        let found = Mfcc::standard().unwrap().coefficients(&[0.0; 3_000]).unwrap();
        assert_eq!((found.frames, found.bins), (3, 20));
        for frame in found.values.chunks(20) {
            assert!((frame[0] + 100.0 * 128.0_f32.sqrt()).abs() < 1e-2, "{}", frame[0]);
            assert!(frame[1..].iter().all(|value| value.abs() < 1e-2));
        }
    }

    #[test]
    fn more_coefficients_than_bands_are_refused() {
        let mel = MelParams { sample_rate_hz: 22_050, n_fft: 2_048, hop_length: 1_024, n_mels: 40 };
        for coefficients in [0, 41] {
            let refused = Mfcc::new(mel, coefficients);
            assert!(matches!(refused, Err(SignalError::InvalidParameter { name: "coefficients", .. })));
        }
        assert!(Mfcc::new(mel, 40).is_ok());
    }
}
