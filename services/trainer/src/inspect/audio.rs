//! A clip: decoded facts, spectrogram, attention per second.

use jtav_media_codecs::{DecodeLimits, MediaFacts, SoundEnd, SoundFacts};
use jtav_model::{AudioInput, AudioNetwork};
use jtav_picture::{FrequencyTick, SpectrogramPlot, spectrogram};
use jtav_schemas::{AbsentReason, Decoded, Modality};
use jtav_signal::constants::{
    BINS, BINS_PER_OCTAVE, F_MIN_HZ, FLOOR_DB, HOP_LENGTH, MFCC_COEFFICIENTS, N_FFT, SAMPLE_RATE_HZ,
};
use jtav_signal::{CqtFrontEnd, MelParams, MelSpectrogram, Mfcc, Spectrogram, power_to_db};
use serde_json::{Value, json};

use super::{InspectError, decoded};
use crate::npy::npy_f32;

/// The mel spectrogram of docs/networks.md, "Audio".
pub const MEL: MelParams =
    MelParams { sample_rate_hz: SAMPLE_RATE_HZ, n_fft: N_FFT, hop_length: HOP_LENGTH, n_mels: BINS };

/// What is computed of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AudioFeatures {
    /// Constant-Q in dB, what the audio encoder reads: 96 bins from 32.7 Hz, 12 an octave.
    #[default]
    ConstantQ,
    /// Mel in dB: 96 bands up to 11,025 Hz. For comparison; the encoder was not trained on it.
    Mel,
    /// 20 mel-frequency cepstral coefficients, the paper's weakest baseline.
    Mfcc,
}

impl AudioFeatures {
    /// `cqt`, `mel` or `mfcc`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConstantQ => "cqt",
            Self::Mel => "mel",
            Self::Mfcc => "mfcc",
        }
    }
}

/// What became of a clip.
#[derive(Debug, Clone)]
pub struct AudioInspection {
    /// What the file is.
    pub facts: SoundFacts,
    /// Seconds that were analysed, at 22,050 Hz.
    pub seconds: f64,
    pub features: AudioFeatures,
    /// `[frames, bins]` of the whole clip, before it is cut and standardised; dB relative to the loudest value (MFCC:
    /// as they are).
    pub spectrogram: Spectrogram,
    /// Share of the attention that each second got, rounded up to whole seconds; sums to 1. Empty without a network
    /// and for features it does not read.
    pub attention_per_second: Vec<f32>,
}

/// Decodes a clip, transforms it, and asks `network` where it listened if the features are those it reads.
///
/// # Errors
/// A clip that the worker would leave out, too; a device fault.
pub fn inspect_audio(
    bytes: &[u8],
    limits: &DecodeLimits,
    features: AudioFeatures,
    network: Option<&AudioNetwork>,
) -> Result<AudioInspection, InspectError> {
    let (Decoded::Audio(pcm), MediaFacts::Sound(facts)) = decoded(bytes, Modality::Audio, limits)? else {
        return Err(InspectError::Absent { reason: AbsentReason::TypeMismatch });
    };
    let spectrogram = match features {
        AudioFeatures::ConstantQ => CqtFrontEnd::new().decibels(&pcm.samples)?,
        AudioFeatures::Mel => power_to_db(&MelSpectrogram::new(MEL)?.power(&pcm.samples)?),
        AudioFeatures::Mfcc => Mfcc::standard()?.coefficients(&pcm.samples)?,
    };
    let attention_per_second = match network {
        Some(network) if features == AudioFeatures::ConstantQ => attention(network, &pcm.samples, &spectrogram)?,
        _ => Vec::new(),
    };
    let seconds = pcm.samples.len() as f64 / f64::from(pcm.sample_rate_hz);
    Ok(AudioInspection { facts, seconds, features, spectrogram, attention_per_second })
}

/// Seconds from one frame to the next.
const FRAME_SECONDS: f64 = HOP_LENGTH as f64 / SAMPLE_RATE_HZ as f64;

fn attention(network: &AudioNetwork, samples: &[f32], spectrogram: &Spectrogram) -> Result<Vec<f32>, InspectError> {
    let encoded = network.encode(&[AudioInput::from_sound(samples, &spectrogram.values)?])?;
    let per_step = encoded.first().map_or(&[][..], |clip| clip.attention.as_slice());
    let mut seconds = AudioNetwork::attention_by_second(per_step);
    // The last segment is padded to ten seconds, which get no attention.
    let clip = (spectrogram.frames as f64 * FRAME_SECONDS).ceil() as usize;
    seconds.truncate(clip.max(1));
    Ok(seconds)
}

impl AudioInspection {
    /// The spectrogram as an `.npy` file: f32 `[frames, bins]`.
    pub fn npy(&self) -> Option<Vec<u8>> {
        npy_f32(&[self.spectrogram.frames, self.spectrogram.bins], &self.spectrogram.values)
    }

