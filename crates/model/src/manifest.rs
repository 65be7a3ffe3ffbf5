//! The manifest of a checkpoint: everything about the networks that is not a weight.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bases::Base;
use crate::error::ModelError;
use crate::modality::ModalitySet;
use crate::vectors::{Normalisation, SEGMENT_BINS};

/// Version of the folder's layout: 3 since networks stand on base weights that a checkpoint names and does not hold.
pub(crate) const FORMAT: u32 = 3;
/// The profile whose words are read by a sentence encoder.
pub const MODERN: &str = "modern";
/// The profile whose words are looked up in a table, a bag of n-grams beside them.
pub const LIGHT: &str = "light";

/// What a checkpoint's networks stand on: names of [`Manifest::bases`].
pub mod roles {
    /// The sentence encoder of `modern`, of which `light` uses the table of word pieces.
    pub const TRUNK: &str = "trunk";
    /// The word pieces of both.
    pub const PIECES: &str = "pieces";
    /// What tells the language of a text.
    pub const LANGUAGE: &str = "language";
    /// The backbone of the image network, unless the checkpoint holds one of its own.
    pub const IMAGE: &str = "image";
}

/// `manifest.json`. Unknown fields are refused: a field that an older program does not know may matter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the layout, 3.
    pub format: u32,
    /// Architecture: `modern` or `light`, which differ in where the vectors of words come from.
    pub profile: String,
    /// Base weights that the networks stand on, by role: they are looked for by their hash and are no part of the folder
    /// unless it was packed.
    pub bases: BTreeMap<String, Base>,
    /// What the image head weighs the features of.
    pub image_backbone: ImageBackbone,
    /// Sizes of the architecture.
    pub dimensions: Dimensions,
    /// Names of the classes, the polarity's poles first and last.
    pub labels: [String; 3],
    /// Names of the mood quadrants, in the order of the mood head.
    pub moods: Vec<String>,
    /// Temperatures, prior and bounds of the polarity.
    pub calibration: Calibration,
    /// The neutral class, and what is promised of labels.
    pub middle: Middle,
    /// Statistics that the audio network's input is standardised with.
    pub standardisation: Standardisation,
    /// Seconds from the start of a clip that the networks were trained on at most, and that they are to be given: what
    /// serves, labels or evaluates reads it here.
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

impl Manifest {
    /// A manifest of one of the profiles with the usual names and the pinned bases, no metrics and no data; fill in the rest.
    pub fn new(
        profile: &str,
        dimensions: Dimensions,
        standardisation: Standardisation,
        max_audio_seconds: u32,
        calibration: Calibration,
        seed: u64,
    ) -> Self {
        let bases = [
            (roles::TRUNK, Base::minilm()),
            (roles::PIECES, Base::minilm_tokenizer()),
            (roles::LANGUAGE, Base::language_identification()),
            (roles::IMAGE, Base::efficientnet_lite0()),
        ];
        Self {
            format: FORMAT,
            profile: profile.to_owned(),
            bases: bases.map(|(role, base)| (role.to_owned(), base)).into(),
            image_backbone: ImageBackbone::EfficientNetLite0,
            dimensions,
            labels: ["negative", "neutral", "positive"].map(str::to_owned),
            moods: ["Q1", "Q2", "Q3", "Q4"].map(str::to_owned).to_vec(),
            calibration,
            middle: Middle::default(),
            standardisation,
            max_audio_seconds,
            metrics: serde_json::Value::Null,
            data: BTreeMap::new(),
            seed,
            files: BTreeMap::new(),
            probe: None,
        }
    }

    /// The base weights of a role.
    ///
    /// # Errors
    /// [`ModelError::Configuration`] where the manifest names none.
    pub fn base(&self, role: &str) -> Result<&Base, ModelError> {
        self.bases.get(role).ok_or_else(|| ModelError::Configuration(format!("the manifest names no base `{role}`")))
    }

