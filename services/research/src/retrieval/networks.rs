//! The networks of image2song on frozen vectors (`jtav-spec` 5.2, 6.3, 8.6): the joint scorer reads a picture and a song
//! at once, the two towers read them apart.

use tch::{Kind, Tensor};

use super::cmf::Pairs;
use crate::layers::{BatchNorm, Linear, unit_rows};
use crate::parameters::{Init, Scope};
use crate::zoo::{Profile, RetrievalInputs, RetrievalSettings, RetrievalWidths};
use crate::{Modality, ModelError};

/// Units of the authors' layer between `u` and the last unit. When all of them are dead, every song has one score.
const AUTHORS_HIDDEN: i64 = 10;
/// Cosines are multiplied by this at the start (Radford et al. 2021 begin at 1 / 0.07).
const FIRST_SHARPNESS: f32 = 14.0;
/// Largest factor, so that the softmax of the loss does not saturate.
const MAX_SHARPNESS: f64 = 100.0;

/// Queries on the device.
pub(crate) struct QueryTable {
    /// `[queries, width]`.
    pub image: Tensor,
    /// `[queries, width]`, zeros where there is none, and `[queries, 1]`: 1 where there is one, else 0.
    pub caption: Option<(Tensor, Tensor)>,
}

impl QueryTable {
    /// The rows with these indices (`i64`).
    pub fn rows(&self, at: &Tensor) -> Result<Self, ModelError> {
        let caption = match &self.caption {
            Some((values, present)) => Some((values.f_index_select(0, at)?, present.f_index_select(0, at)?)),
            None => None,
        };
        Ok(Self { image: self.image.f_index_select(0, at)?, caption })
    }
}

/// Songs on the device; `None` for a part that the network does not read.
pub(crate) struct SongTable {
    /// `[songs, width]`.
    pub lyrics: Option<Tensor>,
    /// `[songs, width]`.
    pub audio: Option<Tensor>,
}

impl SongTable {
    /// The rows with these indices (`i64`).
    pub fn rows(&self, at: &Tensor) -> Result<Self, ModelError> {
        let rows = |part: &Option<Tensor>| part.as_ref().map(|part| part.f_index_select(0, at)).transpose();
        Ok(Self { lyrics: rows(&self.lyrics)?, audio: rows(&self.audio)? })
    }
}

/// Batch normalisation and a dense layer with ReLU, result scaled to length 1.
struct Front {
    norm: BatchNorm,
    dense: Linear,
}

impl Front {
    fn new(scope: &Scope, inputs: i64, outputs: i64) -> Result<Self, ModelError> {
        Ok(Self {
            norm: BatchNorm::new(&scope.sub("norm"), inputs)?,
            dense: Linear::new(&scope.sub("dense"), inputs, outputs)?,
        })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        unit_rows(&self.dense.forward(&self.norm.forward(x, train)?)?.f_relu()?)
    }
}

/// Scores a picture, with its caption, and a song together.
///
/// Each part passes a [`Front`]; a caption gates the lyrics (`l * (1 + W c)`, the residual gate of `jtav-spec` 2.5 at
/// the level of vectors), and only where there are no lyrics it is a part of its own, without an encoder (5.2, row 12).
/// CMF-AP joins the parts in pairs. `paper`: unit vectors times a learned scale, batch normalisation, dropout, one unit.
/// `authors-code`: batch normalisation, ten units with ReLU, one unit.
pub(crate) struct JointScorer {
    inputs: RetrievalInputs,
    image: Front,
    lyrics: Option<Front>,
    audio: Option<Front>,
    gate: Option<Linear>,
    /// One factor per part, `paper` only.
    scale: Option<Tensor>,
    pairs: Pairs,
    norm: BatchNorm,
    hidden: Option<Linear>,
    head: Linear,
    dropout: f64,
}

