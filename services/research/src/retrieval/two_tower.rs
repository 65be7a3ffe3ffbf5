//! The two towers of image2song: read a picture and a song apart (docs/networks.md, "Retrieval").

use jtav_model::ModelError;
use jtav_model::layers::{BatchNorm, Linear, unit_rows};
use jtav_model::parameters::{Init, Scope};
use tch::{Kind, Tensor};

use super::settings::{RetrievalInputs, RetrievalSettings, RetrievalWidths};
use super::tables::{QueryTable, SongTable, needed};

/// Cosines are multiplied by this at the start (Radford et al. 2021 begin at 1 / 0.07).
const FIRST_SHARPNESS: f32 = 14.0;
/// Largest factor, so that the softmax of the loss does not saturate.
const MAX_SHARPNESS: f64 = 100.0;

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
/// queries plus songs, where the joint scorer's grows with queries times songs (docs/networks.md, "Retrieval").
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