    /// A picture of the spectrogram under the attention.
    ///
    /// # Errors
    /// Those of the drawing.
    pub fn picture(&self, name: &str) -> Result<Vec<u8>, InspectError> {
        let Spectrogram { frames, bins, values } = &self.spectrogram;
        let (what, axis, unit) = match self.features {
            AudioFeatures::ConstantQ => ("constant-Q", "frequency in Hz", "dB"),
            AudioFeatures::Mel => ("mel", "frequency in Hz", "dB"),
            AudioFeatures::Mfcc => ("MFCC", "coefficient", ""),
        };
        let range = match self.features {
            AudioFeatures::Mfcc => span(values),
            _ => (FLOOR_DB, 0.0),
        };
        Ok(spectrogram(&SpectrogramPlot {
            title: &format!("{name}: {what}, {frames} frames × {bins} bins, {:.2} s", self.seconds),
            values,
            bins: *bins,
            frame_seconds: FRAME_SECONDS,
            range,
            unit,
            ticks: &ticks(self.features),
            axis,
            attention_per_second: &self.attention_per_second,
            marked: &[],
        })?)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let facts = &self.facts;
        json!({
            "modality": "audio",
            "container": facts.container,
            "codec": facts.codec,
            "sample_rate_hz": facts.sample_rate_hz,
            "channels": facts.channels,
            "stated_seconds": facts.stated_seconds,
            "decoded_seconds": facts.decoded_seconds,
            "analysed_seconds": self.seconds,
            "partial": facts.is_partial(),
            "end": end(facts.end),
            "skipped_packets": facts.skipped_packets,
            "features": self.features.name(),
            "frames": self.spectrogram.frames,
            "bins": self.spectrogram.bins,
            "frame_seconds": FRAME_SECONDS,
            "attention_per_second": self.attention_per_second,
        })
    }

    /// For a person.
    pub fn text(&self) -> String {
        let SoundFacts { container, codec, sample_rate_hz, channels, decoded_seconds, .. } = &self.facts;
        let partial = match (self.facts.is_partial(), self.facts.end, self.facts.skipped_packets) {
            (false, ..) => "whole".to_owned(),
            (true, SoundEnd::AnalysedLength, _) => {
                "partial: the rest is beyond media.analysed_audio_seconds".to_owned()
            }
            (true, SoundEnd::BrokeOff, _) => "partial: the file breaks off".to_owned(),
            (true, SoundEnd::Whole, 0) => "partial: the file is shorter than its header says".to_owned(),
            (true, SoundEnd::Whole, skipped) => format!("partial: {skipped} packets could not be decoded"),
        };
        let stated = self.facts.stated_seconds.map_or_else(String::new, |seconds| format!(" of {seconds:.2} s stated"));
        let mut text = format!(
            "file       {container}, codec {codec}, {sample_rate_hz} Hz, {channels} channel(s)\n\
             decoded    {decoded_seconds:.2} s{stated} ({partial})\n\
             encoder    {:.2} s at {SAMPLE_RATE_HZ} Hz mono, {} {} frames of {} bins\n",
            self.seconds,
            self.features.name(),
            self.spectrogram.frames,
            self.spectrogram.bins
        );
        if !self.attention_per_second.is_empty() {
            text.push_str("attention  share of each second\n");
            let most = self.attention_per_second.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
            for (second, share) in self.attention_per_second.iter().enumerate() {
                let bar = "#".repeat((share / most * 40.0).round() as usize);
                text.push_str(format!("  {second:>3} s  {share:.3}  {bar}").trim_end());
                text.push('\n');
            }
        }
        text
    }
}

fn end(end: SoundEnd) -> &'static str {
    match end {
        SoundEnd::Whole => "whole",
        SoundEnd::AnalysedLength => "analysed_length",
        SoundEnd::BrokeOff => "broke_off",
    }
}

/// Lowest and highest value, not the same.
fn span(values: &[f32]) -> (f32, f32) {
    let (low, high) =
        values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)));
    (low, high.max(low + 1.0))
}

/// Names on the frequency axis.
fn ticks(features: AudioFeatures) -> Vec<FrequencyTick> {
    let at = |bin: f64, hz: f64| FrequencyTick { bin, label: format!("{hz:.0}") };
    match features {
        AudioFeatures::ConstantQ => {
            let bins = (0..BINS).step_by(BINS_PER_OCTAVE);
            bins.map(|bin| at(bin as f64, F_MIN_HZ * 2_f64.powf(bin as f64 / BINS_PER_OCTAVE as f64))).collect()
        }
        AudioFeatures::Mel => {
            let named = [250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0];
            named.into_iter().map(|hz| at(MEL.band_of_hz(hz), hz)).collect()
        }
        AudioFeatures::Mfcc => (0..MFCC_COEFFICIENTS).step_by(4).map(|k| at(k as f64, k as f64)).collect(),
    }
}
