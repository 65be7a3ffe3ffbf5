//! Vectors of words, which the text network reads in place of the paper's fastText vectors.

use tch::{Kind, Tensor};

use crate::bases::{Base, Bases};
use crate::checkpoint::{Checkpoint, StoredWeights};
use crate::device::DeviceChoice;
use crate::error::ModelError;
use crate::manifest::{Manifest, roles};
use crate::networks::MiniLm;
pub use crate::networks::WordFeatures;
use crate::text::{Pieces, TextInput};
use crate::trunk::{Trunk, TrunkPrecision};

/// Layers of the sentence encoder whose outputs are put side by side: the last knows what a text is about, one in the middle
/// still knows its words (docs/results/text.md).
pub(crate) const LAYERS: [usize; 2] = [4, 6];

/// Where the vectors of words come from.
pub struct WordVectors {
    source: Source,
    device: tch::Device,
}

enum Source {
    /// A sentence encoder: every word in the light of its text.
    Trunk(Box<Trunk>),
    /// The encoder's table of pieces alone, `[pieces, 384]` f16: every word by itself.
    Table(Tensor),
}

impl WordVectors {
    /// Those that a checkpoint's text network reads.
    ///
    /// # Errors
    /// A base that is missing or damaged.
    pub fn of_checkpoint(checkpoint: &Checkpoint, device: DeviceChoice) -> Result<Self, ModelError> {
        Self::open(checkpoint.manifest(), checkpoint.bases(), device, None)
    }

    /// Those of a manifest; in the precision that the device does best unless another is asked for.
    pub fn open(
        manifest: &Manifest,
        bases: &Bases,
        device: DeviceChoice,
        precision: Option<TrunkPrecision>,
    ) -> Result<Self, ModelError> {
        let resolved = device.resolve()?;
        let base = manifest.base(roles::TRUNK)?;
        let source = match manifest.reads_with_trunk() {
            true => {
                let precision = precision.unwrap_or(TrunkPrecision::best(device, resolved));
                Source::Trunk(Box::new(Trunk::of_base(bases, base, device, precision)?))
            }
            false => Source::Table(table(bases, base)?.f_to_device(resolved)?),
        };
        Ok(Self { source, device: resolved })
    }

    /// Width of a vector.
    pub fn width(&self) -> i64 {
        match &self.source {
            Source::Trunk(_) => LAYERS.len() as i64 * MiniLm::WIDTH,
            Source::Table(_) => MiniLm::WIDTH,
        }
    }

    /// The same of those that a manifest names.
    pub(crate) fn width_of(manifest: &Manifest) -> i64 {
        if manifest.reads_with_trunk() { LAYERS.len() as i64 * MiniLm::WIDTH } else { MiniLm::WIDTH }
    }

    /// Where the vectors are.
    pub fn device(&self) -> tch::Device {
        self.device
    }

    /// The words of each post, in order. A word's vector is the mean over its pieces; zeros for a word without one.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a text without pieces.
    pub fn of(&self, inputs: &[&TextInput]) -> Result<Vec<WordFeatures>, ModelError> {
        let _guard = tch::no_grad_guard();
        let texts: Vec<&Pieces> = inputs
            .iter()
            .flat_map(|input| std::iter::once(&input.protagonist).chain(&input.supporting))
            .map(|text| &text.pieces)
            .collect();
        if texts.iter().any(|text| text.len() < 2) {
            return Err(ModelError::Input("a text without pieces".to_owned()));
        }
        let mut read = self.read(&texts)?.into_iter();
        let mut next = |pieces: &Pieces, words: usize| -> Result<(Tensor, Option<Tensor>), ModelError> {
            let (vectors, sentence) = read.next().ok_or_else(|| ModelError::Input("a text was not read".to_owned()))?;
            Ok((mean_per_word(&vectors, pieces, words)?, sentence))
        };
        let mut features = Vec::with_capacity(inputs.len());
        for input in inputs {
            let (protagonist, sentence) = next(&input.protagonist.pieces, input.protagonist.words.len())?;
            let mut of_post = WordFeatures { protagonist, supporting: None, sentence };
            if let Some(text) = &input.supporting {
                let (supporting, other) = next(&text.pieces, text.words.len())?;
                let lengths = [input.protagonist.pieces.len(), text.pieces.len()];
                of_post.sentence = together(of_post.sentence, other, lengths)?;
                of_post.supporting = Some(supporting);
            }
            features.push(of_post);
        }
        Ok(features)
    }

    /// `[pieces, width]` of each text, the enclosing two included, and the vectors of the texts.
    fn read(&self, texts: &[&Pieces]) -> Result<Vec<(Tensor, Option<Tensor>)>, ModelError> {
        match &self.source {
            Source::Trunk(trunk) => {
                let outputs = trunk.encode(texts, &LAYERS)?;
                outputs.into_iter().map(|text| Ok((Tensor::f_cat(&text.layers, 1)?, Some(text.sentence)))).collect()
            }
            Source::Table(table) => {
                let rows = |text: &&Pieces| {
                    let ids: Vec<i64> = text.ids().iter().map(|&id| i64::from(id)).collect();
                    let ids = Tensor::f_from_slice(&ids)?.f_to_device(self.device)?;
                    Ok((table.f_index_select(0, &ids)?.f_to_kind(Kind::Float)?, None))
                };
                texts.iter().map(rows).collect()
            }
        }
    }
}

/// The encoder's table of word pieces, `[pieces, 384]`.
pub(crate) fn table(bases: &Bases, base: &Base) -> Result<Tensor, ModelError> {
    let bytes = bases.read(base)?;
    MiniLm::word_table(&StoredWeights::of_base(base, &bytes)?)
}

/// `[pieces, width]` to `[words, width]`.
fn mean_per_word(vectors: &Tensor, pieces: &Pieces, words: usize) -> Result<Tensor, ModelError> {
    let (mut rows, mut places, mut counts) = (Vec::new(), Vec::new(), vec![0.0_f32; words]);
    for (row, word) in pieces.words().enumerate() {
        if let Some(word) = word.filter(|&word| word < words) {
            rows.push(row as i64);
            places.push(word as i64);
            counts[word] += 1.0;
        }
    }
    let device = vectors.device();
    let index = |values: &[i64]| Ok::<_, ModelError>(Tensor::f_from_slice(values)?.f_to_device(device)?);
    let width = vectors.size2()?.1;
    let sums = Tensor::f_zeros([words as i64, width], (Kind::Float, device))?;
    let sums = sums.f_index_add(0, &index(&places)?, &vectors.f_index_select(0, &index(&rows)?)?)?;
    let counts: Vec<f32> = counts.into_iter().map(|count| count.max(1.0)).collect();
    Ok(sums.f_div(&Tensor::f_from_slice(&counts)?.f_view([-1, 1])?.f_to_device(device)?)?)
}

/// The mean over the pieces of both.
fn together(first: Option<Tensor>, second: Option<Tensor>, pieces: [usize; 2]) -> Result<Option<Tensor>, ModelError> {
    let (Some(first), Some(second)) = (first, second) else { return Ok(None) };
    let [a, b] = pieces.map(|pieces| pieces as f64);
    Ok(Some(first.f_mul_scalar(a / (a + b))?.f_add(&second.f_mul_scalar(b / (a + b))?)?))
}

#[cfg(test)]
#[path = "word_vectors_tests.rs"]
mod tests;