impl JointScorer {
    pub fn new(
        scope: &Scope,
        profile: Profile,
        inputs: RetrievalInputs,
        widths: &RetrievalWidths,
        settings: &RetrievalSettings,
    ) -> Result<Self, ModelError> {
        let width = settings.width as i64;
        let front = |name: &str, inputs: usize| Front::new(&scope.sub(name), inputs as i64, width);
        let mut parts = Vec::new();
        if inputs.lyrics() {
            parts.push((Modality::Text, width));
        } else if inputs.caption() {
            parts.push((Modality::Text, widths.caption as i64));
        }
        if inputs.audio() {
            parts.push((Modality::Audio, width));
        }
        parts.push((Modality::Image, width));
        let gated = inputs.lyrics() && widths.reads_captions(inputs);
        let gate = || Linear::new(&scope.sub("gate"), widths.caption as i64, widths.lyrics as i64);
        let paper = profile == Profile::Paper;
        let scale = || {
            // Entries of a unit vector have size 1 / sqrt(width); this brings them back to 1.
            scope.weight("scale", &[parts.len() as i64], Init::Constant((width as f32).sqrt()))
        };
        let pairs = Pairs::new(scope, profile, &parts, settings.attention as i64, false)?;
        let last = if paper { pairs.width } else { AUTHORS_HIDDEN };
        let norm = scope.sub("norm");
        Ok(Self {
            inputs,
            image: front("image", widths.image)?,
            lyrics: inputs.lyrics().then(|| front("lyrics", widths.lyrics)).transpose()?,
            audio: inputs.audio().then(|| front("audio", widths.audio)).transpose()?,
            gate: gated.then(gate).transpose()?,
            scale: paper.then(scale).transpose()?,
            norm: if paper { BatchNorm::new(&norm, pairs.width)? } else { BatchNorm::keras(&norm, pairs.width, 1e-3)? },
            hidden: match paper {
                true => None,
                false => Some(Linear::new(&scope.sub("hidden"), pairs.width, AUTHORS_HIDDEN)?),
            },
            head: Linear::new(&scope.sub("head"), last, 1)?,
            pairs,
            dropout: if paper { settings.dropout } else { 0.0 },
        })
    }

    /// One logit per row, `[batch]`; row i of both tables is one pair.
    pub fn forward(&self, queries: &QueryTable, songs: &SongTable, train: bool) -> Result<Tensor, ModelError> {
        let one = queries.image.f_narrow(1, 0, 1)?.f_ones_like()?;
        let (mut parts, mut present) = (Vec::new(), Vec::new());
        if let Some(front) = &self.lyrics {
            parts.push(front.forward(&self.gated(queries, needed(&songs.lyrics, "lyrics")?)?, train)?);
            present.push(one.shallow_clone());
        } else if self.inputs.caption() {
            let (caption, there) = needed(&queries.caption, "captions")?;
            parts.push(unit_rows(caption)?);
            present.push(there.shallow_clone());
        }
        if let Some(front) = &self.audio {
            parts.push(front.forward(needed(&songs.audio, "audio")?, train)?);
            present.push(one.shallow_clone());
        }
        parts.push(self.image.forward(&queries.image, train)?);
        present.push(one);
        if let Some(scale) = &self.scale {
            for (at, part) in parts.iter_mut().enumerate() {
                *part = part.f_mul(&scale.f_narrow(0, at as i64, 1)?)?;
            }
        }
        let u = self.norm.forward(&self.pairs.forward(&parts, &present)?, train)?.f_dropout(self.dropout, train)?;
        let read = match &self.hidden {
            Some(hidden) => hidden.forward(&u)?.f_relu()?,
            None => u,
        };
        Ok(self.head.forward(&read)?.f_squeeze_dim(1)?)
    }

    /// Without a caption the gate is 1.
    fn gated(&self, queries: &QueryTable, lyrics: &Tensor) -> Result<Tensor, ModelError> {
        let Some(gate) = &self.gate else { return Ok(lyrics.shallow_clone()) };
        let (caption, present) = needed(&queries.caption, "captions")?;
        let factor = gate.forward(caption)?.f_mul(present)?.f_add_scalar(1.0)?;
        Ok(lyrics.f_mul(&factor)?)
    }
}

/// A picture with its caption, or a song, as a unit vector.
struct Tower {
    norm: BatchNorm,
    hidden: Linear,
    out: Linear,
    dropout: f64,
}

