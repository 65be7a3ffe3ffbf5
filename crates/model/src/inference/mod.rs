//! The four networks as they serve: batches of plain vectors, no gradients, one owner thread each.

mod audio;
mod front_end;
mod fusion;
mod image;
mod text;
mod types;
mod without;

pub use audio::AudioNetwork;
pub use fusion::FusionNetwork;
pub use image::ImageNetwork;
pub use text::TextNetwork;
pub use types::{
    AudioInput, Contributions, Encoded, FRAME_SECONDS, FusionInput, FusionOutput, IMAGE_CELLS, IMAGE_SIDE, Rgb224,
    SEGMENT_BINS, SEGMENT_FRAMES, SILENCE_DB, Waveform,
};

pub(crate) use audio::{AudioBatch, encode_clips};

use tch::Tensor;

use crate::ModelError;
use crate::parameters::to_rows;

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
