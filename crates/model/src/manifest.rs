//! The manifest of a checkpoint: everything about the networks that is not a weight.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::modality::ModalitySet;
use crate::vectors::SEGMENT_BINS;

/// Version of the folder's layout: 2 since the text network has a bag of n-grams.
pub(crate) const FORMAT: u32 = 2;

/// `manifest.json`. Unknown fields are refused: a field that an older program does not know may matter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the layout, 2.
    pub format: u32,
    /// Architecture: `modern`.
    pub profile: String,
    /// Sizes of the architecture.
    pub dimensions: Dimensions,
    /// Names of class 0 and class 1.
    pub labels: [String; 2],
    /// Names of the mood quadrants, in the order of the mood head.
    pub moods: Vec<String>,
    /// Temperatures and thresholds.
    pub calibration: Calibration,
    /// Statistics that the audio network's input is standardised with.
    pub standardisation: Standardisation,
    /// Seconds from the start of a clip that the networks were trained on at most, and that they are to be given: what
    /// serves, labels or evaluates reads it here.
    #[serde(default = "before_it_was_written")]
    pub max_audio_seconds: u32,
    /// Whatever the trainer measured, for the model card and for `inspect`.
    pub metrics: serde_json::Value,
    /// SHA-256 of the data that the weights come from, by name.
    pub data: BTreeMap<String, String>,
    /// Seed of the training run.
    pub seed: u64,
    /// SHA-256 of each other file in the folder, by name. Filled when the checkpoint is written.
    pub files: BTreeMap<String, String>,
    /// What the networks answered to fixed inputs when the checkpoint was written. Filled when it is written.
    pub probe: Option<Probe>,
}

/// A folder of format 2 without `max_audio_seconds`: until the field came, every training cut clips at a minute.
pub fn before_it_was_written() -> u32 {
    60
}

impl Manifest {
    /// A manifest of the profile `modern` with the usual names, no metrics and no data; fill in the rest.
    pub fn modern(
        dimensions: Dimensions,
        standardisation: Standardisation,
        max_audio_seconds: u32,
        calibration: Calibration,
        seed: u64,
    ) -> Self {
        Self {
            format: FORMAT,
            profile: "modern".to_owned(),
            dimensions,
            labels: ["negative".to_owned(), "positive".to_owned()],
            moods: ["Q1", "Q2", "Q3", "Q4"].map(str::to_owned).to_vec(),
            calibration,
            standardisation,
            max_audio_seconds,
            metrics: serde_json::Value::Null,
            data: BTreeMap::new(),
            seed,
            files: BTreeMap::new(),
            probe: None,
        }
    }

    /// Reads `manifest.json`. The format is looked at first: another one has other fields, and the first of them that
    /// is missing would say nothing.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
        }
        let Header { format } = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        match format {
            FORMAT => {}
            1 => {
                return Err(format!(
                    "format 1 has no bag of n-grams, this version reads format {FORMAT}; train again, the audio and \
                     image networks can be kept: jtav train --keep-media FOLDER"
                ));
            }
            _ => return Err(format!("format {format} is not {FORMAT}; use the version of jtav that wrote it")),
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks what types cannot.
    fn check(&self) -> Result<(), String> {
        if self.profile != "modern" {
            return Err(format!("profile `{}` is unknown, this version builds `modern`", self.profile));
        }
        if self.moods.len() as i64 != self.dimensions.moods {
            return Err(format!("{} moods for a head of {}", self.moods.len(), self.dimensions.moods));
        }
        if self.max_audio_seconds == 0 {
            return Err("max_audio_seconds is 0, nothing of a clip would be heard".to_owned());
        }
        self.dimensions.check()?;
        self.calibration.check()?;
        self.standardisation.check().map_err(|e| e.to_string())
    }
}

/// Sizes of the networks. The defaults of [`modern`](Self::modern) are in docs/networks.md,
/// "Profiles".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dimensions {
    /// Rows of the embedding table (words and buckets).
    pub embedding_rows: i64,
    /// Width of a word vector.
    pub embedding: i64,
    /// Units per direction of the text BiGRU.
    pub text_hidden: i64,
    /// Rows of the tables that the hashed n-grams share.
    pub ngram_buckets: i64,
    /// Channels of the audio stem; the other audio widths follow from it.
    pub audio_channels: i64,
    /// Units per direction of the audio BiGRU.
    pub audio_hidden: i64,
    /// Mood classes.
    pub moods: i64,
    /// Side in pixels to which pictures are scaled before the backbone; a multiple of 32, at most 224.
    pub image_resolution: i64,
    /// Width of each modality's vector.
    pub vector: i64,
    /// Attention width `k` of CMF-AP.
    pub fusion_attention: i64,
    /// Reduced width `r` of CMF-AP; `u` has `6 r` values.
    pub fusion_reduced: i64,
}

