//! What goes into the networks and what comes out, as plain vectors.

use std::sync::{Arc, LazyLock};

use jtav_signal::{ClipStatistics, SignalError};

use crate::error::ModelError;
use crate::judgement::Judgement;
use crate::modality::{Modality, ModalitySet};

/// Frames of one audio segment: 10 s at 22,050 Hz and hop 1024 (docs/networks.md, "Audio").
pub const SEGMENT_FRAMES: usize = 215;
/// Constant-Q bins of one frame: 8 octaves from C1.
pub const SEGMENT_BINS: usize = 96;
/// Level of silence and of padding, in dB below the clip's loudest bin.
pub const SILENCE_DB: f32 = -80.0;
/// Seconds from one frame to the next.
pub const FRAME_SECONDS: f64 = 1024.0 / 22_050.0;
/// Side of the picture the image network takes, in pixels.
pub const IMAGE_SIDE: usize = 224;
/// Cells of the image attention: 7 rows of 7, top left first.
pub const IMAGE_CELLS: usize = 49;

/// From pixels in `[0, 1]` to the scale that a backbone was trained on: less the mean, over the deviation, per channel of
/// RGB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalisation {
    /// In `[0, 1]`.
    pub mean: [f32; 3],
    /// Above 0.
    pub deviation: [f32; 3],
}

impl Normalisation {
    /// Statistics of ImageNet, which torchvision's weights expect.
    pub const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };
    /// `(byte - 127) / 128`, which the weights of EfficientNet-Lite expect.
    pub const LITE: Self = Self { mean: [127.0 / 255.0; 3], deviation: [128.0 / 255.0; 3] };
}

/// A remainder shorter than this is dropped when the clip also has a full segment: 10 s give 216 frames, and one
/// frame of sound in ten seconds of padding would count as much as the ten seconds before it.
const MIN_REMAINDER_FRAMES: usize = 54;

/// One clip, cut into segments of `SEGMENT_FRAMES`.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioInput {
    /// Each `[215, 96]` row-major, dB in `[-80, 0]` relative to the clip's maximum; at least one.
    pub segments: Vec<Vec<f32>>,
    /// Frames of each segment that hold sound and not padding, 1 to 215. Same length as `segments`.
    pub valid_frames: Vec<usize>,
    /// Frames behind the last segment, `[frames, 96]` in dB, too few for one of their own: the statistics alone hear them.
    pub remainder: Vec<f32>,
    /// Statistics of the whole clip ([`jtav_signal::STATISTICS`] values); empty where only DCRNN is to look at it.
    pub statistics: Vec<f32>,
}

/// What the statistics are made with.
pub(crate) static STATISTICS_OF: LazyLock<ClipStatistics> = LazyLock::new(ClipStatistics::new);

impl AudioInput {
    /// All that the audio network looks at: the spectrogram as [`from_spectrogram`](Self::from_spectrogram) cuts it, and
    /// the statistics, of the samples (mono, 22,050 Hz) and of all frames. Errors as there, and [`ModelError::Input`] for
    /// no samples or one that cannot be transformed.
    pub fn from_sound(samples: &[f32], decibels: &[f32]) -> Result<Self, ModelError> {
        let mut input = Self::from_spectrogram(decibels)?;
        input.statistics = STATISTICS_OF.timbre(samples)?;
        input.statistics.extend(input.harmony());
        Ok(input)
    }

    /// The same clip with these statistics, as [`from_sound`](Self::from_sound) made them once.
    #[must_use]
    pub fn with_statistics(self, statistics: impl Into<Vec<f32>>) -> Self {
        Self { statistics: statistics.into(), ..self }
    }

    /// The statistics of the levels.
    pub(crate) fn harmony(&self) -> Vec<f32> {
        let mut levels = Vec::new();
        for (segment, &frames) in self.segments.iter().zip(&self.valid_frames) {
            levels.extend_from_slice(&segment[..(frames * SEGMENT_BINS).min(segment.len())]);
        }
        levels.extend_from_slice(&self.remainder);
        STATISTICS_OF.harmony(&levels)
    }

