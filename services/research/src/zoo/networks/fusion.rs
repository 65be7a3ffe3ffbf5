//! The fusions of the zoo.

use jtav_model::ModelError;

use super::cmf::CmfAp;
use super::flat_fusion::{EarlyFusion, LowRank};
use super::forward::Forward;
use super::parts::PartsBatch;

/// A fusion of the zoo.
pub(crate) enum Fusion {
    /// docs/networks.md, "Fusion".
    Cmf(CmfAp),
    /// Concatenation and logistic regression.
    Early(EarlyFusion),
    /// docs/networks.md, "Beside CMF-AP".
    LowRank(LowRank),
}

impl Fusion {
    pub fn forward(&self, batch: &PartsBatch, train: bool) -> Result<Forward, ModelError> {
        match self {
            Self::Cmf(network) => network.forward(batch, train),
            Self::Early(network) => network.forward(batch),
            Self::LowRank(network) => network.forward(batch),
        }
    }
}