    /// Whether the vectors of words come from the sentence encoder, and not from its table alone.
    pub fn reads_with_trunk(&self) -> bool {
        self.profile == MODERN
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
            1 | 2 => {
                return Err(format!(
                    "format {format} knows no neutral class and no base weights, this version reads format {FORMAT}; train \
                     again (jtav train), or use the checkpoints that come with it"
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
        if ![MODERN, LIGHT].contains(&self.profile.as_str()) {
            return Err(format!("profile `{}` is unknown, this version builds `{MODERN}` and `{LIGHT}`", self.profile));
        }
        for base in self.bases.values() {
            base.check().map_err(|error| error.to_string())?;
        }
        if self.moods.len() as i64 != self.dimensions.moods {
            return Err(format!("{} moods for a head of {}", self.moods.len(), self.dimensions.moods));
        }
        if self.max_audio_seconds == 0 {
            return Err("max_audio_seconds is 0, nothing of a clip would be heard".to_owned());
        }
        self.dimensions.check()?;
        self.calibration.check()?;
        self.middle.check()?;
        self.standardisation.check().map_err(|e| e.to_string())
    }
}

/// What finds the features that the image head weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageBackbone {
    /// Trained on ImageNet by whoever owns such weights; the checkpoint holds it.
    #[serde(rename = "densenet121")]
    DenseNet121,
    /// Trained on ImageNet; a base.
    #[serde(rename = "efficientnet-lite0")]
    EfficientNetLite0,
}

impl ImageBackbone {
    /// Channels of its feature map, whose sides are those of the picture over 32.
    pub fn channels(self) -> i64 {
        match self {
            Self::DenseNet121 => 1024,
            Self::EfficientNetLite0 => 1280,
        }
    }

    /// The scale of the pixels it was trained on.
    pub fn normalisation(self) -> Normalisation {
        match self {
            Self::DenseNet121 => Normalisation::IMAGENET,
            Self::EfficientNetLite0 => Normalisation::LITE,
        }
    }
}

/// Sizes of the networks (docs/networks.md, "Profiles").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dimensions {
    /// Width of a word vector.
    pub word_width: i64,
    /// Units per direction of the text BiGRU.
    pub text_hidden: i64,
    /// Rows of the tables that the hashed n-grams share; 0 without a bag of n-grams.
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
    /// Width of the vector of what a text is about; 0 without one.
    pub semantic: i64,
    /// Attention width `k` of CMF-AP.
    pub fusion_attention: i64,
    /// Reduced width `r` of CMF-AP; `u` has `6 r` values.
    pub fusion_reduced: i64,
}

impl Dimensions {
    /// The profile `modern`.
    pub fn modern() -> Self {
        Self {
            word_width: 768,
            text_hidden: 96,
            ngram_buckets: 0,
            audio_channels: 64,
            audio_hidden: 128,
            moods: 4,
            image_resolution: 224,
            vector: 100,
            semantic: 100,
            // The paper leaves it open, the authors take 100; the cost of a post's fusion grows with it.
            fusion_attention: 32,
            fusion_reduced: 100,
        }
    }

    /// The profile `light`.
    pub fn light() -> Self {
        Self { word_width: 384, ngram_buckets: 1 << 18, semantic: 0, ..Self::modern() }
    }

    /// Those of a profile by its name in the manifest; `modern` for an unknown one.
    pub fn of_profile(profile: &str) -> Self {
        if profile == LIGHT { Self::light() } else { Self::modern() }
    }