    /// Cuts a spectrogram (`[frames, 96]` row-major, dB) into consecutive segments, pads the last with
    /// `SILENCE_DB`, and leaves a remainder under 2.5 s out of them. An error when it is empty or not made of whole frames.
    pub fn from_spectrogram(decibels: &[f32]) -> Result<Self, ModelError> {
        if decibels.is_empty() || !decibels.len().is_multiple_of(SEGMENT_BINS) {
            return Err(ModelError::Input(format!("a spectrogram of {} values has no whole frame", decibels.len())));
        }
        let valid_frames = segment_frames(decibels.len() / SEGMENT_BINS);
        let padded = |frames: &[f32]| {
            let mut segment = frames.to_vec();
            segment.resize(SEGMENT_FRAMES * SEGMENT_BINS, SILENCE_DB);
            segment
        };
        let segments: Vec<Vec<f32>> =
            decibels.chunks(SEGMENT_FRAMES * SEGMENT_BINS).take(valid_frames.len()).map(padded).collect();
        let remainder = decibels.get(valid_frames.iter().sum::<usize>() * SEGMENT_BINS..).unwrap_or_default().to_vec();
        Ok(Self { segments, valid_frames, remainder, statistics: Vec::new() })
    }

    /// Refuses what the network cannot take: no segment, one of another size, a level that is no number.
    pub fn check(&self) -> Result<(), ModelError> {
        if self.segments.is_empty() || self.segments.len() != self.valid_frames.len() {
            return Err(ModelError::Input(format!(
                "a clip of {} segments with {} frame counts",
                self.segments.len(),
                self.valid_frames.len()
            )));
        }
        for (segment, &frames) in self.segments.iter().zip(&self.valid_frames) {
            if segment.len() != SEGMENT_FRAMES * SEGMENT_BINS || !(1..=SEGMENT_FRAMES).contains(&frames) {
                return Err(ModelError::Input(format!(
                    "an audio segment of {} values with {frames} valid frames",
                    segment.len()
                )));
            }
            if !segment.iter().all(|level| level.is_finite()) {
                return Err(ModelError::Input("an audio segment holds a value that is not finite".to_owned()));
            }
        }
        Ok(())
    }
}

/// Frames of each segment of a clip of `frames` frames; nothing for none.
pub(crate) fn segment_frames(frames: usize) -> Vec<usize> {
    let starts = (0..frames).step_by(SEGMENT_FRAMES);
    let lengths = starts.map(|start| (frames - start).min(SEGMENT_FRAMES));
    lengths
        .enumerate()
        .filter(|&(segment, frames)| segment == 0 || frames >= MIN_REMAINDER_FRAMES)
        .map(|(_, n)| n)
        .collect()
}

/// A clip as it was decoded: mono, at least one sample, all of them usable. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Waveform {
    samples: Arc<[f32]>,
    sample_rate_hz: u32,
}

impl Waveform {
    /// Takes the samples. [`ModelError::Input`] for none, for one that is no number or far out of range, and for a rate
    /// that cannot be resampled.
    pub fn new(samples: impl Into<Arc<[f32]>>, sample_rate_hz: u32) -> Result<Self, ModelError> {
        let samples = samples.into();
        jtav_signal::check_clip(&samples)?;
        if !(jtav_signal::MIN_RATE_HZ..=jtav_signal::MAX_RATE_HZ).contains(&sample_rate_hz) {
            return Err(SignalError::UnsupportedRate { rate_hz: sample_rate_hz }.into());
        }
        Ok(Self { samples, sample_rate_hz })
    }

    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// Samples a second.
    pub fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }
}

/// A decoded picture, 224 x 224 pixels, RGB, 8 bits, row by row (height, width, channel). Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb224(pub(crate) Arc<[u8]>);

