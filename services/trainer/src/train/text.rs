//! The stage `text`: networks of folds that judge the texts they have not seen, then the one that stays.

use anyhow::Context;
use jtav_model::text::WordPieces;
use jtav_model::word_vectors::WordVectors;
use jtav_model::{Dimensions, Manifest, TextFrontEnd, TextInput, roles};
use jtav_training::semantic::fit_semantic;
use jtav_training::three_way::HeldOut;
use jtav_training::{Optimisation, Tensors, TextConfig, TextFeatures, TextTrainer};

use super::examples::{leaks, of_pack, parts};
use super::outcome::{Evidence, HeldOutItem, Outcome};
use super::reading::{Reading, ReadingPlan};
use super::run::{Counts, Run};
use crate::dataset::Split;
use crate::fit::{CurvePoint, FitPlan, FitReport, Validation, validation};
use crate::options::Stage;
use crate::texts::{FOLDS, Pool, RatedText, Sizes};

/// What reads texts: words and pieces, and the words' vectors.
struct Reader {
    front_end: TextFrontEnd,
    words: WordVectors,
}

/// Validation posts as the network reads them, and whether they are positive.
struct ValidationPosts {
    features: Vec<TextFeatures>,
    labels: Vec<bool>,
}

impl Run<'_> {
    pub(super) fn text(&self) -> anyhow::Result<Outcome> {
        if !self.options.stages.contains(&Stage::Text) {
            return Outcome::take_over(&self.work, Stage::Text);
        }
        let config = TextConfig { device: self.options.device, ..self.options.text };
        let settings = serde_json::json!({ "profile": self.options.profile.name(), "network": config });
        if let Some(outcome) = self.finished(Stage::Text, &settings)? {
            return Ok(outcome);
        }
        let started = std::time::Instant::now();
        let manifest = self.manifest()?;
        let reader = self.reader(&manifest)?;
        let rated = self.rated_texts()?;
        let sizes = if self.options.quick { Sizes::FEW } else { Sizes::default() };
        let pool = Pool::with_sizes(&rated, sizes, self.options.seed);
        let reading = Reading::new(pool, &reader.front_end, &reader.words, self.progress)?;
        anyhow::ensure!(!reading.is_empty(), "there is no text to train the stage `text` on");
        let plan = self.reading_plan(config, manifest.dimensions);
        let held_out = self.held_out(&reading, &plan)?;
        let posts = self.validation_posts(&reader)?;
        let (trainer, curve) = self.whole(&reading, &plan, &posts)?;
        let mut tensors = trainer.tensors();
        add_semantic(&mut tensors, &reading.sentences, manifest.dimensions.semantic)?;
        let last = curve.last();
        let fit = FitReport {
            best_epoch: last.map_or(0, |point| point.epoch),
            best_auc: last.map_or(0.5, |point| point.validation_auc),
            curve,
            seconds: started.elapsed().as_secs_f64(),
        };
        let counts = Counts {
            parameters: trainer.parameter_count(),
            train_examples: rated.len(),
            validation_examples: posts.labels.len(),
        };
        let record = self.record(Stage::Text, settings, counts, fit);
        let outcome = Outcome { tensors, evidence: evidence(&trainer, &held_out)?, record };
        outcome.keep(&self.work)?;
        Ok(outcome)
    }

    /// What reads texts as the profile does.
    fn reader(&self, manifest: &Manifest) -> anyhow::Result<Reader> {
        let pieces = WordPieces::open(&self.bases, manifest.base(roles::PIECES)?)?;
        let front_end = TextFrontEnd::with_pieces(pieces, manifest.dimensions.ngram_buckets > 0);
        Ok(Reader { front_end, words: WordVectors::open(manifest, &self.bases, self.options.device, None)? })
    }

    /// The texts to train on: the rated ones without the sealed tenth, or else the pack's own.
    fn rated_texts(&self) -> anyhow::Result<Vec<RatedText>> {
        let mut texts = match &self.rated {
            Some(rated) => {
                leaks(&self.pack, &rated.open)?;
                rated.open.clone()
            }
            None => of_pack(&self.pack),
        };
        texts.truncate(self.options.example_limit());
        Ok(texts)
    }

    fn reading_plan(&self, config: TextConfig, dimensions: Dimensions) -> ReadingPlan {
        let FitPlan { epochs, learning_rate, .. } = self.options.plan(Stage::Text);
        let optimisation = Optimisation { learning_rate, ..config.optimisation };
        ReadingPlan { config: TextConfig { optimisation, ..config }, dimensions, epochs, seed: self.options.seed }
    }

    /// What networks that were trained without its fold say of each rated text.
    fn held_out(&self, reading: &Reading, plan: &ReadingPlan) -> anyhow::Result<Vec<HeldOut>> {
        self.progress.start("text, held-out folds", u64::from(FOLDS) * plan.epochs as u64);
        let mut held_out = Vec::new();
        for fold in 0..FOLDS {
            let trainer = reading
                .train(plan, Some(fold), |_| self.progress.advance(1))
                .with_context(|| format!("training without fold {fold}"))?;
            held_out.extend(reading.held_out(&trainer, fold)?);
        }
        self.progress.finish(&format!("{} texts judged by networks that had not seen them", held_out.len()));
        Ok(held_out)
    }

    fn validation_posts(&self, reader: &Reader) -> anyhow::Result<ValidationPosts> {
        let mut posts = ValidationPosts { features: Vec::new(), labels: Vec::new() };
        for post in self.pack.split(Split::Validation) {
            if let Some(input) = reader.front_end.input(&parts(post))? {
                posts.features.push(features(&input, &reader.words)?);
                posts.labels.push(post.positive);
            }
        }
        anyhow::ensure!(!posts.labels.is_empty(), "the validation split has nothing for the stage `text`");
        Ok(posts)
    }

    /// The network that stays, trained on all folds. Its epochs are fixed, so validation decides nothing here.
    fn whole(
        &self,
        reading: &Reading,
        plan: &ReadingPlan,
        posts: &ValidationPosts,
    ) -> anyhow::Result<(TextTrainer, Vec<CurvePoint>)> {
        self.progress.start("text", plan.epochs as u64);
        let mut curve = Vec::new();
        let texts: Vec<&TextFeatures> = posts.features.iter().collect();
        let trainer = reading.train(plan, None, |report| {
            curve.push(*report);
            self.progress.advance(1);
        })?;
        let logits: Vec<f32> = trainer.predict(&texts)?.into_iter().map(|[polarity, _]| polarity).collect();
        let Validation { auc, log_loss } = validation(&logits, &posts.labels)?;
        self.progress.finish(&format!("validation AUC {auc:.3}, log loss {log_loss:.3} before calibration"));
        let point = |report: jtav_training::EpochReport| CurvePoint {
            epoch: report.epoch,
            learning_rate: plan.config.optimisation.learning_rate,
            train_loss: f64::from(report.loss),
            validation_auc: auc,
            validation_log_loss: log_loss,
            seconds: f64::from(report.seconds),
        };
        // Figures of the last epoch: the ones before were not looked at.
        Ok((trainer, curve.into_iter().map(point).collect()))
    }
}