    /// Bounds that keep a hostile manifest from asking for terabytes.
    fn check(&self) -> Result<(), String> {
        let sizes = [
            ("word_width", self.word_width, 8192),
            ("text_hidden", self.text_hidden, 4096),
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
        for (name, size, most) in [("ngram_buckets", self.ngram_buckets, 1 << 24), ("semantic", self.semantic, 384)] {
            if !(0..=most).contains(&size) {
                return Err(format!("dimensions.{name} is {size}, expected 0 to {most}"));
            }
        }
        // Two values of the text vector belong to what is counted, five of the audio vector to statistics.
        if self.vector < 6 {
            return Err(format!("dimensions.vector is {}, expected 6 or more", self.vector));
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

/// How the parts become the log odds of positive against negative, for each subset of modalities (named `text+audio` and
/// so on).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The sum of the parts is divided by this (Guo et al. 2017); 1 where a subset is not listed.
    pub temperature: BTreeMap<String, f32>,
    /// Added to every post's log odds: those of positive against negative in the feed. 0 for a feed of unknown mix.
    #[serde(default)]
    pub prior_log_odds: f32,
    /// Largest size of the log-likelihood ratio that `text`, `audio`, `image` and `interaction` may each bring into the
    /// sum; what is larger is cut off. None where it is not listed. An encoder's logit has no bound of its own, and on
    /// an input unlike its training data it can be large enough to overrule all others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bound: BTreeMap<String, f32>,
}

/// The neutral class, and from which probability on a label can be relied on. The weights are `fusion.middle.*`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Middle {
    /// The neutral logit of the text is divided by this. The polarity has temperatures of its own.
    pub temperature: f32,
    /// Neutral logit of a post without a text. It is a rule and no measurement: data in which media are neutral is not at
    /// hand. At half the logit of a share, such a post is neutral as long as its media give neither pole that share.
    pub media_only_neutral: f32,
    /// Probability of the label from which labels of a subset are right as often as `promised_accuracy` says, measured on
    /// posts that took no part in training; 1, and so never, where a subset is not listed.
    pub certain_from: BTreeMap<String, f32>,
    /// Share of certain labels that are right, 0 to 1.
    pub promised_accuracy: f32,
    /// Languages of the posts on which that was measured, ISO 639.
    pub languages: Vec<String>,
    /// Least probability of an identified language that is believed.
    pub language_confidence: f32,
}

impl Default for Middle {
    /// Nothing is promised.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            // ln 2 / 2, the logit of 2/3 over 2.
            media_only_neutral: std::f32::consts::LN_2 / 2.0,
            certain_from: BTreeMap::new(),
            promised_accuracy: 0.9,
            languages: vec!["en".to_owned()],
            language_confidence: 0.5,
        }
    }
}

impl Middle {
    pub fn certain_from_of(&self, subset: ModalitySet) -> f32 {
        self.certain_from.get(&subset.to_string()).copied().unwrap_or(1.0)
    }

    fn check(&self) -> Result<(), String> {
        check_subsets("middle", self.certain_from.keys())?;
        if !self.temperature.is_finite() || self.temperature <= 0.0 {
            return Err("middle: the temperature is not above 0".to_owned());
        }
        if !self.media_only_neutral.is_finite() {
            return Err("middle: `media_only_neutral` is not finite".to_owned());
        }
        let shares = [self.promised_accuracy, self.language_confidence];
        if self.certain_from.values().chain(&shares).any(|share| !(0.0..=1.0).contains(share)) {
            return Err("middle: a threshold, an accuracy or a confidence is not within 0 and 1".to_owned());
        }
        let is_code =
            |code: &String| (2..=3).contains(&code.len()) && code.bytes().all(|letter| letter.is_ascii_lowercase());
        if self.languages.is_empty() || !self.languages.iter().all(is_code) {
            return Err("middle: `languages` must name one language or more by its ISO 639 code".to_owned());
        }
        Ok(())
    }
}

/// Refuses a name that is no subset of modalities.
fn check_subsets<'a>(what: &str, mut names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let known: Vec<String> = ModalitySet::all_non_empty().map(|set| set.to_string()).collect();
    match names.find(|name| !known.contains(name)) {
        Some(name) => Err(format!("{what}: `{name}` is no subset of modalities")),
        None => Ok(()),
    }
}

/// The four summands of a fused logit by the names used in [`Calibration::bound`].
pub const SUMMANDS: [&str; 4] = ["text", "audio", "image", "interaction"];
/// In place of "none": beyond any logit, and small enough that dividing by it loses nothing.
pub const NO_BOUND: f32 = 1e6;

impl Calibration {
    pub fn temperature_of(&self, subset: ModalitySet) -> f32 {
        self.temperature.get(&subset.to_string()).copied().unwrap_or(1.0)
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
        check_subsets("calibration", self.temperature.keys())?;
        if self.temperature.values().any(|t| !t.is_finite() || *t <= 0.0) {
            return Err("calibration: a temperature is not above 0".to_owned());
        }
        if !self.prior_log_odds.is_finite() {
            return Err("calibration: `prior_log_odds` is not finite".to_owned());
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
    /// Calibrated probability of positive against negative for each subset of modalities.
    pub probability: BTreeMap<String, f32>,
    /// Probability of neutral for each subset.
    pub neutral: BTreeMap<String, f32>,
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
