//! One training loop for all four networks: warm-up and cosine step size, early stopping, best weights restored.

use anyhow::Context;
use jtav_training::EpochReport;
use serde::{Deserialize, Serialize};

use crate::progress::Progress;

/// How long and how fast a network is trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FitPlan {
    /// Most passes over the training examples.
    pub epochs: usize,
    /// Passes without a lower validation log loss after which it stops; 0 counts as 1.
    pub patience: usize,
    /// Largest step size; it falls along half a cosine to a twentieth of this.
    pub learning_rate: f64,
}

/// How the network does on the validation split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Area under the ROC curve, 0.5 where one class is missing.
    pub auc: f64,
    /// Mean negative log-likelihood before calibration, in nats; what early stopping looks at.
    pub log_loss: f64,
}

/// One row of the training curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// From 1.
    pub epoch: usize,
    /// Step size of this epoch.
    pub learning_rate: f64,
    /// Mean loss over the training examples, augmentation and dropout on.
    pub train_loss: f64,
    /// Validation AUC after it.
    pub validation_auc: f64,
    /// Validation log loss after it.
    pub validation_log_loss: f64,
    /// Wall seconds of the pass, without validation.
    pub seconds: f64,
}

/// What became of one network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FitReport {
    /// Every epoch that was run.
    pub curve: Vec<CurvePoint>,
    /// Epoch whose weights were kept, from 1.
    pub best_epoch: usize,
    /// Its validation AUC.
    pub best_auc: f64,
    /// Wall seconds, validation included.
    pub seconds: f64,
}

/// A network in training together with its examples.
pub trait Trainable {
    /// Step size from the next epoch on.
    fn set_learning_rate(&mut self, learning_rate: f64);
    /// One pass over the training examples.
    fn epoch(&mut self) -> anyhow::Result<EpochReport>;
    /// How it does on validation now.
    fn validate(&mut self) -> anyhow::Result<Validation>;
    /// Keeps the weights as the best so far.
    fn snapshot(&mut self);
    /// Goes back to the best weights; false when there are none.
    fn restore(&mut self) -> bool;
    /// Keeps everything that going on from here needs, `done` included.
    fn keep(&mut self, done: &FitProgress) -> anyhow::Result<()>;
}

/// Where a training stands between two epochs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FitProgress {
    /// Every epoch that was run.
    pub curve: Vec<CurvePoint>,
    /// Best epoch so far, from 1.
    pub best: Option<(usize, Validation)>,
    /// Wall seconds so far.
    pub seconds: f64,
}

impl FitProgress {
    /// Whether patience is used up.
    fn is_over(&self, plan: FitPlan) -> bool {
        let epoch = self.curve.len();
        epoch >= plan.epochs || self.best.is_some_and(|(best, _)| epoch - best >= plan.patience.max(1))
    }
}