/// What the fusion needs to know of it.
fn evidence(trainer: &TextTrainer, held_out: &[HeldOut]) -> anyhow::Result<Evidence> {
    let item = |text: &HeldOut| {
        let [logit, neutral] = text.logits;
        HeldOutItem { logit, neutral: Some(neutral), votes: text.votes }
    };
    Ok(Evidence {
        head: trainer.polarity_head()?.into(),
        neutral_head: Some(trainer.neutral_head()?.into()),
        held_out: held_out.iter().map(item).collect(),
        standardisation: None,
    })
}

fn features(input: &TextInput, words: &WordVectors) -> anyhow::Result<TextFeatures> {
    let features = words.of(&[input])?;
    let features = features.first().context("a text was not read")?;
    Ok(TextFeatures::new(input, features)?)
}

/// What texts are about, from the rated texts; nothing in a profile without it.
fn add_semantic(tensors: &mut Tensors, sentences: &[Vec<f32>], dimensions: i64) -> anyhow::Result<()> {
    if dimensions == 0 {
        return Ok(());
    }
    let most = sentences.len().saturating_sub(1).min(dimensions as usize);
    let fitted = fit_semantic(sentences, most).context("reducing the sentence encoder's vectors")?;
    Ok(tensors.add_semantic(&fitted.mean, &fitted.matrix, dimensions as usize)?)
}
