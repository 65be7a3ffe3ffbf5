//! The frozen text encoder that networks of ours stand on: all-MiniLM-L6-v2, from word pieces to hidden states.
//!
//! Speaks tensors, for the networks behind it; whoever serves posts uses those. `Send`, not `Sync`: one owner thread (ADR 4).

use tch::{Device, Kind, Tensor};

use crate::bases::{Base, Bases};
use crate::checkpoint::StoredWeights;
use crate::device::DeviceChoice;
use crate::error::ModelError;
use crate::networks::{MiniLm, MiniLmForward, PieceBatch};
use crate::parameters::Builder;
use crate::passes::passes;
use crate::placement::Placement;
use crate::text::Pieces;

/// In which numbers the trunk multiplies. Sums and norms are f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrunkPrecision {
    /// f32: batch mates move a value by 1e-5 of its vector's largest at most.
    Float,
    /// bf16: less than half the time where the hardware multiplies it. Sentence vectors keep a cosine of .9999 with f32's; batch mates
    /// move a value by up to a hundredth of its vector's largest.
    BFloat16,
}

impl TrunkPrecision {
    /// For a placement that came to `device`: bf16 where the hardware multiplies it, else f32, beside which emulated bf16 is slow.
    pub fn best(placement: impl Into<Placement>, device: Device) -> Self {
        if placement.into().takes_bf16(device) { Self::BFloat16 } else { Self::Float }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Float => Kind::Float,
            Self::BFloat16 => Kind::BFloat16,
        }
    }
}

/// The encoder on one device.
pub struct Trunk {
    network: MiniLm,
    device: Device,
}

/// One text of [`Trunk::encode`].
pub struct TrunkOutput {
    /// `[pieces, 384]` in f32 for each layer that was asked for, the enclosing pieces included.
    pub layers: Vec<Tensor>,
    /// `[384]` in f32, as in [`MiniLmForward`].
    pub sentence: Tensor,
}

/// Most texts of one pass.
const MAX_BATCH: usize = 128;
/// Most pieces of one pass, padding included: bounds what a pass takes in memory to some 60 MB.
const MAX_PADDED_PIECES: usize = 4_096;
/// From so many pieces on a longer pass is no faster on a CPU, and a text that would be padded by more than an eighth waits for
/// the next one.
const FULL_PIECES: usize = 256;

impl Trunk {
    /// Reads and checks the base weights.
    ///
    /// # Errors
    /// As [`Bases::read`]; an error that names the tensor for weights of another network.
    pub fn open(bases: &Bases, device: DeviceChoice, precision: TrunkPrecision) -> Result<Self, ModelError> {
        Self::of_base(bases, &Base::minilm(), device, precision)
    }

    /// The same with another file of such a network.
    pub fn of_base(
        bases: &Bases,
        weights: &Base,
        device: DeviceChoice,
        precision: TrunkPrecision,
    ) -> Result<Self, ModelError> {
        let _guard = tch::no_grad_guard();
        let device = device.resolve()?;
        let bytes = bases.read(weights)?;
        let stored = StoredWeights::of_base(weights, &bytes)?;
        let builder = Builder::stored(&stored, device);
        let network = MiniLm::new(&builder.scope(""))?;
        stored.check_all_read(&builder.finish())?;
        Ok(Self { network: network.for_serving(precision.kind())?, device })
    }

    /// One padded pass over texts of like length, for a network that goes on with `[batch, longest, 384]`.
    /// `layers` are counted from 1; the outputs come in ascending order. Without gradients.
    ///
    /// # Errors
    /// [`ModelError::Input`] for no texts, or a layer that is not there.
    pub fn forward(&self, texts: &[&Pieces], layers: &[usize]) -> Result<MiniLmForward, ModelError> {
        let _guard = tch::no_grad_guard();
        self.network.forward(&PieceBatch::new(texts, self.device)?, layers)
    }

    /// Any number of texts, in passes of like length; outputs in the order of the texts. An empty list gives an empty list.
    pub fn encode(&self, texts: &[&Pieces], layers: &[usize]) -> Result<Vec<TrunkOutput>, ModelError> {
        let _guard = tch::no_grad_guard();
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        let mut outputs: Vec<Option<TrunkOutput>> = texts.iter().map(|_| None).collect();
        for pass in passes(&lengths, has_room) {
            let together: Vec<&Pieces> = pass.iter().map(|&text| texts[text]).collect();
            let forward = self.forward(&together, layers)?;
            for (row, text) in pass.into_iter().enumerate() {
                let of_row = |layer: &Tensor| layer.f_get(row as i64)?.f_narrow(0, 0, lengths[text] as i64);
                let layers = forward.layers.iter().map(of_row).collect::<Result<_, _>>()?;
                outputs[text] = Some(TrunkOutput { layers, sentence: forward.sentence.f_get(row as i64)? });
            }
        }
        Ok(outputs.into_iter().flatten().collect())
    }

    pub(crate) fn network(&self) -> &MiniLm {
        &self.network
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.device
    }
}

/// Lengths in pieces.
pub(crate) fn has_room(texts: usize, longest: usize, length: usize) -> bool {
    let padded = (texts + 1) * longest;
    let is_full = texts * longest >= FULL_PIECES && length + longest / 8 < longest;
    texts < MAX_BATCH && padded <= MAX_PADDED_PIECES && !is_full
}

#[cfg(test)]
#[path = "trunk_tests.rs"]
mod tests;
