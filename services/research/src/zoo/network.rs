//! A network of any kind and its batches.

use jtav_model::networks::Pixels;
use jtav_model::parameters::{Scope, to_rows, to_vec};
use jtav_model::{AudioInput, FusionInput, IMAGE_SIDE, Modality, ModalitySet, ModelError, Rgb224};
use jtav_training::hide;
use rand::RngExt;
use rand::rngs::StdRng;
use tch::{Device, Tensor};

use crate::zoo::architecture::{Architecture, Profile, Widths};
use crate::zoo::input::{Input, WordVectors};
use crate::zoo::networks::{
    AudioEncoder, CmfAp, EarlyFusion, Forward, Fusion, ImageEncoder, LowRank, PartsBatch, SegmentBatch, TextEncoder,
};
use crate::zoo::settings::{FineTuning, Settings};

/// Most inputs of one pass without gradients: texts and vectors, pictures, segments.
const ROWS: usize = 64;
const PICTURES: usize = 16;
const SEGMENTS: usize = 16;
/// Smallest share of the side that a random crop keeps (docs/networks.md, "Image").
const MIN_CROP: f64 = 0.8;

/// Filters of each layer of the convnet (Choi et al. 2017).
const CONV_NET_FILTERS: i64 = 32;

/// One of the zoo's networks.
pub(crate) enum Network {
    Text(TextEncoder),
    Audio(AudioEncoder),
    Image(Box<ImageEncoder>),
    Fusion(Fusion, Widths),
}

/// What a network says of each input.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub features: Vec<Vec<f32>>,
    pub logits: Vec<f32>,
}

impl Network {
    pub fn new(scope: &Scope, architecture: &Architecture, dropout: f64) -> Result<Self, ModelError> {
        let text = |profile: Profile, dimension: usize, gated: bool| match profile {
            Profile::Paper => TextEncoder::paper(scope, dimension as i64, gated),
            Profile::AuthorsCode => TextEncoder::authors(scope, dimension as i64, gated, dropout),
        };
        Ok(match *architecture {
            Architecture::BiGru { profile, dimension } => Self::Text(text(profile, dimension, false)?),
            Architecture::AttBiGru { profile, dimension } => Self::Text(text(profile, dimension, true)?),
            Architecture::LyricsHan { dimension } => Self::Text(TextEncoder::lyrics_han(scope, dimension as i64)?),
            Architecture::Dcrnn { form, vector } => Self::Audio(AudioEncoder::dcrnn(scope, form, vector as i64)?),
            Architecture::ConvNet => Self::Audio(AudioEncoder::conv_net(scope, CONV_NET_FILTERS)?),
            Architecture::Image { backbone, vector } => {
                Self::Image(Box::new(ImageEncoder::new(scope, backbone, vector as i64)?))
            }
            Architecture::EarlyFusion { widths } => {
                Self::Fusion(Fusion::Early(EarlyFusion::new(scope, &widths)?), widths)
            }
            Architecture::CmfAp { profile, widths, attention } => {
                let network = CmfAp::new(scope, profile, &widths, attention as i64, dropout)?;
                Self::Fusion(Fusion::Cmf(network), widths)
            }
            Architecture::LowRank { widths, rank, hidden } => {
                let network = LowRank::new(scope, &widths, rank as i64, hidden as i64)?;
                Self::Fusion(Fusion::LowRank(network), widths)
            }
        })
    }

