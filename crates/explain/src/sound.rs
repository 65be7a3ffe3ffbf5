//! The clip of a post as the network heard it: its spectrogram, and the sound itself.

use std::io::Cursor;

use hound::{SampleFormat, WavSpec, WavWriter};
use jtav_picture::{FrequencyTick, MarkedSpan, SpectrogramPlot, spectrogram, spectrogram_strip};
use jtav_signal::constants::{BINS, BINS_PER_OCTAVE, F_MIN_HZ, FLOOR_DB, HOP_LENGTH, SAMPLE_RATE_HZ};
use jtav_signal::{CqtFrontEnd, Spectrogram};

use crate::error::ExplainError;
use crate::explanation::Second;

/// Seconds from one frame to the next.
const FRAME_SECONDS: f64 = HOP_LENGTH as f64 / SAMPLE_RATE_HZ as f64;

/// Draws spectrograms as the audio encoder reads them. Its kernels take some time to make: one serves a whole process.
pub struct SpectrogramDrawer {
    front_end: CqtFrontEnd,
}

impl Default for SpectrogramDrawer {
    fn default() -> Self {
        Self::new()
    }
}

impl SpectrogramDrawer {
    /// Makes the kernels.
    pub fn new() -> Self {
        Self { front_end: CqtFrontEnd::new() }
    }

    /// Levels of a mono clip of 22,050 Hz, `[frames, 96]`, dB below its loudest, lowest frequency first.
    ///
    /// # Errors
    /// No samples, or one that is no number.
    pub fn levels(&self, samples: &[f32]) -> Result<Spectrogram, ExplainError> {
        Ok(self.front_end.decibels(samples)?)
    }

    /// Draws a mono clip of 22,050 Hz without axes, from its first second at the left edge to its last at the right.
    ///
    /// # Errors
    /// No samples, or one that is no number.
    pub fn strip(&self, samples: &[f32]) -> Result<Vec<u8>, ExplainError> {
        let Spectrogram { values, bins, .. } = self.levels(samples)?;
        Ok(spectrogram_strip(&values, bins, (FLOOR_DB, 0.0))?)
    }

    /// Draws a mono clip of 22,050 Hz, and a frame around each of `seconds`. Time grows with the clip's length, which is the
    /// decoder's to bound.
    ///
    /// # Errors
    /// No samples, or one that is no number.
    pub fn png(&self, samples: &[f32], title: &str, seconds: &[Second]) -> Result<Vec<u8>, ExplainError> {
        let Spectrogram { values, bins, .. } = self.levels(samples)?;
        let marked = |second: &Second| MarkedSpan {
            from_seconds: f64::from(second.start_seconds),
            to_seconds: f64::from(second.end_seconds),
            weight: second.weight,
        };
        let hz = |bin: usize| F_MIN_HZ * 2_f64.powf(bin as f64 / BINS_PER_OCTAVE as f64);
        let tick = |bin: usize| FrequencyTick { bin: bin as f64, label: format!("{:.0}", hz(bin)) };
        Ok(spectrogram(&SpectrogramPlot {
            title,
            values: &values,
            bins,
            frame_seconds: FRAME_SECONDS,
            range: (FLOOR_DB, 0.0),
            unit: "dB",
            ticks: &(0..BINS).step_by(BINS_PER_OCTAVE).map(tick).collect::<Vec<_>>(),
            axis: "frequency in Hz",
            attention_per_second: &[],
            marked: &seconds.iter().map(marked).collect::<Vec<_>>(),
        })?)
    }
}

/// A mono clip as a WAV file of 16 bits. Samples beyond -1 to 1 are cut there; what is no number is silence.
///
/// # Errors
/// More samples than a WAV file can hold (2³¹).
pub fn wav(samples: &[f32], sample_rate_hz: u32) -> Result<Vec<u8>, ExplainError> {
    let spec =
        WavSpec { channels: 1, sample_rate: sample_rate_hz, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut bytes = Cursor::new(Vec::with_capacity(2 * samples.len() + 64));
    let mut writer = WavWriter::new(&mut bytes, spec)?;
    for sample in samples {
        writer.write_sample((sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16)?;
    }
    writer.finalize()?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(seconds: f32) -> Vec<f32> {
        (0..(22_050.0 * seconds) as usize).map(|at| (at as f32 * 0.125).sin() * 0.5).collect()
    }

    #[test]
    fn a_wav_file_reads_back_as_what_was_heard() {
        let samples = [0.0, 0.5, -1.0, 7.0, f32::NAN];
        let bytes = wav(&samples, 22_050).unwrap();
        let mut reader = hound::WavReader::new(bytes.as_slice()).unwrap();
        assert_eq!((reader.spec().channels, reader.spec().sample_rate), (1, 22_050));
        let read: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
        assert_eq!(read, [0, 16_384, -32_767, 32_767, 0]);
        assert_eq!(bytes.len(), 44 + 10);
    }

    #[test]
    fn a_clip_is_drawn_with_its_seconds_marked_and_none_without_samples() {
        let drawer = SpectrogramDrawer::new();
        let second = Second { start_seconds: 0.5, end_seconds: 1.0, weight: 0.4, fragment: String::new() };
        let marked = drawer.png(&tone(2.0), "a tone", std::slice::from_ref(&second)).unwrap();
        assert_ne!(marked, drawer.png(&tone(2.0), "a tone", &[]).unwrap());
        let beyond = Second { start_seconds: 1e9, end_seconds: f32::MAX, ..second };
        assert!(drawer.png(&tone(0.1), "a tone", &[beyond]).is_ok());
        assert!(drawer.png(&[], "nothing", &[]).is_err());
        assert!(drawer.png(&[f32::NAN], "no number", &[]).is_err());
    }
}
