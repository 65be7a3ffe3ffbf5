//! The four networks as they serve: batches of plain vectors, no gradients, one owner thread each.

mod audio;
#[cfg(test)]
pub(crate) mod drawn;
mod front_end;
mod fusion;
mod image;
mod picture_on_openvino;
mod sound_on_openvino;
mod text;
mod text_on_slices;
mod trunk_on_openvino;
mod without;

pub use audio::AudioNetwork;
pub use fusion::FusionNetwork;
pub use image::ImageNetwork;
pub(crate) use picture_on_openvino::write_normalisation;
pub use text::{EncodedText, TextNetwork};

use tch::Tensor;

use crate::error::ModelError;
use crate::parameters::to_rows;
use crate::vectors::Encoded;

/// Vectors and attention rows as [`Encoded`], each attention row cut to its length.
fn encoded(vectors: &Tensor, attention: &Tensor, lengths: &[i64]) -> Result<Vec<Encoded>, ModelError> {
    let vectors = to_rows(vectors)?;
    let attention = to_rows(attention)?;
    let rows = vectors.into_iter().zip(attention).zip(lengths);
    Ok(rows
        .map(|((vector, mut attention), &length)| {
            attention.truncate(length as usize);
            Encoded { vector, attention }
        })
        .collect())
}