/// Trains `trainable` on from `done`, which is empty for a fresh one; at the end it holds the weights of the best epoch.
pub fn fit(
    name: &str,
    trainable: &mut dyn Trainable,
    plan: FitPlan,
    mut done: FitProgress,
    progress: &dyn Progress,
) -> anyhow::Result<FitReport> {
    let (started, before) = (std::time::Instant::now(), done.seconds);
    progress.start(name, plan.epochs as u64);
    progress.advance(done.curve.len() as u64);
    while !done.is_over(plan) {
        let epoch = done.curve.len() + 1;
        let learning_rate = plan.learning_rate * cosine(epoch - 1, plan.epochs);
        trainable.set_learning_rate(learning_rate);
        let report = trainable.epoch().with_context(|| format!("{name}, epoch {epoch}"))?;
        anyhow::ensure!(
            report.loss.is_finite(),
            "{name}: the loss of epoch {epoch} is {}; lower the learning rate",
            report.loss
        );
        let validation = trainable.validate().with_context(|| format!("{name}, validation of epoch {epoch}"))?;
        done.curve.push(CurvePoint {
            epoch,
            learning_rate,
            train_loss: f64::from(report.loss),
            validation_auc: validation.auc,
            validation_log_loss: validation.log_loss,
            seconds: f64::from(report.seconds),
        });
        if done.best.is_none_or(|(_, best)| is_better(validation, best)) {
            done.best = Some((epoch, validation));
            trainable.snapshot();
        }
        done.seconds = before + started.elapsed().as_secs_f64();
        trainable.keep(&done).with_context(|| format!("{name}, keeping epoch {epoch}"))?;
        let best_epoch = done.best.map_or(epoch, |(epoch, _)| epoch);
        progress.advance(1);
        progress.note(&format!(
            "epoch {epoch}: loss {:.4}, validation AUC {:.4}, log loss {:.4} (best epoch {best_epoch}, {:.0} s)",
            report.loss, validation.auc, validation.log_loss, report.seconds
        ));
    }
    let FitProgress { curve, best, seconds } = done;
    let (best_epoch, validation) = best.with_context(|| format!("{name}: at least one epoch is needed"))?;
    anyhow::ensure!(trainable.restore(), "{name}: the best weights were not kept");
    progress.finish(&format!("best epoch {best_epoch} of {}, validation AUC {:.4}", curve.len(), validation.auc));
    Ok(FitReport { curve, best_epoch, best_auc: validation.auc, seconds })
}

/// The lower log loss. AUC only counts pairs in order: over a few dozen files its best epoch is mostly the luckiest.
fn is_better(new: Validation, old: Validation) -> bool {
    new.log_loss < old.log_loss
}

/// 1 falling to 0.05 along half a cosine (Loshchilov & Hutter 2017, without restarts).
fn cosine(done: usize, total: usize) -> f64 {
    let share = done as f64 / (total.max(2) - 1) as f64;
    0.05 + 0.95 * 0.5 * (1.0 + (std::f64::consts::PI * share.min(1.0)).cos())
}

