//! The text network on a CPU: vectors of words as slices, wherever they come from, and attBiGRU over them.

use std::cell::RefCell;

use half::f16;
use half::slice::HalfFloatSliceExt as _;
use tch::Device;

use super::trunk_on_openvino::{TrunkOnOpenVino, TrunkRows};
use crate::checkpoint::Checkpoint;
use crate::cpu_time::{Clock, cost_ms};
use crate::device::DeviceChoice;
use crate::error::ModelError;
use crate::manifest::roles;
use crate::networks::{AttBiGru, AttBiGruOnSlices, MiniLm, SemanticOnSlices, SemanticSpace, WordsOnSlices};
use crate::parameters::to_vec;
use crate::placement::{Contest, Placement};
use crate::text::{Pieces, ReadText, TextInput};
use crate::trunk::{Trunk, TrunkPrecision};
use crate::vectors::Encoded;
use crate::word_vectors::{LAYERS, table};

const WIDTH: usize = MiniLm::WIDTH as usize;
/// Of the two batches that engines are measured with: one text, and some.
const MEASURED_TEXTS: [usize; 2] = [1, 6];
const MEASURED_WORDS: u32 = 20;

/// Where the vectors of words come from.
enum Source {
    OpenVino(Box<RefCell<TrunkOnOpenVino>>),
    Libtorch(Box<Trunk>),
    /// `[pieces, 384]`.
    Table(Vec<f16>),
}

/// What the text network is on a CPU.
pub(super) struct TextOnSlices {
    source: Source,
    network: AttBiGruOnSlices,
    semantic: Option<SemanticOnSlices>,
}

/// One post, encoded.
pub(super) struct PostOnSlices {
    pub encoded: Encoded,
    /// Logits of the BiGRU and of the bag.
    pub parts: [f32; 2],
    pub semantic: Option<Vec<f32>>,
}

impl TextOnSlices {
    /// `contest` is that of attBiGRU.
    ///
    /// # Errors
    /// A base that is missing or damaged.
    pub fn new(
        checkpoint: &Checkpoint,
        placement: Placement,
        contest: &Contest<'_>,
        network: &AttBiGru,
        semantic: Option<&SemanticSpace>,
    ) -> Result<Self, ModelError> {
        let _guard = tch::no_grad_guard();
        Ok(Self {
            source: Source::of_checkpoint(checkpoint, placement)?,
            network: contest.own(|precision| network.on_slices(precision), said_of_made_up_words)?,
            semantic: semantic.map(SemanticSpace::on_slices).transpose()?,
        })
    }

    /// Each post with its bag's logit.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a text without words or pieces.
    pub fn encode(&self, posts: &[(&TextInput, f32)]) -> Result<Vec<PostOnSlices>, ModelError> {
        let words = self.source.words(&posts.iter().map(|(post, _)| *post).collect::<Vec<_>>())?;
        self.encode_words(words, posts)
    }

    fn encode_words(
        &self,
        words: Vec<WordsOnSlices>,
        posts: &[(&TextInput, f32)],
    ) -> Result<Vec<PostOnSlices>, ModelError> {
        let semantic: Vec<Option<Vec<f32>>> =
            words.iter().map(|post| self.semantic.as_ref()?.reduce(post.sentence.as_deref()?)).collect();
        let rows = words.into_iter().zip(posts).map(|(words, (post, bag))| (words, *bag, post.lexicon)).collect();
        let rows = self.network.forward(rows)?.into_iter().zip(semantic);
        Ok(rows
            .map(|(row, semantic)| PostOnSlices {
                encoded: Encoded { vector: row.vector, attention: row.attention },
                parts: row.parts,
                semantic,
            })
            .collect())
    }
}

impl TextOnSlices {
    /// As [`TextNetwork::read_words`](super::TextNetwork).
    pub fn read_words(&self, posts: &[&TextInput]) -> Result<(), ModelError> {
        self.source.words(posts).map(drop)
    }

    /// As [`TextNetwork::cost_of_head`](super::TextNetwork), in CPU time.
    pub fn cost_of_head(&self, posts: &[(&TextInput, f32)], batch: usize) -> Result<f64, ModelError> {
        let words = self.source.words(&posts.iter().map(|(post, _)| *post).collect::<Vec<_>>())?;
        cost_ms(Clock::Cpu, batch, || self.encode_words(words.clone(), posts).map(drop))
    }
}

impl Source {
    fn of_checkpoint(checkpoint: &Checkpoint, placement: Placement) -> Result<Self, ModelError> {
        let (manifest, bases) = (checkpoint.manifest(), checkpoint.bases());
        let base = manifest.base(roles::TRUNK)?;
        if !manifest.reads_with_trunk() {
            let table = table(bases, base)?.f_contiguous()?.f_view([-1])?;
            return Ok(Self::Table(Vec::<f16>::try_from(&table)?));
        }
        let version = checkpoint.model_version();
        let contest = Contest::new(&version, "text_trunk", placement);
        let open = |precision| Trunk::of_base(bases, base, DeviceChoice::Cpu, precision);
        contest.choose(
            || Ok(Self::Libtorch(Box::new(open(TrunkPrecision::best(placement, Device::Cpu))?))),
            |library, precision| {
                let exact = open(TrunkPrecision::Float)?;
                let network = TrunkOnOpenVino::new(library, precision, exact.network(), &LAYERS)?;
                Ok(Self::OpenVino(Box::new(RefCell::new(network))))
            },
            |source| {
                let mut rows = Vec::new();
                for texts in MEASURED_TEXTS {
                    let text = Pieces::of_unknown_words(MEASURED_WORDS);
                    rows.extend(source.read(&vec![&text; texts])?.into_iter().map(|text| text.layers));
                }
                Ok(rows)
            },
        )
    }