impl Rgb224 {
    /// Bytes of one picture.
    pub const BYTES: usize = IMAGE_SIDE * IMAGE_SIDE * 3;

    /// Takes the pixels; an error unless there are exactly [`BYTES`](Self::BYTES).
    pub fn new(pixels: impl Into<Arc<[u8]>>) -> Result<Self, ModelError> {
        let pixels = pixels.into();
        if pixels.len() != Self::BYTES {
            return Err(ModelError::Input(format!("a picture of {} bytes, expected {}", pixels.len(), Self::BYTES)));
        }
        Ok(Self(pixels))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The picture as the backbone takes it (docs/networks.md, "Image"), `[3, 224, 224]`: scaled to `[0, 1]`, less the
    /// mean, over the deviation, per channel. A network that looks at a smaller picture scales it down first.
    pub fn normalised(&self, by: &Normalisation) -> Vec<f32> {
        let channel = |channel: usize| {
            let values = self.0.iter().skip(channel).step_by(3);
            values.map(move |&value| (f32::from(value) / 255.0 - by.mean[channel]) / by.deviation[channel])
        };
        (0..3).flat_map(channel).collect()
    }
}

/// What one modality's network says of one post.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// The modality's vector (100 values in `modern`), the input of the fusion.
    pub vector: Vec<f32>,
    /// Where the network looked; not negative, sums to 1. Text: one value per word, those of the protagonist first
    /// ([`TextInput::words`](crate::TextInput::words)). Audio: one per time step of
    /// [`AudioNetwork::seconds_per_step`](crate::AudioNetwork::seconds_per_step), segments in a row. Image: [`IMAGE_CELLS`] cells.
    pub attention: Vec<f32>,
}

/// The vectors of one post; at least one present.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FusionInput {
    /// Vector of the text network.
    pub text: Option<Vec<f32>>,
    /// Vector of the audio network.
    pub audio: Option<Vec<f32>>,
    /// Vector of the image network.
    pub image: Option<Vec<f32>>,
}

impl FusionInput {
    /// Which modalities are there.
    pub fn modalities(&self) -> ModalitySet {
        ModalitySet::from_presence(self.text.is_some(), self.audio.is_some(), self.image.is_some())
    }

    pub fn vector(&self, modality: Modality) -> Option<&[f32]> {
        match modality {
            Modality::Text => self.text.as_deref(),
            Modality::Audio => self.audio.as_deref(),
            Modality::Image => self.image.as_deref(),
        }
    }

    /// The same post with only the modalities of `subset` left: how a subset is scored (ADR 43).
    pub fn masked(&self, subset: ModalitySet) -> Self {
        let keep = |modality| if subset.contains(modality) { self.vector(modality).map(<[f32]>::to_vec) } else { None };
        Self { text: keep(Modality::Text), audio: keep(Modality::Audio), image: keep(Modality::Image) }
    }
}

/// Summands of the fused logit, calibrated log-likelihood ratios; an absent modality gives exactly 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Contributions {
    /// How much likelier the text is from a positive post than from a negative one.
    pub text: f32,
    /// How much likelier the audio is from a positive post than from a negative one.
    pub audio: f32,
    /// How much likelier the image is from a positive post than from a negative one.
    pub image: f32,
    /// What the modalities say together and none alone, by CMF-AP.
    pub interaction: f32,
}

/// The fused answer for one post.
#[derive(Debug, Clone, PartialEq)]
pub struct FusionOutput {
    /// The fused embedding: six attended vectors of 100 (text-audio, text-image, audio-image, both directions).
    pub u: Vec<f32>,
    /// Log odds of positive against negative: the sum of the contributions and the checkpoint's prior.
    pub logit: f32,
    /// Positive against negative, the sigmoid of the logit. It knows no middle; what evaluations of the polarity are
    /// made from.
    pub probability: f32,
    /// What is said of the post.
    pub judgement: Judgement,
    /// Mood quadrants with their probabilities, in the manifest's order; empty for a post without audio.
    pub moods: Vec<(String, f32)>,
    /// What each modality and their interaction added to the logit.
    pub contributions: Contributions,
}

