//! Audio and image networks that are taken from an earlier checkpoint.

use std::path::Path;

use anyhow::Context;
use jtav_training::Kept;

use super::examples::Examples;
use super::network::Network;
use super::run::Run;
use crate::dataset::DataPack;
use crate::fit::{FitReport, validation};
use crate::options::Stage;
use crate::report::StageRecord;

/// Reads the checkpoint, if it was trained on the posts of this very pack: its networks have seen the training split,
/// and on another pack that could be what is validation or test here.
pub(super) fn read(folder: &Path, pack: &DataPack) -> anyhow::Result<Kept> {
    let kept = Kept::read(folder).context("reading the audio and image networks to keep")?;
    let posts = kept.data().get(&pack.source_name());
    anyhow::ensure!(
        posts == Some(&pack.posts_sha256),
        "{}: trained on other posts than {}'s, its networks cannot be kept; leave out --keep-media",
        folder.display(),
        pack.name
    );
    Ok(kept)
}

impl Run<'_> {
    /// The record of a network that was kept: its own, where the checkpoint has it, else what can be said without it.
    pub(super) fn kept_record<N: Network>(
        &self,
        stage: Stage,
        trainer: &N,
        kept: &Kept,
        examples: Examples<N>,
    ) -> anyhow::Result<StageRecord> {
        let from = kept.version().to_owned();
        if let Some(record) = recorded(kept, stage) {
            return Ok(StageRecord { kept_from: record.kept_from.or(Some(from)), ..record });
        }
        let found = validation(&trainer.predict(&examples.validation)?, &examples.labels)
            .with_context(|| format!("validating the kept network `{stage}`"))?;
        Ok(StageRecord {
            stage,
            posts_sha256: self.pack.posts_sha256.clone(),
            seed: self.options.seed,
            kept_from: Some(from),
            quick: false,
            settings: serde_json::Value::Null,
            plan: None,
            parameters: trainer.parameter_count(),
            train_examples: examples.train.len(),
            validation_examples: examples.validation.len(),
            fit: FitReport { curve: Vec::new(), best_epoch: 0, best_auc: found.auc, seconds: 0.0 },
        })
    }
}

/// What the checkpoint's manifest says of the training of one of its networks.
fn recorded(kept: &Kept, stage: Stage) -> Option<StageRecord> {
    let records: Vec<StageRecord> = serde_json::from_value(kept.metrics().get("stages")?.clone()).ok()?;
    records.into_iter().find(|record| record.stage == stage)
}
