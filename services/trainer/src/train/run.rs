//! What the stages of a run share: its material, and how a network is fitted.

use anyhow::Context;
use jtav_model::checkpoint::sha256;
use jtav_model::{Bases, Calibration, Dimensions, ImageBackbone, Manifest, Standardisation};

use super::examples::Examples;
use super::fitting::WithExamples;
use super::network::Network;
use super::outcome::Outcome;
use super::state::{BegunStage, Origin, WorkDir};
use crate::dataset::DataPack;
use crate::features::Features;
use crate::fit::{FitProgress, FitReport, fit};
use crate::options::{Stage, TrainOptions};
use crate::progress::Progress;
use crate::report::StageRecord;
use crate::texts::RatedTexts;

/// Sizes of a stage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    /// Trainable values.
    pub parameters: usize,
    pub train_examples: usize,
    pub validation_examples: usize,
}

/// What every stage needs.
pub(super) struct Run<'a> {
    pub options: &'a TrainOptions,
    pub progress: &'a dyn Progress,
    pub pack: DataPack,
    /// Texts with their raters' votes; none where the pack's own texts are all there is.
    pub rated: Option<RatedTexts>,
    pub features: Features,
    pub bases: Bases,
    pub work: WorkDir,
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

    /// How a stage of this run was trained.
    pub fn record(&self, stage: Stage, settings: serde_json::Value, counts: Counts, fit: FitReport) -> StageRecord {
        StageRecord {
            stage,
            posts_sha256: self.pack.posts_sha256.clone(),
            seed: self.options.seed,
            quick: self.options.quick,
            settings,
            plan: Some(self.options.plan(stage)),
            parameters: counts.parameters,
            train_examples: counts.train_examples,
            validation_examples: counts.validation_examples,
            fit,
        }
    }

    /// What `--resume` finds of a stage that was finished with these settings.
    pub fn finished(&self, stage: Stage, settings: &serde_json::Value) -> anyhow::Result<Option<Outcome>> {
        if !self.options.resume || self.work.finished(stage, &self.origin(stage, settings)).is_none() {
            return Ok(None);
        }
        self.progress.start(stage.name(), 0);
        self.progress.finish("was finished before the run was killed, with these settings");
        Outcome::take_over(&self.work, stage).map(Some)
    }

    /// The manifest of the profile, without what is fitted.
    pub fn manifest(&self) -> anyhow::Result<Manifest> {
        let profile = self.options.profile.name();
        let nothing = Standardisation { mean: vec![0.0; 96], std: vec![1.0; 96] };
        let mut manifest = Manifest::new(
            profile,
            Dimensions::of_profile(profile),
            nothing,
            self.options.max_audio_seconds,
            Calibration::default(),
            self.options.seed,
        );
        manifest.image_backbone = self.image_backbone();
        if manifest.image_backbone == ImageBackbone::DenseNet121 {
            manifest.bases.remove(jtav_model::roles::IMAGE);
        }
        Ok(manifest)
    }

    pub fn image_backbone(&self) -> ImageBackbone {
        match self.options.image_weights {
            Some(_) => ImageBackbone::DenseNet121,
            None => ImageBackbone::EfficientNetLite0,
        }
    }

    /// Of the file that was given.
    pub fn image_weights_sha256(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.options.image_weights else { return Ok(None) };
        let bytes = std::fs::read(path).with_context(|| format!("--image-weights {}", path.display()))?;
        Ok(Some(sha256(&bytes)))
    }

    pub fn fit<N: Network>(
        &self,
        stage: Stage,
        trainer: &mut N,
        settings: &serde_json::Value,
        examples: &Examples<N>,
    ) -> anyhow::Result<FitReport> {
        anyhow::ensure!(!examples.train.is_empty(), "the training split has nothing for the stage `{stage}`");
        anyhow::ensure!(!examples.validation.is_empty(), "the validation split has nothing for the stage `{stage}`");
        let plan = self.options.plan(stage);
        let begun = BegunStage::new(&self.work, stage, self.origin(stage, settings));
        // The fusion takes a minute, and its vectors depend on everything before it.
        let done = match self.options.resume && stage != Stage::Fusion {
            true => begun.take_up(trainer)?,
            false => begun.forget().map(|()| FitProgress::default())?,
        };
        let mut learner = WithExamples { network: trainer, examples, begun: &begun };
        let fitted = fit(stage.name(), &mut learner, plan, done, self.progress)?;
        Ok(fitted)
    }

    /// Forgets the single epochs of a stage that is kept as a whole.
    pub fn forget(&self, stage: Stage, settings: &serde_json::Value) -> anyhow::Result<()> {
        BegunStage::new(&self.work, stage, self.origin(stage, settings)).forget()
    }
}
