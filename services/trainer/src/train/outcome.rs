//! What a stage leaves for the fusion, and for a later run: weights, what was said of examples that were held out, a record.

use anyhow::Context;
use jtav_model::Standardisation;
use jtav_training::{LinearHead, Tensors};
use serde::{Deserialize, Serialize};

use super::state::WorkDir;
use crate::files::write_json;
use crate::options::Stage;
use crate::report::StageRecord;

/// One encoder, trained.
pub(super) struct Outcome {
    /// Its part of the checkpoint, by name.
    pub tensors: Tensors,
    pub evidence: Evidence,
    pub record: StageRecord,
}

/// What is known of an encoder beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Evidence {
    /// `polarity = weight . vector + bias`.
    pub head: Linear,
    /// The same of neutral; of the text network alone.
    pub neutral_head: Option<Linear>,
    /// What networks that had not seen them said of training items.
    pub held_out: Vec<HeldOutItem>,
    /// Of the levels that DCRNN reads; of the audio network alone.
    #[serde(default)]
    pub standardisation: Option<Standardisation>,
}

/// A last layer, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Linear {
    pub weight: Vec<f32>,
    pub bias: f32,
}

impl From<LinearHead> for Linear {
    fn from(LinearHead { weight, bias }: LinearHead) -> Self {
        Self { weight, bias }
    }
}

impl From<Linear> for LinearHead {
    fn from(Linear { weight, bias }: Linear) -> Self {
        Self { weight, bias }
    }
}

/// One item and what was said of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct HeldOutItem {
    /// Polarity.
    pub logit: f32,
    /// Neutral; of texts alone.
    pub neutral: Option<f32>,
    /// Shares of negative, neutral and positive.
    pub votes: [f32; 3],
}

impl HeldOutItem {
    /// One whose label is its only vote.
    pub fn labelled((&logit, positive): (&f32, bool)) -> Self {
        Self { logit, neutral: None, votes: if positive { [0.0, 0.0, 1.0] } else { [1.0, 0.0, 0.0] } }
    }
}

impl Outcome {
    /// Keeps it. The record goes last: without it the rest does not count.
    pub fn keep(&self, work: &WorkDir) -> anyhow::Result<()> {
        let stage = self.record.stage;
        self.tensors.save(&work.file(&format!("{stage}.safetensors")))?;
        write_json(&work.file(&format!("{stage}.evidence.json")), &self.evidence)?;
        write_json(&work.file(&format!("{stage}.json")), &self.record)
    }

    /// What an earlier run kept, if it was trained on this very pack.
    pub fn take_over(work: &WorkDir, stage: Stage) -> anyhow::Result<Self> {
        let record = work.record(stage)?;
        let path = work.file(&format!("{stage}.evidence.json"));
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let evidence = serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))?;
        Ok(Self { tensors: Tensors::load(&work.file(&format!("{stage}.safetensors")))?, evidence, record })
    }
}