/// Validation figures of raw logits.
pub fn validation(logits: &[f32], labels: &[bool]) -> anyhow::Result<Validation> {
    anyhow::ensure!(logits.len() == labels.len(), "{} logits for {} labels", logits.len(), labels.len());
    anyhow::ensure!(!logits.is_empty(), "the validation split has no example of this kind");
    if let Some(at) = logits.iter().position(|logit| !logit.is_finite()) {
        anyhow::bail!("logit {at} of the validation split is {}", logits[at]);
    }
    let logits: Vec<f64> = logits.iter().copied().map(f64::from).collect();
    let losses = logits.iter().zip(labels).map(|(&logit, &label)| {
        // ln(1 + e^-z) without overflow, z = logit of the true class.
        let z = if label { logit } else { -logit };
        (-z.abs()).exp().ln_1p() + (-z).max(0.0)
    });
    let log_loss = losses.sum::<f64>() / labels.len() as f64;
    Ok(Validation { auc: crate::metrics::auc(&logits, labels).unwrap_or(0.5), log_loss })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    /// Gives the listed validation losses and remembers what it was told.
    struct Scripted {
        log_losses: Vec<f64>,
        loss: f32,
        epoch: usize,
        rates: Vec<f64>,
        kept: Option<usize>,
        restored: Option<usize>,
        progress: Vec<FitProgress>,
    }

    impl Scripted {
        fn new(log_losses: &[f64]) -> Self {
            Self {
                log_losses: log_losses.to_vec(),
                loss: 0.5,
                epoch: 0,
                rates: Vec::new(),
                kept: None,
                restored: None,
                progress: Vec::new(),
            }
        }
    }

    impl Trainable for Scripted {
        fn set_learning_rate(&mut self, learning_rate: f64) {
            self.rates.push(learning_rate);
        }
        fn epoch(&mut self) -> anyhow::Result<EpochReport> {
            self.epoch += 1;
            Ok(EpochReport { epoch: self.epoch, loss: self.loss, examples: 1, seconds: 0.0 })
        }
        fn validate(&mut self) -> anyhow::Result<Validation> {
            Ok(Validation { auc: 0.1 * self.epoch as f64, log_loss: self.log_losses[self.epoch - 1] })
        }
        fn snapshot(&mut self) {
            self.kept = Some(self.epoch);
        }
        fn restore(&mut self) -> bool {
            self.restored = self.kept;
            self.kept.is_some()
        }
        fn keep(&mut self, done: &FitProgress) -> anyhow::Result<()> {
            self.progress.push(done.clone());
            Ok(())
        }
    }

    fn from_nothing(trainable: &mut Scripted, plan: FitPlan) -> anyhow::Result<FitReport> {
        fit("text", trainable, plan, FitProgress::default(), &Silent)
    }

    fn plan(epochs: usize, patience: usize) -> FitPlan {
        FitPlan { epochs, patience, learning_rate: 1.0 }
    }

    #[test]
    fn it_stops_when_patience_is_used_up_and_goes_back_to_the_best_epoch() {
        let mut trainable = Scripted::new(&[0.6, 0.4, 0.5, 0.5, 0.3]);
        let report = from_nothing(&mut trainable, plan(5, 2)).unwrap();
        assert_eq!((report.best_epoch, report.best_auc, report.curve.len()), (2, 0.2, 4));
        assert_eq!(trainable.restored, Some(2));
    }

    #[test]
    fn a_training_taken_up_after_any_epoch_runs_the_same_epochs_at_the_same_step_sizes() {
        let losses = [0.6, 0.4, 0.5, 0.45, 0.3];
        let mut whole = Scripted::new(&losses);
        let expected = from_nothing(&mut whole, plan(5, 2)).unwrap();
        for epoch in 1..=whole.progress.len() {
            let mut again = Scripted::new(&losses);
            let done = whole.progress[epoch - 1].clone();
            (again.epoch, again.kept) = (epoch, done.best.map(|(best, _)| best));
            let report = fit("text", &mut again, plan(5, 2), done, &Silent).unwrap();
            let without_time = |report: &FitReport| (report.curve.clone(), report.best_epoch, report.best_auc);
            assert_eq!(without_time(&report), without_time(&expected), "after epoch {epoch}");
            assert_eq!(again.rates, whole.rates[epoch..]);
            assert_eq!(again.restored, whole.restored);
        }
    }

    #[test]
    fn the_step_size_falls_from_the_plan_to_a_twentieth_of_it() {
        let mut trainable = Scripted::new(&[0.6, 0.5, 0.4]);
        from_nothing(&mut trainable, plan(3, 9)).unwrap();
        assert!((trainable.rates[0] - 1.0).abs() < 1e-12 && (trainable.rates[2] - 0.05).abs() < 1e-12);
        assert!(trainable.rates[1] < 1.0 && trainable.rates[1] > 0.05);
    }

    #[test]
    fn no_epoch_and_a_diverged_loss_are_errors() {
        assert!(from_nothing(&mut Scripted::new(&[]), plan(0, 1)).is_err());
        let mut diverged = Scripted::new(&[0.5]);
        diverged.loss = f32::NAN;
        let message = from_nothing(&mut diverged, plan(1, 1)).unwrap_err().to_string();
        assert!(message.contains("epoch 1 is NaN"), "{message}");
    }

    #[test]
    fn the_log_loss_is_finite_for_huge_logits_and_right_for_zero() {
        let at_zero = validation(&[0.0, 0.0], &[true, false]).unwrap();
        assert!((at_zero.log_loss - 2f64.ln()).abs() < 1e-12 && at_zero.auc == 0.5);
        let wrong = validation(&[1000.0, -1000.0], &[false, true]).unwrap();
        assert!((wrong.log_loss - 1000.0).abs() < 1e-9 && wrong.auc == 0.0);
        assert!(validation(&[f32::NAN], &[true]).is_err());
        assert!(validation(&[], &[]).is_err());
    }
}
