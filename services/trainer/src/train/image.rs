//! The stage `image`: a head on a backbone that somebody else trained.

use jtav_training::{ImageBackboneSource, ImageFitter};

use super::examples::{Pictures, pictures};
use super::outcome::{Evidence, HeldOutItem, Outcome};
use super::run::{Counts, Run};
use crate::dataset::Split;
use crate::fit::{FitReport, validation};
use crate::options::Stage;

impl Run<'_> {
    pub(super) fn image(&self) -> anyhow::Result<Outcome> {
        if !self.options.stages.contains(&Stage::Image) {
            return Outcome::take_over(&self.work, Stage::Image);
        }
        let backbone = match &self.options.image_weights {
            Some(path) => ImageBackboneSource::DenseNet121(path.clone()),
            None => ImageBackboneSource::EfficientNetLite0(self.bases.clone()),
        };
        let settings =
            serde_json::json!({ "backbone": self.image_backbone(), "weights": self.image_weights_sha256()? });
        if let Some(outcome) = self.finished(Stage::Image, &settings)? {
            return Ok(outcome);
        }
        let started = std::time::Instant::now();
        let Pictures { mut examples, mut groups, .. } = pictures(&self.pack, &self.features, Split::Train)?;
        examples.truncate(self.options.example_limit());
        groups.truncate(examples.len());
        let held = pictures(&self.pack, &self.features, Split::Validation)?;
        anyhow::ensure!(!examples.is_empty(), "the training split has nothing for the stage `image`");
        anyhow::ensure!(!held.examples.is_empty(), "the validation split has nothing for the stage `image`");
        self.progress.start("image", examples.len() as u64);
        let mut fitter = ImageFitter::new(backbone, self.options.device)?;
        let fit = fitter.fit(&examples, &groups, self.options.seed)?;
        self.progress.advance(examples.len() as u64);
        let labels: Vec<bool> = held.examples.iter().map(|example| example.positive).collect();
        let found = validation(&fitter.predict(&held.served)?, &labels)?;
        self.progress.finish(&format!("validation AUC {:.3}, log loss {:.3}", found.auc, found.log_loss));
        let report = FitReport {
            curve: Vec::new(),
            best_epoch: 0,
            best_auc: found.auc,
            seconds: started.elapsed().as_secs_f64(),
        };
        let head = fitter.head()?;
        // The dense layer and the head, each with its constants.
        let parameters = head.weight.len() * (fit.channels + 2) + 1;
        let counts = Counts { parameters, train_examples: examples.len(), validation_examples: labels.len() };
        let record = self.record(Stage::Image, settings, counts, report);
        let labels = examples.iter().map(|example| example.positive);
        let held_out = fit.out_of_fold.iter().zip(labels).map(HeldOutItem::labelled).collect();
        let evidence = Evidence { head: head.into(), neutral_head: None, held_out, standardisation: None };
        let outcome = Outcome { tensors: fit.head, evidence, record };
        outcome.keep(&self.work)?;
        Ok(outcome)
    }
}
