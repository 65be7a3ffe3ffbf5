//! What the stages of a run share: its material, and how a network is fitted and kept.

use anyhow::Context;
use jtav_model::Tokenizer;
use jtav_training::Kept;

use super::examples::Examples;
use super::fitting::WithExamples;
use super::network::{Network, Stateful};
use super::state::{BegunStage, Origin, WorkDir};
use crate::dataset::DataPack;
use crate::features::Features;
use crate::fit::{FitProgress, fit};
use crate::options::{Stage, TrainOptions};
use crate::progress::Progress;
use crate::report::StageRecord;

/// What every stage needs.
pub(super) struct Run<'a> {
    pub options: &'a TrainOptions,
    pub progress: &'a dyn Progress,
    pub pack: DataPack,
    pub features: Features,
    pub work: WorkDir,
    pub kept: Option<Kept>,
    pub tokenizer: Tokenizer,
    /// Of a clip.
    pub max_audio_seconds: u32,
    pub started: std::time::Instant,
}

impl Run<'_> {
    pub fn origin(&self, stage: Stage, settings: &serde_json::Value) -> Origin {
        Origin {
            posts_sha256: self.pack.posts_sha256.clone(),
            seed: self.options.seed,
            quick: self.options.quick,
            settings: settings.clone(),
            plan: self.options.plan(stage),
        }
    }

    /// Keeps a trained network and forgets its single epochs.
    pub fn keep(&self, record: &StageRecord, trainer: &impl Stateful) -> anyhow::Result<()> {
        self.work.keep(record, trainer)?;
        BegunStage::new(&self.work, record.stage, self.origin(record.stage, &record.settings)).forget()
    }

    pub fn fit<N: Network>(
        &self,
        stage: Stage,
        trainer: &mut N,
        settings: serde_json::Value,
        mut examples: Examples<N>,
    ) -> anyhow::Result<StageRecord> {
        examples.train.truncate(self.options.example_limit());
        anyhow::ensure!(!examples.train.is_empty(), "the training split has nothing for the stage `{stage}`");
        anyhow::ensure!(!examples.validation.is_empty(), "the validation split has nothing for the stage `{stage}`");
        trainer.prepare(&examples.train).with_context(|| format!("preparing the stage `{stage}`"))?;
        let plan = self.options.plan(stage);
        let begun = BegunStage::new(&self.work, stage, self.origin(stage, &settings));
        // The fusion takes a minute, and its vectors depend on everything before it.
        let done = match self.options.resume && stage != Stage::Fusion {
            true => begun.take_up(trainer)?,
            false => begun.forget().map(|()| FitProgress::default())?,
        };
        let mut learner = WithExamples { network: trainer, examples: &examples, begun: &begun };
        let fitted = fit(stage.name(), &mut learner, plan, done, self.progress)?;
        Ok(StageRecord {
            stage,
            posts_sha256: self.pack.posts_sha256.clone(),
            seed: self.options.seed,
            kept_from: None,
            quick: self.options.quick,
            settings,
            plan: Some(plan),
            parameters: trainer.parameter_count(),
            train_examples: examples.train.len(),
            validation_examples: examples.validation.len(),
            fit: fitted,
        })
    }
}
