//! The joint scorer of image2song: reads a picture and a song at once (docs/networks.md, "Retrieval").

use jtav_model::layers::{BatchNorm, Linear, unit_rows};
use jtav_model::parameters::{Init, Scope};
use jtav_model::{Modality, ModelError};
use tch::Tensor;

use super::settings::{RetrievalInputs, RetrievalSettings, RetrievalWidths};
use super::tables::{QueryTable, SongTable, needed};
use crate::zoo::Profile;
use crate::zoo::networks::cmf::Pairs;

/// Units of the authors' layer between `u` and the last unit. When all of them are dead, every song has one score.
const AUTHORS_HIDDEN: i64 = 10;

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
/// Each part passes a [`Front`]; a caption gates the lyrics (`l * (1 + W c)`, the gate of `modern`'s text network at
/// the level of vectors), and only where there are no lyrics it is a part of its own, without an encoder.
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
