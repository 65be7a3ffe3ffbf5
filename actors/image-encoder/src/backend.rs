use std::sync::Arc;

use jtav_inference::{Backend, BackendError, BoxedBackend, StubBackend};
use jtav_model::{Checkpoint, ImageNetwork, ModelError, Placement, Rgb224};
use jtav_pipeline::{AttentionPart, Embedding, Encoded, RgbImage, Stage, StageError};
use jtav_schemas::{DeadLetterReason, ImageCell};

/// Cells named in a published record.
const TOP_CELLS: usize = 5;
/// Cells in a row of the class-activation map.
const CELLS_PER_ROW: usize = 7;

type Output = Result<Encoded, StageError>;

/// The image network of a checkpoint on one thread.
pub struct ImageBackend {
    network: ImageNetwork,
}

impl ImageBackend {
    /// Loads and warms the network on the calling thread.
    pub fn load(
        checkpoint: &Arc<Checkpoint>,
        placement: Placement,
    ) -> Result<BoxedBackend<RgbImage, Output>, BackendError> {
        jtav_model::device::single_threaded();
        let network = ImageNetwork::from_checkpoint(checkpoint, placement).map_err(failure)?;
        network.warm_up().map_err(failure)?;
        Ok(Box::new(Self { network }))
    }
}

impl Backend for ImageBackend {
    type Item = RgbImage;
    type Output = Output;

    fn cost(&self, _: &RgbImage) -> u64 {
        1
    }

    fn forward(&mut self, items: &[RgbImage]) -> Result<Vec<Output>, BackendError> {
        let pictures = items
            .iter()
            .map(|image| Rgb224::new(Arc::clone(&image.pixels)).map_err(failure))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(self.network.encode(&pictures).map_err(failure)?.into_iter().map(finish).collect())
    }
}

fn finish(encoded: jtav_model::Encoded) -> Result<Encoded, StageError> {
    let mut cells: Vec<ImageCell> = encoded
        .attention
        .iter()
        .enumerate()
        .map(|(index, weight)| ImageCell {
            row: (index / CELLS_PER_ROW) as u32,
            column: (index % CELLS_PER_ROW) as u32,
            weight: *weight,
        })
        .collect();
    cells.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    cells.truncate(TOP_CELLS);
    let vector = Embedding::new(encoded.vector)
        .map_err(|error| StageError::permanent(Stage::ImageEncoder, DeadLetterReason::NonFiniteOutput, error))?;
    Ok(Encoded { vector, attention: AttentionPart::Cells(cells) })
}

fn failure(error: ModelError) -> BackendError {
    if error.is_fatal() { BackendError::Device(error.to_string()) } else { BackendError::Batch(error.to_string()) }
}

/// Answers at once with a fixed vector; for load tests of everything else.
pub fn stub() -> BoxedBackend<RgbImage, Output> {
    Box::new(StubBackend::new(|_: &RgbImage| {
        let vector = Embedding::new(vec![1.0; 100])
            .map_err(|error| StageError::permanent(Stage::ImageEncoder, DeadLetterReason::NonFiniteOutput, error))?;
        Ok(Encoded { vector, attention: AttentionPart::Cells(Vec::new()) })
    }))
}
