//! The text networks of the paper, section 3.1.1, and lyricsHAN.

use jtav_model::ModelError;
use jtav_model::layers::{AdditiveAttention, BiGru, Linear};
use jtav_model::parameters::Scope;
use tch::{Device, Tensor};

use super::forward::Forward;
use super::text_authors::AuthorsText;
use super::words::{Reading, WordBatch};
use crate::zoo::input::WordVectors;

/// Hidden values per direction (the paper's M); Yang et al. use as many.
const HIDDEN: i64 = 50;

/// A text network of the zoo.
pub(crate) struct TextEncoder {
    form: Form,
    dimension: i64,
}

enum Form {
    Paper(PaperText),
    Authors(Box<AuthorsText>),
    Han(LyricsHan),
}

impl TextEncoder {
    /// docs/networks.md, "Text in the profile `paper`"; `gated` for attBiGRU.
    pub fn paper(scope: &Scope, dimension: i64, gated: bool) -> Result<Self, ModelError> {
        Ok(Self { form: Form::Paper(PaperText::new(scope, dimension, gated)?), dimension })
    }

    /// docs/networks.md, "Text in the profile `authors-code`"; `gated` for attBiGRU.
    pub fn authors(scope: &Scope, dimension: i64, gated: bool, dropout: f64) -> Result<Self, ModelError> {
        Ok(Self { form: Form::Authors(Box::new(AuthorsText::new(scope, dimension, gated, dropout)?)), dimension })
    }

    pub fn lyrics_han(scope: &Scope, dimension: i64) -> Result<Self, ModelError> {
        Ok(Self { form: Form::Han(LyricsHan::new(scope, dimension)?), dimension })
    }

    pub fn forward(&self, posts: &[&WordVectors], device: Device, train: bool) -> Result<Forward, ModelError> {
        let reading = match self.form {
            Form::Paper(_) => Reading::Cut,
            Form::Authors(_) => Reading::Fixed,
            Form::Han(_) => Reading::Lines,
        };
        let batch = WordBatch::new(posts, self.dimension, reading, device)?;
        match &self.form {
            Form::Paper(network) => network.forward(&batch),
            Form::Authors(network) => network.forward(&batch, train),
            Form::Han(network) => network.forward(&batch),
        }
    }
}

/// `T = X * g`, normalised, through a BiGRU and attention (paper, equation 1).
///
/// `g` is the mean of the supporting words, and 1 for a post without any: zeros would wipe the lyrics out. Words
/// gated by a mean are some ten times smaller than words gated by 1, which would tell posts with a caption from
/// those without by their size; normalising each word takes that away (docs/networks.md, "Text"). It has no
/// weights, so that the count stays the paper's.
struct PaperText {
    gated: bool,
    gru: BiGru,
    attention: AdditiveAttention,
    head: Linear,
    dimension: i64,
}

impl PaperText {
    /// Gated words have a variance near 1e-4; torch's usual 1e-5 would leave a part of the difference in size.
    const EPSILON: f64 = 1e-8;

    fn new(scope: &Scope, dimension: i64, gated: bool) -> Result<Self, ModelError> {
        let gru = BiGru::new(&scope.sub("gru"), dimension, HIDDEN)?;
        gru.flatten(dimension)?;
        Ok(Self {
            gated,
            gru,
            attention: AdditiveAttention::new(&scope.sub("attention"), 2 * HIDDEN)?,
            head: Linear::new(&scope.sub("head"), 2 * HIDDEN, 1)?,
            dimension,
        })
    }

    fn forward(&self, batch: &WordBatch) -> Result<Forward, ModelError> {
        let mut words = batch.words.shallow_clone();
        if let (true, Some((mean, present))) = (self.gated, batch.supporting_mean()?) {
            let gate = mean.f_add(&present.f_neg()?.f_add_scalar(1.0)?)?;
            words = words.f_mul(&gate.f_unsqueeze(1)?)?;
        }
        let none: Option<&Tensor> = None;
        let words = words.f_layer_norm([self.dimension], none, none, Self::EPSILON, true)?;
        let states = self.gru.forward(&words, &batch.lengths)?;
        let weights = self.attention.weights(&states, &batch.lengths)?;
        Forward::of(AdditiveAttention::pool(&weights, &states)?, &self.head)
    }
}