    /// One row per input; captions, segments, crops and hidden modalities are drawn from `rng`.
    pub fn train(
        &self,
        inputs: &[&Input],
        settings: &Settings,
        device: Device,
        rng: &mut StdRng,
    ) -> Result<Forward, ModelError> {
        match self {
            Self::Text(network) => {
                let mut posts = Vec::with_capacity(inputs.len());
                for post in texts(inputs)? {
                    let bare = rng.random_bool(settings.caption_dropout);
                    posts.push(if bare { post.without_supporting() } else { post.clone() });
                }
                network.forward(&posts.iter().collect::<Vec<_>>(), device, true)
            }
            Self::Audio(network) => {
                let mut segments = Vec::with_capacity(inputs.len());
                for clip in clips(inputs)? {
                    clip.check()?;
                    let at = rng.random_range(0..clip.segments.len());
                    segments.push((clip.segments[at].as_slice(), clip.valid_frames[at]));
                }
                network.forward(&segment_batch(&segments, settings, device)?, true)
            }
            Self::Image(network) => {
                let mut x = uploaded(inputs, device)?;
                if settings.augment {
                    x = cropped(&x, settings.resolution as i64, rng)?;
                }
                let x = Pixels::normalise(&Pixels::resize(&x, settings.resolution as i64)?)?;
                let moves = settings.fine_tuning == FineTuning::All;
                network.head(&network.pooled(&x, moves)?, true)
            }
            Self::Fusion(network, widths) => {
                let read = ModalitySet::from_presence(
                    widths.of(Modality::Text).is_some(),
                    widths.of(Modality::Audio).is_some(),
                    widths.of(Modality::Image).is_some(),
                );
                let mut posts = Vec::with_capacity(inputs.len());
                for post in vectors(inputs)? {
                    posts.push(hide(&post.masked(read), settings.modality_dropout, rng));
                }
                let batch = PartsBatch::new(&posts.iter().collect::<Vec<_>>(), widths, device)?;
                network.forward(&batch, true)
            }
        }
    }

    /// Features and logits of each input in evaluation mode; a clip's are the means of its segments'.
    pub fn evaluate(&self, inputs: &[Input], settings: &Settings, device: Device) -> Result<Rows, ModelError> {
        let inputs: Vec<&Input> = inputs.iter().collect();
        let mut rows = Rows::default();
        match self {
            Self::Text(network) => {
                for chunk in inputs.chunks(ROWS) {
                    rows.add(&network.forward(&texts(chunk)?, device, false)?)?;
                }
            }
            Self::Audio(network) => return evaluate_clips(network, &clips(&inputs)?, settings, device),
            Self::Image(network) => {
                for chunk in inputs.chunks(PICTURES) {
                    let pooled = network.pooled(&prepared(chunk, settings, device)?, false)?;
                    rows.add(&network.head(&pooled, false)?)?;
                }
            }
            Self::Fusion(network, widths) => {
                for chunk in inputs.chunks(ROWS) {
                    rows.add(&network.forward(&PartsBatch::new(&vectors(chunk)?, widths, device)?, false)?)?;
                }
            }
        }
        Ok(rows)
    }

    /// The last features of an image network's backbone.
    pub fn pooled(&self, inputs: &[Input], settings: &Settings, device: Device) -> Result<Vec<Vec<f32>>, ModelError> {
        let Self::Image(network) = self else {
            return Err(ModelError::Input("only an image network has a backbone to read features from".to_owned()));
        };
        let mut features = Vec::with_capacity(inputs.len());
        for chunk in inputs.iter().collect::<Vec<_>>().chunks(PICTURES) {
            features.extend(to_rows(&network.pooled(&prepared(chunk, settings, device)?, false)?)?);
        }
        Ok(features)
    }
}

impl Rows {
    fn add(&mut self, forward: &Forward) -> Result<(), ModelError> {
        self.features.extend(to_rows(&forward.features)?);
        self.logits.extend(to_vec(&forward.logits)?);
        Ok(())
    }
}

/// Each segment weighs as much as it has sound.
fn evaluate_clips(
    network: &AudioEncoder,
    clips: &[&AudioInput],
    settings: &Settings,
    device: Device,
) -> Result<Rows, ModelError> {
    let mut segments: Vec<(&[f32], usize)> = Vec::new();
    for clip in clips {
        clip.check()?;
        segments.extend(clip.segments.iter().map(Vec::as_slice).zip(clip.valid_frames.iter().copied()));
    }
    let mut of_segments = Rows::default();
    for chunk in segments.chunks(SEGMENTS) {
        of_segments.add(&network.forward(&segment_batch(chunk, settings, device)?, false)?)?;
    }
    let mut next = of_segments.features.into_iter().zip(of_segments.logits);
    let mut rows = Rows::default();
    for clip in clips {
        let total = clip.valid_frames.iter().sum::<usize>() as f32;
        let (mut mean, mut logit) = (Vec::new(), 0.0);
        for (&frames, (features, of_segment)) in clip.valid_frames.iter().zip(&mut next) {
            let share = frames as f32 / total;
            mean.resize(features.len(), 0.0);
            for (sum, value) in mean.iter_mut().zip(features) {
                *sum += share * value;
            }
            logit += share * of_segment;
        }
        rows.features.push(mean);
        rows.logits.push(logit);
    }
    Ok(rows)
}

