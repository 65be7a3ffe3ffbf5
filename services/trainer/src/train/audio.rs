//! The stage `audio`: DCRNN by epochs, then the regressions over the clips' statistics, then how far DCRNN is listened to
//! beside them.

use anyhow::Context;
use jtav_model::Standardisation;
use jtav_training::{AudioConfig, AudioExample, AudioTrainer, SoundExample, SoundFit, fit_sound};

use super::examples::{Examples, sounds};
use super::outcome::{Evidence, HeldOutItem, Outcome};
use super::run::{Counts, Run};
use crate::dataset::Split;
use crate::features::Clip;
use crate::fit::{FitReport, validation};
use crate::options::Stage;

impl Run<'_> {
    pub(super) fn audio(&self) -> anyhow::Result<Outcome> {
        if !self.options.stages.contains(&Stage::Audio) {
            return Outcome::take_over(&self.work, Stage::Audio);
        }
        let config = AudioConfig { device: self.options.device, ..self.options.audio };
        let settings = serde_json::json!({ "network": config, "max_audio_seconds": self.options.max_audio_seconds });
        if let Some(outcome) = self.finished(Stage::Audio, &settings)? {
            return Ok(outcome);
        }
        let mut labelled = sounds(&self.pack, Split::Train, &self.features);
        labelled.truncate(self.options.example_limit());
        let (sounds_of, clips): (Vec<SoundExample>, Vec<&Clip>) = labelled.into_iter().unzip();
        anyhow::ensure!(!clips.is_empty(), "the training split has nothing for the stage `audio`");
        let standardisation = Standardisation::fit(clips.iter().map(|clip| &*clip.decibels))?;
        let mut trainer = AudioTrainer::new(config, standardisation.clone(), self.options.seed)?;
        let (judged, validation_clips): (Vec<SoundExample>, Vec<&Clip>) =
            sounds(&self.pack, Split::Validation, &self.features).into_iter().unzip();
        let examples = Examples {
            train: sounds_of.iter().zip(clips).map(|(sound, clip)| example(sound, clip)).collect(),
            validation: validation_clips.into_iter().map(Clip::input).collect::<Result<_, _>>()?,
            labels: judged.iter().map(|sound| sound.positive).collect(),
        };
        let fit = self.fit(Stage::Audio, &mut trainer, &settings, &examples)?;

        let sound = fit_sound(&sounds_of, self.options.seed).context("fitting the statistics of clips")?;
        let best_auc = self.hear(&mut trainer, &sound, &judged, &examples)?;
        let counts = Counts {
            parameters: trainer.parameter_count(),
            train_examples: sounds_of.len(),
            validation_examples: judged.len(),
        };
        let record = self.record(Stage::Audio, settings.clone(), counts, FitReport { best_auc, ..fit });
        let labels = sounds_of.iter().map(|sound| sound.positive);
        let evidence = Evidence {
            head: trainer.head()?.into(),
            neutral_head: None,
            held_out: sound.held_out.iter().zip(labels).map(HeldOutItem::labelled).collect(),
            standardisation: Some(standardisation),
        };
        let outcome = Outcome { tensors: trainer.checkpoint_tensors()?, evidence, record };
        outcome.keep(&self.work)?;
        self.forget(Stage::Audio, &settings)?;
        Ok(outcome)
    }

    /// Puts the statistics beside DCRNN; the AUC of the statistics on validation.
    fn hear(
        &self,
        trainer: &mut AudioTrainer,
        sound: &SoundFit,
        judged: &[SoundExample],
        examples: &Examples<AudioTrainer>,
    ) -> anyhow::Result<f64> {
        let groups: Vec<String> = judged.iter().map(|clip| clip.group.clone()).collect();
        let Examples { validation: clips, labels, .. } = examples;
        let stack = trainer.hear(sound.statistics.clone(), clips, labels, &groups, self.options.seed)?;
        let logits = judged.iter().map(|clip| Ok(sound.statistics.judge(&clip.statistics)?.logit));
        let logits = logits.collect::<anyhow::Result<Vec<f32>>>()?;
        let beside = validation(&logits, labels)?;
        self.progress.start("audio, statistics", 0);
        self.progress.finish(&format!(
            "validation AUC {:.3}, log loss {:.3}; DCRNN is heard with {stack:.2} beside them",
            beside.auc, beside.log_loss
        ));
        Ok(beside.auc)
    }
}

fn example(sound: &SoundExample, clip: &Clip) -> AudioExample {
    AudioExample { decibels: clip.decibels.clone(), positive: sound.positive, mood: sound.mood }
}
