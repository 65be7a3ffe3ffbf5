//! Deletion test of the explanations: does what the networks say they looked at decide what they say?
//!
//! ```text
//! input ─► network ─► attention ─► top fifth taken out ─► |change of the logit| ┐
//!    └──────────────► random fifth, and the same pattern elsewhere, taken out ──┴─► difference, paired
//! ```
//!
//! The logit is the modality's own, its head on its vector: attention explains that network alone, and the fused logit
//! bounds and weighs it and adds what the other parts say. Words of the protagonist are struck out, frames of a clip
//! set to -80 dB, cells of a picture painted in its mean colour. The test is that of "erasure" (Serrano and Smith
//! 2019, section 4) with two comparisons: random positions, and, since one gap of five frames does less than five
//! gaps of one, the very pattern of the attended positions at another place.

mod figures;
mod places;
mod view;

use std::collections::HashSet;
use std::path::Path;

use jtav_model::{
    AudioInput, AudioNetwork, Checkpoint, DeviceChoice, Encoded, FusionInput, FusionNetwork, IMAGE_CELLS, ImageNetwork,
    Modality, ModelError, Rgb224, TextFrontEnd, TextInput, TextNetwork,
};
use serde::Serialize;

pub use figures::{Changes, Comparison, DeletionFigures, Settings, changes};
pub use places::{Shape, how_many, moved, random, top};

use jtav_trainer::dataset::{DataPack, Post, Split};
use jtav_trainer::features::Features;
use jtav_trainer::{Progress, parts, picture_input};

/// A fifth of fewer words is less than one.
pub const FEWEST_WORDS: usize = 5;
/// The same for the time steps of a clip; five are 1.9 s.
const FEWEST_STEPS: usize = 5;
const CELLS: Shape = Shape::Grid { rows: 7, columns: IMAGE_CELLS / 7 };

/// Figures of a checkpoint's explanations on one split; null for a modality that the split has not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeletionReport {
    /// How it was made.
    #[serde(flatten)]
    pub settings: Settings,
    /// Words.
    pub text: Option<DeletionFigures>,
    /// Time steps of 0.37 s.
    pub audio: Option<DeletionFigures>,
    /// Cells.
    pub image: Option<DeletionFigures>,
}

impl DeletionReport {
    /// The modalities that were tested, with their names.
    pub fn modalities(&self) -> impl Iterator<Item = (&'static str, &DeletionFigures)> {
        let all = [("text", &self.text), ("audio", &self.audio), ("image", &self.image)];
        all.into_iter().filter_map(|(name, figures)| Some((name, figures.as_ref()?)))
    }
}

/// Tests the explanations of every text, clip and picture of a split, through the networks that serve.
///
/// A file that several posts share counts once: its logit does not depend on the post. Blocking; about as many forward
/// passes as 22 evaluations.
///
/// # Errors
/// A device that is not there, a device fault.
pub fn deletion_test(
    checkpoint: &Checkpoint,
    pack: &DataPack,
    features: &Features,
    split: Split,
    device: DeviceChoice,
    settings: Settings,
    progress: &dyn Progress,
) -> anyhow::Result<DeletionReport> {
    let heads = Heads(FusionNetwork::from_checkpoint(checkpoint, device)?);
    let posts: Vec<&Post> = pack.split(split).collect();

    let front_end = TextFrontEnd::of_checkpoint(checkpoint)?;
    let texts = posts.iter().map(|post| front_end.input(&parts(post))).collect::<Result<Vec<_>, _>>()?;
    let texts = texts.into_iter().flatten().collect();
    let network = TextNetwork::from_checkpoint(checkpoint, device)?;
    let text = heads.test(&network, texts, settings, progress)?;

    let clips = files(&posts, |post| Some((&*post.audio.as_ref()?.path, features.clip(post.audio.as_ref()?)?)));
    let clips = clips.map(|clip| clip.input()).collect::<Result<Vec<_>, _>>()?;
    let network = AudioNetwork::from_checkpoint(checkpoint, device)?;
    let audio = heads.test(&network, clips, settings, progress)?;

    let pictures = files(&posts, |post| Some((&*post.image.as_ref()?.path, features.picture(post.image.as_ref()?)?)));
    let pictures = pictures.map(|pixels| picture_input(pixels)).collect::<anyhow::Result<Vec<_>>>()?;
    let network = ImageNetwork::from_checkpoint(checkpoint, device)?;
    let image = heads.test(&network, pictures, settings, progress)?;
    Ok(DeletionReport { settings, text, audio, image })
}

/// The features of one medium of the posts, each file once, in the order of the posts.
fn files<'a, F>(
    posts: &'a [&'a Post],
    of: impl Fn(&'a Post) -> Option<(&'a Path, F)> + 'a,
) -> impl Iterator<Item = F> + 'a {
    let mut seen = HashSet::new();
    posts
        .iter()
        .filter_map(move |post| of(post))
        .filter_map(move |(path, feature)| seen.insert(path).then_some(feature))
}