fn segment_batch(
    segments: &[(&[f32], usize)],
    settings: &Settings,
    device: Device,
) -> Result<SegmentBatch, ModelError> {
    let standardisation = settings
        .standardisation
        .as_ref()
        .ok_or_else(|| ModelError::Configuration("an audio network without `standardisation`".to_owned()))?;
    SegmentBatch::new(segments, standardisation, device)
}

/// `[batch, 3, 224, 224]` in `[0, 1]`.
fn uploaded(inputs: &[&Input], device: Device) -> Result<Tensor, ModelError> {
    let pictures = pictures(inputs)?;
    let bytes: Vec<&[u8]> = pictures.iter().map(|picture| picture.as_bytes()).collect();
    Pixels::upload(&bytes, IMAGE_SIDE, device)
}

/// `[batch, 3, resolution, resolution]`, normalised.
pub(super) fn prepared(inputs: &[&Input], settings: &Settings, device: Device) -> Result<Tensor, ModelError> {
    Pixels::normalise(&Pixels::resize(&uploaded(inputs, device)?, settings.resolution as i64)?)
}

/// A random square of each picture scaled to `side`, every second one mirrored.
fn cropped(x: &Tensor, side: i64, rng: &mut StdRng) -> Result<Tensor, ModelError> {
    let (batch, _, whole, _) = x.size4()?;
    let mut crops = Vec::with_capacity(batch as usize);
    for row in 0..batch {
        let length = (whole as f64 * rng.random_range(MIN_CROP..=1.0)).round() as i64;
        let (top, left) = (rng.random_range(0..=whole - length), rng.random_range(0..=whole - length));
        let crop = x.f_narrow(0, row, 1)?.f_narrow(2, top, length)?.f_narrow(3, left, length)?;
        let crop = Pixels::resize(&crop, side)?;
        crops.push(if rng.random_bool(0.5) { crop.f_flip([3])? } else { crop });
    }
    Ok(Tensor::f_cat(&crops, 0)?)
}

/// The inputs as the one kind that the network reads.
fn all<'a, T>(
    inputs: &[&'a Input],
    wanted: &str,
    pick: impl Fn(&'a Input) -> Option<&'a T>,
) -> Result<Vec<&'a T>, ModelError> {
    inputs.iter().map(|input| pick(input).ok_or_else(|| wrong_kind(wanted, input))).collect()
}

fn texts<'a>(inputs: &[&'a Input]) -> Result<Vec<&'a WordVectors>, ModelError> {
    all(inputs, "text", |input| if let Input::Text(words) = input { Some(words) } else { None })
}

fn clips<'a>(inputs: &[&'a Input]) -> Result<Vec<&'a AudioInput>, ModelError> {
    all(inputs, "audio", |input| if let Input::Audio(clip) = input { Some(clip.as_ref()) } else { None })
}

fn pictures<'a>(inputs: &[&'a Input]) -> Result<Vec<&'a Rgb224>, ModelError> {
    all(inputs, "image", |input| if let Input::Image(picture) = input { Some(picture) } else { None })
}

fn vectors<'a>(inputs: &[&'a Input]) -> Result<Vec<&'a FusionInput>, ModelError> {
    all(inputs, "vectors", |input| if let Input::Vectors(vectors) = input { Some(vectors.as_ref()) } else { None })
}

fn wrong_kind(wanted: &str, found: &Input) -> ModelError {
    ModelError::Input(format!("an input of kind {} for a network that reads {wanted}", found.kind()))
}