/// Words to lines to a text, each by a BiGRU and attention (Yang et al. 2016, on lyrics Tsaptsinos 2017).
struct LyricsHan {
    word_gru: BiGru,
    word_attention: AdditiveAttention,
    line_gru: BiGru,
    line_attention: AdditiveAttention,
    head: Linear,
}

impl LyricsHan {
    fn new(scope: &Scope, dimension: i64) -> Result<Self, ModelError> {
        let word_gru = BiGru::new(&scope.sub("word_gru"), dimension, HIDDEN)?;
        word_gru.flatten(dimension)?;
        let line_gru = BiGru::new(&scope.sub("line_gru"), 2 * HIDDEN, HIDDEN)?;
        line_gru.flatten(2 * HIDDEN)?;
        Ok(Self {
            word_gru,
            word_attention: AdditiveAttention::new(&scope.sub("word_attention"), 2 * HIDDEN)?,
            line_gru,
            line_attention: AdditiveAttention::new(&scope.sub("line_attention"), 2 * HIDDEN)?,
            head: Linear::new(&scope.sub("head"), 2 * HIDDEN, 1)?,
        })
    }

    fn forward(&self, batch: &WordBatch) -> Result<Forward, ModelError> {
        let lines = regrouped(&batch.words, &word_places(batch))?;
        let words_per_line: Vec<i64> = batch.lines.iter().flatten().copied().collect();
        let states = self.word_gru.forward(&lines, &words_per_line)?;
        let weights = self.word_attention.weights(&states, &words_per_line)?;
        let lines = AdditiveAttention::pool(&weights, &states)?.f_unsqueeze(1)?;

        let lines_per_post: Vec<i64> = batch.lines.iter().map(|lines| lines.len() as i64).collect();
        let posts = regrouped(&lines, &line_places(&lines_per_post))?;
        let states = self.line_gru.forward(&posts, &lines_per_post)?;
        let weights = self.line_attention.weights(&states, &lines_per_post)?;
        Forward::of(AdditiveAttention::pool(&weights, &states)?, &self.head)
    }
}

/// For each line of each post the places of its words in `[batch * longest]`.
fn word_places(batch: &WordBatch) -> Vec<Vec<i64>> {
    let longest = batch.words.size()[1];
    let mut places = Vec::new();
    for (post, lines) in batch.lines.iter().enumerate() {
        let mut next = post as i64 * longest;
        for &words in lines {
            places.push((next..next + words).collect());
            next += words;
        }
    }
    places
}

/// For each post the places of its lines among all lines.
fn line_places(lines_per_post: &[i64]) -> Vec<Vec<i64>> {
    let mut next = 0;
    let mut places = Vec::with_capacity(lines_per_post.len());
    for &lines in lines_per_post {
        places.push((next..next + lines).collect());
        next += lines;
    }
    places
}

/// `[groups, longest, width]` of `[a, b, width]`: the rows of each group, then zeros.
fn regrouped(x: &Tensor, places: &[Vec<i64>]) -> Result<Tensor, ModelError> {
    let (a, b, width) = x.size3()?;
    let zero = Tensor::f_zeros([1, width], (x.kind(), x.device()))?;
    let rows = Tensor::f_cat(&[x.f_reshape([a * b, width])?, zero], 0)?;
    gather(&rows, &places_tensor(places, a * b, x.device())?)
}

/// `[rows, longest]` indices, each row filled up with `nothing`.
fn places_tensor(places: &[Vec<i64>], nothing: i64, device: Device) -> Result<Tensor, ModelError> {
    let longest = places.iter().map(Vec::len).max().unwrap_or(0);
    let mut flat = Vec::with_capacity(places.len() * longest);
    for row in places {
        flat.extend_from_slice(row);
        flat.resize(flat.len() + longest - row.len(), nothing);
    }
    Ok(Tensor::f_from_slice(&flat)?.f_view([places.len() as i64, longest as i64])?.f_to_device(device)?)
}

/// `[batch, longest, width]`: the rows of `[words, width]` at `[batch, longest]` places.
fn gather(words: &Tensor, places: &Tensor) -> Result<Tensor, ModelError> {
    let (batch, longest) = places.size2()?;
    Ok(words.f_index_select(0, &places.f_view([-1])?)?.f_view([batch, longest, -1])?)
}
