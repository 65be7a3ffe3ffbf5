//! The text network as it serves.

use tch::Device;

use super::{Encoded, encoded};
use crate::networks::{AttBiGru, TextBatch};
use crate::parameters::Builder;
use crate::text::{TextInput, TokenisedText};
use crate::{Checkpoint, DeviceChoice, ModelError};

/// Most posts of one pass through the network; a longer list is cut.
const MAX_BATCH: usize = 128;

/// attBiGRU on one device. `Send`, not `Sync`: one owner thread.
pub struct TextNetwork {
    network: AttBiGru,
    table_rows: i64,
    device: Device,
}

impl TextNetwork {
    /// Builds the network from the checkpoint's weights.
    pub fn from_checkpoint(checkpoint: &Checkpoint, device: DeviceChoice) -> Result<Self, ModelError> {
        let device = device.resolve()?;
        let dimensions = &checkpoint.manifest().dimensions;
        let stored = checkpoint.stored()?;
        let network = AttBiGru::new(&Builder::stored(&stored, device).scope("text"), dimensions, 0.0)?;
        Ok(Self { network, table_rows: dimensions.embedding_rows, device })
    }

    /// Vectors (100 values) and attention over the protagonist's words, in order. An empty list gives an empty list;
    /// [`ModelError::Input`] for a text without words or with rows of another vocabulary. A row's result does not
    /// depend on its batch mates beyond rounding (1e-5).
    pub fn encode(&self, inputs: &[TextInput]) -> Result<Vec<Encoded>, ModelError> {
        let _guard = tch::no_grad_guard();
        let mut results = Vec::with_capacity(inputs.len());
        for chunk in inputs.chunks(MAX_BATCH) {
            let batch = TextBatch::new(chunk, self.table_rows, self.device)?;
            let forward = self.network.forward(&batch, false)?;
            results.extend(encoded(&forward.vector, &forward.attention, &batch.lengths)?);
        }
        Ok(results)
    }

    /// Runs one small batch, so that the first post does not pay for kernel selection and page faults.
    pub fn warm_up(&self) -> Result<(), ModelError> {
        let word = TokenisedText { words: vec![String::new(); 8], rows: vec![vec![0]; 8] };
        let input = TextInput { protagonist: word.clone(), supporting: Some(word) };
        self.encode(&vec![input; 4]).map(drop)
    }
}
