//! MiniLM's embeddings over slices: the table of pieces stays as it is stored, half as large as in f32.

use half::f16;
use half::slice::HalfFloatSliceExt as _;
use jtav_engine::bend::normalise;
use tch::Kind;

use super::{EPSILON, MiniLm};
use crate::error::ModelError;
use crate::parameters::to_vec;
use crate::text::Pieces;

/// [`MiniLm::embed`] over slices.
pub(crate) struct EmbeddingsOnSlices {
    /// `[VOCABULARY, WIDTH]`.
    words: Vec<f16>,
    /// `[POSITIONS, WIDTH]`, the type of a post's only sentence added.
    places: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// Values of a row.
const WIDTH: usize = MiniLm::WIDTH as usize;

impl MiniLm {
    pub(crate) fn embeddings_on_slices(&self) -> Result<EmbeddingsOnSlices, ModelError> {
        let words = self.words.f_to_kind(Kind::Half)?.f_contiguous()?.f_view([-1])?;
        Ok(EmbeddingsOnSlices {
            words: Vec::<f16>::try_from(&words)?,
            places: to_vec(&self.positions.f_add(&self.types.f_narrow(0, 0, 1)?)?)?,
            weight: to_vec(&self.norm.weight)?,
            bias: to_vec(&self.norm.bias)?,
        })
    }
}

impl EmbeddingsOnSlices {
    /// Fills the first rows of `[longest, WIDTH]` with those of a text.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a piece that is in no table, and for more pieces than there are positions.
    pub fn fill(&self, text: &Pieces, rows: &mut [f32]) -> Result<(), ModelError> {
        let places = self.places.chunks_exact(WIDTH);
        if text.len() > places.len().min(rows.len() / WIDTH) {
            return Err(ModelError::Input(format!("{} pieces, {} is the most", text.len(), places.len())));
        }
        for ((row, &id), place) in rows.chunks_exact_mut(WIDTH).zip(text.ids()).zip(places) {
            let first = id as usize * WIDTH;
            let word = self.words.get(first..first + WIDTH);
            word.ok_or_else(|| ModelError::Input(format!("piece {id} is in no table")))?.convert_to_f32_slice(row);
            row.iter_mut().zip(place).for_each(|(value, place)| *value += place);
            normalise(row, EPSILON as f32);
            for ((value, weight), bias) in row.iter_mut().zip(&self.weight).zip(&self.bias) {
                *value = *value * weight + bias;
            }
        }
        Ok(())
    }
}