impl Dimensions {
    /// The profile `modern` with an embedding table of this many rows.
    pub fn modern(embedding_rows: usize) -> Self {
        Self {
            embedding_rows: embedding_rows as i64,
            embedding: 128,
            text_hidden: 64,
            ngram_buckets: 1 << 18,
            audio_channels: 64,
            audio_hidden: 128,
            moods: 4,
            image_resolution: 224,
            vector: 100,
            // The paper leaves it open, the authors take 100; the cost of a post's fusion grows with it.
            fusion_attention: 32,
            fusion_reduced: 100,
        }
    }

    /// Bounds that keep a hostile manifest from asking for terabytes.
    fn check(&self) -> Result<(), String> {
        let sizes = [
            ("embedding_rows", self.embedding_rows, 10_000_000),
            ("embedding", self.embedding, 4096),
            ("text_hidden", self.text_hidden, 4096),
            ("ngram_buckets", self.ngram_buckets, 1 << 24),
            ("audio_channels", self.audio_channels, 1024),
            ("audio_hidden", self.audio_hidden, 4096),
            ("moods", self.moods, 1024),
            ("vector", self.vector, 4096),
            ("fusion_attention", self.fusion_attention, 4096),
            ("fusion_reduced", self.fusion_reduced, 4096),
        ];
        for (name, size, most) in sizes {
            if !(1..=most).contains(&size) {
                return Err(format!("dimensions.{name} is {size}, expected 1 to {most}"));
            }
        }
        // Two values of the text vector belong to the bag of n-grams.
        if self.vector < 3 {
            return Err(format!("dimensions.vector is {}, expected 3 or more", self.vector));
        }
        if self.audio_channels % 2 != 0 {
            return Err("dimensions.audio_channels must be even".to_owned());
        }
        check_resolution(self.image_resolution).map_err(|reason| format!("dimensions.image_resolution {reason}"))
    }
}

/// Refuses a side in pixels that the backbone cannot halve five times; the reason begins with "is".
pub fn check_resolution(side: i64) -> Result<(), String> {
    if side % 32 != 0 || !(64..=224).contains(&side) {
        return Err(format!("is {side}, expected a multiple of 32 from 64 to 224"));
    }
    Ok(())
}

/// How a fused logit becomes a probability and a label, for each subset of modalities (named `text+audio` and so on).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The logit is divided by this before the sigmoid (Guo et al. 2017); 1 where a subset is not listed.
    pub temperature: BTreeMap<String, f32>,
    /// Probability from which on a post is positive; 0.5 where a subset is not listed.
    pub threshold: BTreeMap<String, f32>,
    /// Largest size of the logit that `text`, `audio`, `image` and `interaction` may each bring into the sum, reached
    /// smoothly (`b tanh(x / b)`); none where it is not listed. An encoder's logit has no bound of its own, and on an
    /// input unlike its training data it can be large enough to overrule all others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bound: BTreeMap<String, f32>,
}

/// The four summands of a fused logit by the names used in [`Calibration::bound`].
pub const SUMMANDS: [&str; 4] = ["text", "audio", "image", "interaction"];
/// In place of "none": beyond any logit, and small enough that dividing by it loses nothing.
pub const NO_BOUND: f32 = 1e6;

impl Calibration {
    pub fn temperature_of(&self, subset: ModalitySet) -> f32 {
        self.temperature.get(&subset.to_string()).copied().unwrap_or(1.0)
    }

    pub fn threshold_of(&self, subset: ModalitySet) -> f32 {
        self.threshold.get(&subset.to_string()).copied().unwrap_or(0.5)
    }

    /// Bounds in the order of the summands.
    pub(crate) fn bounds(&self) -> [f32; 4] {
        SUMMANDS.map(|name| self.bound.get(name).copied().unwrap_or(NO_BOUND))
    }

    fn check(&self) -> Result<(), String> {
        if let Some(name) = self.bound.keys().find(|name| !SUMMANDS.contains(&name.as_str())) {
            return Err(format!("calibration: `{name}` is no summand of the fused logit"));
        }
        if self.bound.values().any(|bound| !bound.is_finite() || *bound <= 0.0) {
            return Err("calibration: a bound is not above 0".to_owned());
        }
        let names: Vec<String> = ModalitySet::all_non_empty().map(|set| set.to_string()).collect();
        if let Some(name) = self.temperature.keys().chain(self.threshold.keys()).find(|name| !names.contains(name)) {
            return Err(format!("calibration: `{name}` is no subset of modalities"));
        }
        if self.temperature.values().any(|t| !t.is_finite() || *t <= 0.0) {
            return Err("calibration: a temperature is not above 0".to_owned());
        }
        if self.threshold.values().any(|t| !(0.0..=1.0).contains(t)) {
            return Err("calibration: a threshold is not a probability".to_owned());
        }
        Ok(())
    }
}

/// Mean and standard deviation of each of the 96 constant-Q bins over the training clips, in dB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standardisation {
    /// 96 means.
    pub mean: Vec<f32>,
    /// 96 standard deviations, above 0.
    pub std: Vec<f32>,
}