impl FusionOutput {
    /// Whether the post is positive where there are but two classes.
    pub fn is_positive(&self) -> bool {
        self.probability >= 0.5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_are_one_segment_and_a_long_remainder_is_padded() {
        let ten_seconds = AudioInput::from_spectrogram(&vec![-10.0; 216 * 96]).unwrap();
        assert_eq!(ten_seconds.valid_frames, [215]);
        assert_eq!(ten_seconds.remainder, [-10.0; 96]);
        let more = AudioInput::from_spectrogram(&vec![-10.0; (215 + 54) * 96]).unwrap();
        assert_eq!(more.valid_frames, [215, 54]);
        assert!(more.remainder.is_empty());
        assert_eq!(more.segments[1][54 * 96 - 1..=54 * 96], [-10.0, -80.0]);
        let short = AudioInput::from_spectrogram(&[-10.0; 96]).unwrap();
        assert_eq!(short.valid_frames, [1]);
        assert!(short.check().is_ok());
    }

    #[test]
    fn spectrograms_without_whole_finite_frames_are_refused() {
        assert!(AudioInput::from_spectrogram(&[]).is_err());
        assert!(AudioInput::from_spectrogram(&[0.0; 95]).is_err());
        let not_finite = AudioInput::from_spectrogram(&[f32::NAN; 96]).unwrap();
        assert!(not_finite.check().is_err());
        assert!(
            AudioInput {
                segments: Vec::new(),
                valid_frames: Vec::new(),
                remainder: Vec::new(),
                statistics: Vec::new()
            }
            .check()
            .is_err()
        );
    }

    #[test]
    fn a_clip_of_sound_carries_its_statistics_and_a_spectrogram_alone_has_none() {
        let samples: Vec<f32> = (0..22_050).map(|at| (at as f32 * 0.2).sin()).collect();
        let levels = vec![-10.0; 22 * 96];
        let input = AudioInput::from_sound(&samples, &levels).unwrap();
        assert_eq!(input.statistics.len(), jtav_signal::STATISTICS);
        assert!(input.statistics.iter().all(|value| value.is_finite()));
        let alone = AudioInput::from_spectrogram(&levels).unwrap();
        assert!(alone.statistics.is_empty());
        assert_eq!(alone.with_statistics(input.statistics.clone()), input);
        assert!(AudioInput::from_sound(&[], &levels).is_err());
    }

    #[test]
    fn masking_keeps_only_the_subset() {
        let input = FusionInput { text: Some(vec![1.0]), audio: Some(vec![2.0]), image: None };
        let masked = input.masked(ModalitySet::from_presence(false, true, true));
        assert_eq!(masked, FusionInput { text: None, audio: Some(vec![2.0]), image: None });
        assert_eq!(masked.modalities().to_string(), "audio");
    }

    #[test]
    fn a_picture_of_another_size_is_refused() {
        assert!(Rgb224::new(vec![0_u8; 3]).is_err());
        assert_eq!(Rgb224::new(vec![7_u8; Rgb224::BYTES]).unwrap().as_bytes().len(), 224 * 224 * 3);
    }

    #[test]
    fn a_normalised_picture_holds_one_plane_per_channel() {
        let pixels: Vec<u8> = [255, 0, 51].repeat(224 * 224);
        let planes = Rgb224::new(pixels).unwrap().normalised(&Normalisation::IMAGENET);
        assert_eq!(planes.len(), Rgb224::BYTES);
        let expected = [(1.0 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225];
        for (plane, expected) in planes.chunks(224 * 224).zip(expected) {
            assert!(plane.iter().all(|value: &f32| (value - expected).abs() < 1e-6), "{} {expected}", plane[0]);
        }
    }
}
