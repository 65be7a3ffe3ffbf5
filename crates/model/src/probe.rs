//! Fixed questions whose answers travel with a checkpoint: a wrong build, a broken kernel or another processor's
//! rounding shows before the first post does.

use std::collections::BTreeMap;

use crate::checkpoint::Checkpoint;
use crate::device::DeviceChoice;
use crate::error::ModelError;
use crate::inference::{AudioNetwork, FusionNetwork, ImageNetwork, TextNetwork};
use crate::manifest::Probe;
use crate::modality::ModalitySet;
use crate::placement::Placement;
use crate::text::TextFrontEnd;
use crate::vectors::Rgb224;
use crate::vectors::{AudioInput, FusionInput, FusionOutput, SEGMENT_BINS, SEGMENT_FRAMES};

/// Least cosine between a recomputed vector and the recorded one.
const LEAST_COSINE: f32 = 0.999;
/// Largest difference of a calibrated probability.
const LARGEST_DIFFERENCE: f32 = 0.02;

/// How close this machine comes to the recorded answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParityReport {
    /// Cosine of the text vectors.
    pub text_cosine: f32,
    /// Cosine of the audio vectors.
    pub audio_cosine: f32,
    /// Cosine of the image vectors.
    pub image_cosine: f32,
    /// Largest difference of a probability over all subsets of modalities.
    pub probability_difference: f32,
}

/// Recomputes the checkpoint's probe where it would serve. [`ModelError::Parity`] when a vector's cosine is
/// under 0.999, a probability is off by more than 0.02, or the checkpoint has no probe. Takes about a second.
pub fn parity_probe(checkpoint: &Checkpoint, placement: impl Into<Placement>) -> Result<ParityReport, ModelError> {
    let placement = placement.into();
    let Some(recorded) = &checkpoint.manifest().probe else {
        return Err(ModelError::Parity("the manifest records none".to_owned()));
    };
    let text = TextNetwork::from_checkpoint(checkpoint, placement)?;
    let image = ImageNetwork::from_checkpoint(checkpoint, placement)?;
    let found = answers(checkpoint, placement, &text, &image)?;
    let difference = |recorded: &BTreeMap<String, f32>, found: &BTreeMap<String, f32>| {
        let of = |(subset, probability): (&String, &f32)| match recorded.get(subset) {
            Some(expected) => (expected - probability).abs(),
            None => f32::INFINITY,
        };
        found.iter().map(of).fold(0.0, f32::max)
    };
    let polarity = difference(&recorded.probability, &found.probability);
    let report = ParityReport {
        text_cosine: cosine(&recorded.text, &found.text),
        audio_cosine: cosine(&recorded.audio, &found.audio),
        image_cosine: cosine(&recorded.image, &found.image),
        probability_difference: polarity.max(difference(&recorded.neutral, &found.neutral)),
    };
    let least = report.text_cosine.min(report.audio_cosine).min(report.image_cosine);
    // Written so that a NaN fails.
    if !(least >= LEAST_COSINE && report.probability_difference <= LARGEST_DIFFERENCE) {
        return Err(ModelError::Parity(format!("{report:?} on device {}", placement.device)));
    }
    Ok(report)
}

/// The probe's answers in f32 on the CPU, for [`Manifest::probe`](crate::Manifest::probe).
pub fn record_probe(checkpoint: &Checkpoint) -> Result<Probe, ModelError> {
    let text = TextNetwork::from_checkpoint_f32(checkpoint, DeviceChoice::Cpu)?;
    let image = ImageNetwork::from_checkpoint_f32(checkpoint, DeviceChoice::Cpu)?;
    answers(checkpoint, DeviceChoice::Cpu.into(), &text, &image)
}

fn answers(
    checkpoint: &Checkpoint,
    placement: Placement,
    text_network: &TextNetwork,
    image: &ImageNetwork,
) -> Result<Probe, ModelError> {
    let parts = [
        ("body", "We didn't want to leave the harbour, the evening was warm and everyone kept singing 🎶"),
        ("caption", "sooo good #SummerNight"),
    ];
    let text = TextFrontEnd::of_checkpoint(checkpoint)?
        .input(&parts)?
        .ok_or_else(|| ModelError::Parity("the probe's text has no words".to_owned()))?;
    let text = text_network.encode(&[text])?.swap_remove(0).encoded.vector;
    let audio = AudioNetwork::from_checkpoint(checkpoint, placement)?.encode(&[clip()?])?.swap_remove(0).vector;
    let image = image.encode(&[picture()?])?.swap_remove(0).vector;

    let all = FusionInput { text: Some(text.clone()), audio: Some(audio.clone()), image: Some(image.clone()) };
    let subsets: Vec<ModalitySet> = ModalitySet::all_non_empty().collect();
    let posts: Vec<FusionInput> = subsets.iter().map(|&subset| all.masked(subset)).collect();
    let fused = FusionNetwork::from_checkpoint(checkpoint, placement)?.fuse(&posts)?;
    let named = |of: fn(&FusionOutput) -> f32| -> BTreeMap<String, f32> {
        subsets.iter().zip(&fused).map(|(subset, output)| (subset.to_string(), of(output))).collect()
    };
    let probability = named(|output| output.probability);
    let neutral = named(|output| output.judgement.probabilities[1]);
    Ok(Probe { text, audio, image, probability, neutral })
}

/// Levels of a chord that wanders and fades, 1.4 segments, and samples of a sawtooth that fades.
fn clip() -> Result<AudioInput, ModelError> {
    let frames = SEGMENT_FRAMES + 86;
    let mut levels = Vec::with_capacity(frames * SEGMENT_BINS);
    for frame in 0..frames {
        let centre = 40.0 + 20.0 * (frame as f32 * 0.05).sin();
        for bin in 0..SEGMENT_BINS {
            let distance = ((bin as f32 - centre).abs() % 12.0).min(12.0 - (bin as f32 - centre).abs() % 12.0);
            levels.push((-6.0 * distance - 0.05 * frame as f32).clamp(-80.0, 0.0));
        }
    }
    let samples: Vec<f32> =
        (0..frames * 1_024).map(|at| ((at * 331 % 22_050) as f32 / 22_050.0 - 0.5) / (1.0 + at as f32 / 1e5)).collect();
    AudioInput::from_sound(&samples, &levels)
}

/// Rings over a slope, each channel at its own pitch.
fn picture() -> Result<Rgb224, ModelError> {
    let mut pixels = Vec::with_capacity(Rgb224::BYTES);
    for y in 0..224 {
        for x in 0..224 {
            let radius = ((x as f32 - 90.0).powi(2) + (y as f32 - 120.0).powi(2)).sqrt();
            for pitch in [0.11, 0.17, 0.29] {
                pixels.push((128.0 + 90.0 * (radius * pitch).sin() + 0.15 * (x as f32 - y as f32)) as u8);
            }
        }
    }
    Rgb224::new(pixels)
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let (aa, bb) = (dot(a, a), dot(b, b));
    match (a.len() == b.len(), aa, bb) {
        (false, ..) => 0.0,
        // A dead vector is reproduced by a dead vector only.
        (true, 0.0, 0.0) => 1.0,
        _ => dot(a, b) / (aa.sqrt() * bb.sqrt()).max(f32::MIN_POSITIVE),
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