impl Standardisation {
    /// From training spectrograms (`[frames, 96]` row-major, dB), all frames weighing the same. A bin that never
    /// moves gets the deviation 1.
    pub fn fit<'a>(spectrograms: impl IntoIterator<Item = &'a [f32]>) -> Result<Self, ModelError> {
        let (mut sums, mut squares, mut frames) = ([0.0_f64; SEGMENT_BINS], [0.0_f64; SEGMENT_BINS], 0_u64);
        for spectrogram in spectrograms {
            for frame in spectrogram.chunks_exact(SEGMENT_BINS) {
                frames += 1;
                for ((sum, square), &level) in sums.iter_mut().zip(&mut squares).zip(frame) {
                    *sum += f64::from(level);
                    *square += f64::from(level) * f64::from(level);
                }
            }
        }
        if frames == 0 {
            return Err(ModelError::Input("standardisation needs at least one frame".to_owned()));
        }
        let count = frames as f64;
        let mean: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
        let deviation = |(sum, square): (&f64, &f64)| {
            let variance = (square / count - (sum / count).powi(2)).max(0.0);
            if variance > 1e-6 { variance.sqrt() as f32 } else { 1.0 }
        };
        let std = sums.iter().zip(&squares).map(deviation).collect();
        let fitted = Self { mean, std };
        fitted.check()?;
        Ok(fitted)
    }

    /// Refuses anything but 96 finite means and 96 deviations above 0.
    pub fn check(&self) -> Result<(), ModelError> {
        let whole = self.mean.len() == SEGMENT_BINS && self.std.len() == SEGMENT_BINS;
        if whole && self.mean.iter().all(|m| m.is_finite()) && self.std.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Ok(());
        }
        Err(ModelError::Configuration(format!(
            "standardisation: {} means and {} deviations, expected {SEGMENT_BINS} finite ones, deviations above 0",
            self.mean.len(),
            self.std.len()
        )))
    }
}

/// Answers to fixed inputs, recorded in f32 on a CPU from the weights as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Text vector.
    pub text: Vec<f32>,
    /// Audio vector.
    pub audio: Vec<f32>,
    /// Image vector.
    pub image: Vec<f32>,
    /// Calibrated probability for each subset of modalities.
    pub probability: BTreeMap<String, f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standardisation_is_the_mean_and_deviation_of_each_bin() {
        let mut spectrogram = vec![-40.0_f32; 4 * SEGMENT_BINS];
        for (frame, level) in [(0, -10.0), (1, -20.0), (2, -30.0), (3, -40.0)] {
            spectrogram[frame * SEGMENT_BINS + 5] = level;
        }
        let fitted = Standardisation::fit([spectrogram.as_slice()]).unwrap();
        assert_eq!((fitted.mean[5], fitted.mean[6]), (-25.0, -40.0));
        assert!((fitted.std[5] - 125.0_f32.sqrt()).abs() < 1e-4);
        assert_eq!(fitted.std[6], 1.0);
        assert!(Standardisation::fit(std::iter::empty()).is_err());
    }

    #[test]
    fn calibration_falls_back_and_refuses_nonsense() {
        let mut calibration = Calibration::default();
        assert_eq!(calibration.temperature_of(ModalitySet::FULL), 1.0);
        assert_eq!(calibration.threshold_of(ModalitySet::FULL), 0.5);
        calibration.threshold.insert("audio+text".to_owned(), 0.5);
        assert!(calibration.check().unwrap_err().contains("audio+text"));
        let cold = Calibration { temperature: BTreeMap::from([("text".to_owned(), 0.0)]), ..Calibration::default() };
        assert!(cold.check().is_err());
        let strange = Calibration { bound: BTreeMap::from([("video".to_owned(), 1.0)]), ..Calibration::default() };
        assert!(strange.check().unwrap_err().contains("video"));
        let open = Calibration { bound: BTreeMap::from([("image".to_owned(), 0.0)]), ..Calibration::default() };
        assert!(open.check().is_err());
    }

    #[test]
    fn a_manifest_without_the_seconds_of_a_clip_is_one_of_a_minute() {
        let bundled = include_bytes!("../../../models/jtav-modern/manifest.json");
        let mut json: serde_json::Value = serde_json::from_slice(bundled).unwrap();
        assert_eq!(Manifest::from_json(bundled).unwrap().max_audio_seconds, 30);
        json.as_object_mut().unwrap().remove("max_audio_seconds").unwrap();
        assert_eq!(Manifest::from_json(json.to_string().as_bytes()).unwrap().max_audio_seconds, 60);
        json["max_audio_seconds"] = 0.into();
        assert!(Manifest::from_json(json.to_string().as_bytes()).unwrap_err().contains("max_audio_seconds"));
    }

    #[test]
    fn sizes_out_of_bounds_are_named() {
        let mut dimensions = Dimensions::modern(100);
        assert_eq!(dimensions.check(), Ok(()));
        dimensions.embedding_rows = i64::MAX;
        assert!(dimensions.check().unwrap_err().contains("embedding_rows"));
        dimensions = Dimensions { image_resolution: 100, ..Dimensions::modern(100) };
        assert!(dimensions.check().unwrap_err().contains("image_resolution"));
    }
}