impl Tower {
    fn new(scope: &Scope, inputs: usize, settings: &RetrievalSettings) -> Result<Self, ModelError> {
        let (inputs, width) = (inputs as i64, settings.width as i64);
        Ok(Self {
            norm: BatchNorm::new(&scope.sub("norm"), inputs)?,
            hidden: Linear::new(&scope.sub("hidden"), inputs, width)?,
            out: Linear::new(&scope.sub("out"), width, settings.embedding as i64)?,
            dropout: settings.dropout,
        })
    }

    fn forward(&self, parts: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        let x = self.norm.forward(&Tensor::f_cat(parts, 1)?, train)?;
        let hidden = self.hidden.forward(&x)?.f_relu()?.f_dropout(self.dropout, train)?;
        unit_rows(&self.out.forward(&hidden)?)
    }
}

/// Scores by the cosine of two vectors that do not know of each other, times a learned factor: the cost grows with
/// queries plus songs, where the joint scorer's grows with queries times songs (`jtav-spec` 8.6).
pub(crate) struct TwoTower {
    inputs: RetrievalInputs,
    captions: bool,
    query: Tower,
    song: Tower,
    /// Logarithm of the factor.
    sharpness: Tensor,
}

impl TwoTower {
    pub fn new(
        scope: &Scope,
        inputs: RetrievalInputs,
        widths: &RetrievalWidths,
        settings: &RetrievalSettings,
    ) -> Result<Self, ModelError> {
        // One value more beside a caption: whether there is one.
        let captions = widths.reads_captions(inputs);
        let query = widths.image + if captions { widths.caption + 1 } else { 0 };
        let song = if inputs.lyrics() { widths.lyrics } else { 0 } + if inputs.audio() { widths.audio } else { 0 };
        Ok(Self {
            inputs,
            captions,
            query: Tower::new(&scope.sub("query"), query, settings)?,
            song: Tower::new(&scope.sub("song"), song, settings)?,
            sharpness: scope.weight("sharpness", &[1], Init::Constant(FIRST_SHARPNESS.ln()))?,
        })
    }

    /// `[queries, songs]`.
    pub fn forward(&self, queries: &QueryTable, songs: &SongTable, train: bool) -> Result<Tensor, ModelError> {
        let mut query = vec![queries.image.shallow_clone()];
        if self.captions {
            let (caption, present) = needed(&queries.caption, "captions")?;
            query.extend([caption.shallow_clone(), present.shallow_clone()]);
        }
        let mut song = Vec::new();
        if self.inputs.lyrics() {
            song.push(needed(&songs.lyrics, "lyrics")?.shallow_clone());
        }
        if self.inputs.audio() {
            song.push(needed(&songs.audio, "audio")?.shallow_clone());
        }
        let cosine =
            self.query.forward(&query, train)?.f_matmul(&self.song.forward(&song, train)?.f_transpose(0, 1)?)?;
        Ok(cosine.f_mul(&self.sharpness.f_exp()?.f_clamp_max(MAX_SHARPNESS)?)?)
    }

    /// InfoNCE in both directions over a batch of true pairs: row i of `scores` `[batch, batch]` should choose column i
    /// and column i row i. `same_song` is true off the diagonal where both rows have one song: no negative.
    pub fn loss(scores: &Tensor, same_song: &Tensor) -> Result<Tensor, ModelError> {
        let masked = scores.f_masked_fill(same_song, f64::NEG_INFINITY)?;
        let direction = |dimension: i64| -> Result<Tensor, ModelError> {
            let chosen = masked.f_log_softmax(dimension, Kind::Float)?.f_diagonal(0, 0, 1)?;
            Ok(chosen.f_mean(Kind::Float)?.f_neg()?)
        };
        Ok(direction(0)?.f_add(&direction(1)?)?.f_div_scalar(2.0)?)
    }
}

fn needed<'a, T>(part: &'a Option<T>, name: &str) -> Result<&'a T, ModelError> {
    part.as_ref().ok_or_else(|| ModelError::Input(format!("the network reads {name}, the table has none")))
}
