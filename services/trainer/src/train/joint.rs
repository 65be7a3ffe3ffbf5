//! After the staged training: all four networks fine-tuned together on posts, and kept only if that helped.

use anyhow::Context;
use jtav_model::{Calibration, Vocabulary};
use jtav_training::{
    AudioExample, EpochReport, FusionExample, FusionTrainer, ImageExample, JointExample, JointTrainer,
};

use super::encoders::Encoders;
use super::examples;
use super::finish::{Trained, fusion_examples};
use super::run::Run;
use super::state::BegunStage;
use crate::dataset::{Post, Split};
use crate::features::PICTURE_SIDE;
use crate::fit::{FitProgress, Trainable, Validation, fit, validation};
use crate::options::Stage;
use crate::progress::Silent;
use crate::report::StageRecord;

/// What the stage leaves: the networks that did better on validation, and which they are.
pub(super) struct Joined {
    pub encoders: Trained,
    pub fusion: FusionTrainer,
    pub calibration: Calibration,
    pub record: StageRecord,
}

impl Run<'_> {
    /// Epoch 0 are the staged networks: the lowest validation log loss of the fused logit decides which weights stay.
    pub(super) fn joint(
        &self,
        encoders: Trained,
        fusion: FusionTrainer,
        staged: Calibration,
        vocabulary: &Vocabulary,
    ) -> anyhow::Result<Joined> {
        let train = self.joint_examples(&encoders, vocabulary)?;
        anyhow::ensure!(train.len() > 1, "the training split has fewer than two posts for the stage `joint`");
        let Encoders { text, audio, image } = encoders;
        let trainer = JointTrainer::new(self.options.joint, text, audio, image, fusion, self.options.seed)?;
        let mut joint = Joint { run: self, trainer, train, vocabulary, begun: self.begun_jointly()? };

        let origin = self.origin(Stage::Joint, &serde_json::to_value(self.options.joint)?);
        let finished = self.options.resume && self.work.finished(Stage::Joint, &origin).is_some();
        let record = match finished {
            true => self.work.take_over(Stage::Joint, &mut joint.trainer)?,
            false => joint.fit()?,
        };
        let calibration = match record.fit.best_epoch {
            0 => staged,
            _ => {
                let (posts, _) = joint.validation()?;
                joint.trainer.calibrate(&posts).context("calibrating the joint networks on validation")?
            }
        };
        if !finished {
            self.keep(&record, &joint.trainer)?;
        }
        match record.fit.best_epoch {
            0 => tracing::info!("joint training did not lower the validation log loss: the staged networks are kept"),
            epoch => tracing::info!(epoch, "the jointly trained networks are kept"),
        }
        let (text, audio, image, fusion) = joint.trainer.into_networks();
        Ok(Joined { encoders: Encoders { text, audio, image }, fusion, calibration, record })
    }

    fn begun_jointly(&self) -> anyhow::Result<BegunStage<'_>> {
        let settings = serde_json::to_value(self.options.joint)?;
        Ok(BegunStage::new(&self.work, Stage::Joint, self.origin(Stage::Joint, &settings)))
    }

    /// Every training post that has a readable part.
    fn joint_examples(&self, encoders: &Trained, vocabulary: &Vocabulary) -> anyhow::Result<Vec<JointExample>> {
        let limit = self.options.example_limit();
        // The very texts that the bag was fitted on; those of the posts come first, in the order of the posts.
        let mut texts = examples::texts(&self.pack, &self.tokenizer, vocabulary)?.train;
        texts.truncate(limit);
        let mut evidence = encoders.text.held_out_evidence(&texts).context("the bag's word for each text")?.into_iter();
        let example = |post: &Post| {
            let text = examples::text_input(&self.tokenizer, vocabulary, post);
            let (positive, mood) = (post.positive, post.mood);
            let audio = post.audio.as_ref().and_then(|file| self.features.audio(file)).cloned();
            let image = post.image.as_ref().and_then(|file| self.features.picture(file)).cloned();
            JointExample {
                text: text.map(|input| (input, evidence.next().unwrap_or_default())),
                audio: audio.map(|decibels| AudioExample { decibels, positive, mood }),
                image: image.map(|pixels| ImageExample { pixels, side: PICTURE_SIDE, positive }),
                positive,
            }
        };
        let posts = self.pack.split(Split::Train).map(example);
        let with_parts = |post: &JointExample| post.text.is_some() || post.audio.is_some() || post.image.is_some();
        Ok(posts.filter(with_parts).take(limit).collect())
    }
}

/// The joint trainer with what it learns from and what it is judged by.
struct Joint<'a> {
    run: &'a Run<'a>,
    trainer: JointTrainer,
    train: Vec<JointExample>,
    vocabulary: &'a Vocabulary,
    begun: BegunStage<'a>,
}

impl Joint<'_> {
    fn fit(&mut self) -> anyhow::Result<StageRecord> {
        let run = self.run;
        let options = run.options;
        let mut done = match options.resume {
            true => self.begun.take_up(&mut self.trainer)?,
            false => self.begun.forget().map(|()| FitProgress::default())?,
        };
        let (posts, now) = self.validation().context("validating the networks before the first joint epoch")?;
        // Nothing done yet: these are the staged networks.
        if done.best.is_none() {
            tracing::info!(log_loss = now.log_loss, auc = now.auc, "what joint training has to beat on validation");
            done.best = Some((0, now));
            self.trainer.snapshot();
        }
        let plan = options.plan(Stage::Joint);
        let fitted = fit(Stage::Joint.name(), self, plan, done, run.progress)?;
        Ok(StageRecord {
            stage: Stage::Joint,
            posts_sha256: run.pack.posts_sha256.clone(),
            seed: options.seed,
            kept_from: None,
            quick: options.quick,
            settings: serde_json::to_value(options.joint)?,
            plan: Some(plan),
            parameters: self.trainer.parameter_count(),
            train_examples: self.train.len(),
            validation_examples: posts.len(),
            fit: fitted,
        })
    }

    /// The validation posts as the networks encode them now, and what the fusion makes of them.
    fn validation(&self) -> anyhow::Result<(Vec<FusionExample>, Validation)> {
        let (run, trainer) = (self.run, &self.trainer);
        let encoders = Encoders { text: trainer.text(), audio: trainer.audio(), image: trainer.image() };
        let text = (&run.tokenizer, self.vocabulary);
        // Within the progress of the stage.
        let posts = encoders.encode_split(&run.pack, Split::Validation, &run.features, text, &Silent)?;
        let posts = fusion_examples(posts);
        let inputs: Vec<_> = posts.iter().map(|post| post.input.clone()).collect();
        let labels: Vec<bool> = posts.iter().map(|post| post.positive).collect();
        let figures = validation(&trainer.fusion().predict(&inputs)?, &labels)?;
        Ok((posts, figures))
    }
}

impl Trainable for Joint<'_> {
    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.trainer.set_learning_rate(learning_rate);
    }

    fn epoch(&mut self) -> anyhow::Result<EpochReport> {
        Ok(self.trainer.epoch(&self.train)?)
    }

    fn validate(&mut self) -> anyhow::Result<Validation> {
        Ok(self.validation()?.1)
    }

    fn snapshot(&mut self) {
        self.trainer.snapshot();
    }

    fn restore(&mut self) -> bool {
        self.trainer.restore()
    }

    fn keep(&mut self, done: &FitProgress) -> anyhow::Result<()> {
        self.begun.keep(done, &self.trainer)
    }
}
