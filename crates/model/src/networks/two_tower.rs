//! The two towers of image2song: a picture and a song are read apart (docs/networks.md, "Retrieval").

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::error::ModelError;
use crate::layers::{BatchNorm, Linear, unit_rows};
use crate::parameters::{Init, Scope};

/// Cosines are multiplied by this at the start (Radford et al. 2021 begin at 1 / 0.07).
const FIRST_SHARPNESS: f32 = 14.0;
/// Largest factor, so that the softmax of the loss does not saturate.
const MAX_SHARPNESS: f64 = 100.0;
/// Largest width of anything.
const MAX_WIDTH: usize = 4096;

/// Sizes of two towers: values of the vectors that they read, 0 for one that they do not, and of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TowerWidths {
    /// Of a picture's vector.
    pub image: usize,
    /// Of a caption's; one value more says whether there is one.
    pub caption: usize,
    /// Of the lyrics'.
    pub lyrics: usize,
    /// Of a clip's.
    pub audio: usize,
    /// Units of each tower's hidden layer.
    pub hidden: usize,
    /// Of what a tower gives.
    pub embedding: usize,
}

impl TowerWidths {
    /// Bounds that keep a hostile manifest from asking for terabytes.
    pub(crate) fn check(&self) -> Result<(), String> {
        let optional = [("caption", self.caption), ("lyrics", self.lyrics)];
        let needed = [
            ("image", self.image),
            ("lyrics + audio", self.lyrics + self.audio),
            ("hidden", self.hidden),
            ("embedding", self.embedding),
        ];
        for (name, width, least) in
            optional.map(|(name, width)| (name, width, 0)).into_iter().chain(needed.map(|(n, w)| (n, w, 1)))
        {
            if !(least..=MAX_WIDTH).contains(&width) {
                return Err(format!("widths.{name} is {width}, expected {least} to {MAX_WIDTH}"));
            }
        }
        Ok(())
    }

    fn query(&self) -> usize {
        self.image + if self.caption > 0 { self.caption + 1 } else { 0 }
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
    fn new(scope: &Scope, inputs: usize, widths: &TowerWidths, dropout: f64) -> Result<Self, ModelError> {
        let (inputs, hidden) = (inputs as i64, widths.hidden as i64);
        Ok(Self {
            norm: BatchNorm::new(&scope.sub("norm"), inputs)?,
            hidden: Linear::new(&scope.sub("hidden"), inputs, hidden)?,
            out: Linear::new(&scope.sub("out"), hidden, widths.embedding as i64)?,
            dropout,
        })
    }

    fn forward(&self, parts: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        let x = self.norm.forward(&Tensor::f_cat(parts, 1)?, train)?;
        let hidden = self.hidden.forward(&x)?.f_relu()?.f_dropout(self.dropout, train)?;
        unit_rows(&self.out.forward(&hidden)?)
    }
}

/// Scores by the cosine of two vectors that do not know of each other, times a learned factor: the cost grows with
/// queries plus songs, where a joint scorer's grows with queries times songs, and songs can be read before anybody asks.
pub struct TwoTower {
    widths: TowerWidths,
    query: Tower,
    song: Tower,
    /// Logarithm of the factor.
    sharpness: Tensor,
}

impl TwoTower {
    /// `dropout` is the share of hidden units that training leaves out.
    pub fn new(scope: &Scope, widths: TowerWidths, dropout: f64) -> Result<Self, ModelError> {
        Ok(Self {
            widths,
            query: Tower::new(&scope.sub("query"), widths.query(), &widths, dropout)?,
            song: Tower::new(&scope.sub("song"), widths.lyrics + widths.audio, &widths, dropout)?,
            sharpness: scope.weight("sharpness", &[1], Init::Constant(FIRST_SHARPNESS.ln()))?,
        })
    }

    pub fn widths(&self) -> TowerWidths {
        self.widths
    }

    /// `[queries, embedding]`, rows of length 1, from standardised vectors: `image` `[queries, width]`; `caption` its
    /// vectors, zeros where there is none, and `[queries, 1]`: 1 where there is one, else 0.
    ///
    /// # Errors
    /// [`ModelError::Input`] where the towers read captions and there is no table of them.
    pub fn queries(
        &self,
        image: &Tensor,
        caption: Option<(&Tensor, &Tensor)>,
        train: bool,
    ) -> Result<Tensor, ModelError> {
        let mut parts = vec![image.shallow_clone()];
        if self.widths.caption > 0 {
            let (caption, present) = caption.ok_or_else(|| missing("captions"))?;
            parts.extend([caption.shallow_clone(), present.shallow_clone()]);
        }
        self.query.forward(&parts, train)
    }

    /// `[songs, embedding]`, rows of length 1, from standardised vectors `[songs, width]`.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a table that the towers read and that is not there.
    pub fn songs(&self, lyrics: Option<&Tensor>, audio: Option<&Tensor>, train: bool) -> Result<Tensor, ModelError> {
        let read = [("lyrics", self.widths.lyrics, lyrics), ("audio", self.widths.audio, audio)];
        let parts = read.into_iter().filter(|(_, width, _)| *width > 0);
        let parts = parts.map(|(name, _, table)| table.map(Tensor::shallow_clone).ok_or_else(|| missing(name)));
        self.song.forward(&parts.collect::<Result<Vec<_>, _>>()?, train)
    }

    /// `[queries, songs]`: cosines times the learned factor.
    pub fn scores(&self, queries: &Tensor, songs: &Tensor) -> Result<Tensor, ModelError> {
        let cosine = queries.f_matmul(&songs.f_transpose(0, 1)?)?;
        Ok(cosine.f_mul(&self.sharpness.f_exp()?.f_clamp_max(MAX_SHARPNESS)?)?)
    }
}

fn missing(name: &str) -> ModelError {
    ModelError::Input(format!("the network reads {name}, the table has none"))
}