/// A network whose explanations are tested.
trait Explained {
    type Input;
    const MODALITY: Modality;
    fn explain(&self, inputs: &[Self::Input]) -> Result<Vec<Encoded>, ModelError>;
    /// Positions of the attention that may be taken out, and how they lie; `None` for an input that is too short.
    fn positions(input: &Self::Input) -> Option<(Vec<usize>, Shape)>;
    /// The input without these positions of the attention.
    fn without(input: &Self::Input, positions: &[usize]) -> Option<Self::Input>;
}

impl Explained for TextNetwork {
    type Input = TextInput;
    const MODALITY: Modality = Modality::Text;

    fn explain(&self, inputs: &[TextInput]) -> Result<Vec<Encoded>, ModelError> {
        Ok(self.encode(inputs)?.into_iter().map(|text| text.encoded).collect())
    }

    fn positions(input: &TextInput) -> Option<(Vec<usize>, Shape)> {
        let words = input.word_count();
        (words >= FEWEST_WORDS).then(|| ((0..words).collect(), Shape::Line(words)))
    }

    fn without(input: &TextInput, positions: &[usize]) -> Option<TextInput> {
        input.without_words(positions)
    }
}

impl Explained for AudioNetwork {
    type Input = AudioInput;
    const MODALITY: Modality = Modality::Audio;

    fn explain(&self, inputs: &[AudioInput]) -> Result<Vec<Encoded>, ModelError> {
        self.encode(inputs)
    }

    fn positions(input: &AudioInput) -> Option<(Vec<usize>, Shape)> {
        let steps = input.sounding_steps();
        let shape = Shape::Line(steps.len());
        (steps.len() >= FEWEST_STEPS).then_some((steps, shape))
    }

    fn without(input: &AudioInput, positions: &[usize]) -> Option<AudioInput> {
        Some(input.without_steps(positions))
    }
}

impl Explained for ImageNetwork {
    type Input = Rgb224;
    const MODALITY: Modality = Modality::Image;

    fn explain(&self, inputs: &[Rgb224]) -> Result<Vec<Encoded>, ModelError> {
        self.encode(inputs)
    }

    fn positions(_input: &Rgb224) -> Option<(Vec<usize>, Shape)> {
        Some(((0..CELLS.len()).collect(), CELLS))
    }

    fn without(input: &Rgb224, positions: &[usize]) -> Option<Rgb224> {
        Some(input.without_cells(positions))
    }
}

/// The encoders' heads, as the fusion carries them.
struct Heads(FusionNetwork);

impl Heads {
    fn test<N: Explained>(
        &self,
        network: &N,
        inputs: Vec<N::Input>,
        settings: Settings,
        progress: &dyn Progress,
    ) -> anyhow::Result<Option<DeletionFigures>> {
        let name = N::MODALITY.name();
        progress.start(&format!("deletion test, {name}"), inputs.len() as u64);
        let mut rng = figures::generator(settings);
        let (mut tested, mut left_out) = (Vec::with_capacity(inputs.len()), 0);
        for input in &inputs {
            match N::positions(input) {
                Some((positions, shape)) => {
                    let explained = network.explain(std::slice::from_ref(input))?;
                    let attention = explained.first().map(|encoded| encoded.attention.as_slice()).unwrap_or_default();
                    let weight = |position: &usize| attention.get(*position).copied().unwrap_or(0.0);
                    let weights: Vec<f32> = positions.iter().map(weight).collect();
                    let score = |removals: &[Vec<usize>]| self.logits_without(network, input, &positions, removals);
                    tested.push(changes(&weights, shape, settings, &mut rng, score)?);
                }
                None => left_out += 1,
            }
            progress.advance(1);
        }
        let figures = DeletionFigures::of(&tested, left_out, settings);
        progress.finish(&figures.as_ref().map_or_else(|| format!("no {name}"), summary));
        Ok(figures)
    }

    /// The modality's own logit without each list of places in `positions`.
    fn logits_without<N: Explained>(
        &self,
        network: &N,
        input: &N::Input,
        positions: &[usize],
        removals: &[Vec<usize>],
    ) -> anyhow::Result<Vec<f64>> {
        let without = |places: &Vec<usize>| {
            let out: Vec<usize> = places.iter().filter_map(|&place| positions.get(place).copied()).collect();
            N::without(input, &out).ok_or_else(|| anyhow::anyhow!("nothing is left without {out:?}"))
        };
        let inputs = removals.iter().map(without).collect::<anyhow::Result<Vec<_>>>()?;
        let vectors = network.explain(&inputs)?.into_iter().map(|encoded| alone(N::MODALITY, encoded.vector));
        let logits = self.0.own_logits(&vectors.collect::<Vec<_>>())?;
        Ok(logits.iter().map(|logits| f64::from(logits[N::MODALITY as usize])).collect())
    }
}

fn alone(modality: Modality, vector: Vec<f32>) -> FusionInput {
    let mut input = FusionInput::default();
    match modality {
        Modality::Text => input.text = Some(vector),
        Modality::Audio => input.audio = Some(vector),
        Modality::Image => input.image = Some(vector),
    }
    input
}

fn summary(figures: &DeletionFigures) -> String {
    let ratio = |comparison: Comparison| comparison.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    format!(
        "{} inputs, top over random {}, over moved {}: {}",
        figures.n,
        ratio(figures.random),
        ratio(figures.moved),
        if figures.passes { "passes" } else { "does not pass" }
    )
}