    /// The words of each post, in order. A word's vector is the mean over its pieces; zeros for a word without one.
    fn words(&self, posts: &[&TextInput]) -> Result<Vec<WordsOnSlices>, ModelError> {
        let read_texts = || posts.iter().flat_map(|post| std::iter::once(&post.protagonist).chain(&post.supporting));
        let texts: Vec<&Pieces> = read_texts().map(|text| &text.pieces).collect();
        if texts.iter().any(|text| text.len() < 2) {
            return Err(ModelError::Input("a text without pieces".to_owned()));
        }
        let mut read = self.read(&texts)?.into_iter();
        let mut next = |text: &ReadText| -> Result<(Vec<f32>, Vec<f32>), ModelError> {
            let rows = read.next().ok_or_else(|| ModelError::Input("a text was not read".to_owned()))?;
            Ok((mean_per_word(&rows.layers, &text.pieces, text.words.len()), rows.sentence))
        };
        let mut words = Vec::with_capacity(posts.len());
        for post in posts {
            let (protagonist, mut sentence) = next(&post.protagonist)?;
            let mut supporting = Vec::new();
            if let Some(text) = &post.supporting {
                let other;
                (supporting, other) = next(text)?;
                let [own, others] = [&post.protagonist, text].map(|text| text.pieces.len() as f32);
                let mean = |(a, b): (&mut f32, &f32)| *a = (*a * own + b * others) / (own + others);
                sentence.iter_mut().zip(&other).for_each(mean);
            }
            let sentence = (!sentence.is_empty()).then_some(sentence);
            words.push(WordsOnSlices { protagonist, supporting, sentence });
        }
        Ok(words)
    }

    /// `[pieces, width]` of each text, the enclosing two included, and the vectors of the texts; empty ones from a table.
    fn read(&self, texts: &[&Pieces]) -> Result<Vec<TrunkRows>, ModelError> {
        match self {
            Self::OpenVino(trunk) => trunk.borrow_mut().encode(texts),
            Self::Libtorch(trunk) => {
                let row = |text: crate::trunk::TrunkOutput| {
                    let layers = tch::Tensor::f_cat(&text.layers, 1)?;
                    Ok(TrunkRows { layers: to_vec(&layers)?, sentence: to_vec(&text.sentence)? })
                };
                trunk.encode(texts, &LAYERS)?.into_iter().map(row).collect()
            }
            Self::Table(table) => texts.iter().map(|text| rows_of_table(table, text)).collect(),
        }
    }
}

/// What the network says of some texts of which no two words are alike: vector, attention, logits.
fn said_of_made_up_words(network: &AttBiGruOnSlices) -> Result<Vec<Vec<f32>>, ModelError> {
    let text = |words: usize| {
        let protagonist = (0..words * network.width()).map(|at| (at as f32 * 0.37).sin()).collect();
        (WordsOnSlices { protagonist, supporting: Vec::new(), sentence: None }, 0.0, 0.0)
    };
    let rows = network.forward([1, 6, MEASURED_WORDS as usize].map(text).into())?;
    Ok(rows.into_iter().map(|row| [row.vector.as_slice(), &row.attention, &row.parts].concat()).collect())
}

fn rows_of_table(table: &[f16], text: &Pieces) -> Result<TrunkRows, ModelError> {
    let mut layers = vec![0.0; text.len() * WIDTH];
    for (row, &id) in layers.chunks_exact_mut(WIDTH).zip(text.ids()) {
        let first = id as usize * WIDTH;
        let found = table.get(first..first + WIDTH);
        found.ok_or_else(|| ModelError::Input(format!("piece {id} is in no table")))?.convert_to_f32_slice(row);
    }
    Ok(TrunkRows { layers, sentence: Vec::new() })
}

/// `[pieces, width]` to `[words, width]`.
fn mean_per_word(vectors: &[f32], pieces: &Pieces, words: usize) -> Vec<f32> {
    let width = vectors.len() / pieces.len().max(1);
    let (mut sums, mut counts) = (vec![0.0; words * width], vec![0.0_f32; words]);
    for (row, word) in vectors.chunks_exact(width.max(1)).zip(pieces.words()) {
        if let Some(word) = word.filter(|&word| word < words) {
            sums[word * width..][..width].iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            counts[word] += 1.0;
        }
    }
    for (sum, count) in sums.chunks_exact_mut(width.max(1)).zip(counts) {
        if count > 1.0 {
            sum.iter_mut().for_each(|value| *value /= count);
        }
    }
    sums
}
