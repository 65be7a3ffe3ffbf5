//! How one cell comes to its logits.

use std::time::Instant;

use anyhow::Context;
use jtav_model::{DeviceChoice, FusionInput, Modality, ModalitySet, Standardisation};
use jtav_trainer::Progress;
use jtav_trainer::fit::{FitPlan, FitProgress, Trainable, Validation, fit, validation};
use jtav_training::EpochReport;

use super::cell::{Cell, Training};
use super::material::{Fold, Items, Material, Media, Source};
use super::rows::{Method, widths_of};
use crate::classical::{Doc2Vec, Doc2VecConfig, LogisticRegression};
use crate::zoo::{Architecture, Backbone, Example, FineTuning, Input, Profile, Settings, Trainer, Widths};

/// Inverse penalties that validation chooses from.
const PENALTIES: [f64; 5] = [1e-3, 1e-2, 0.1, 1.0, 10.0];
/// Most examples of a quick run.
const QUICK_EXAMPLES: usize = 64;
/// Probability that a present modality is hidden from a fusion of three in training, so that it serves posts without.
const MODALITY_DROPOUT: f64 = 0.2;

/// Weights that a backbone starts from.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct BackboneWeights {
    /// Of which.
    pub backbone: Backbone,
    /// safetensors with torchvision's names.
    pub path: std::path::PathBuf,
    /// What it must hash to.
    pub sha256: String,
}

/// What does not differ between the cells of a table.
pub(super) struct Workshop<'a> {
    pub material: &'a Material,
    pub profile: Profile,
    pub device: DeviceChoice,
    pub backbones: &'a [BackboneWeights],
    pub quick: bool,
    pub progress: &'a dyn Progress,
}

/// One cell to be made.
pub(super) struct Order<'a> {
    pub name: String,
    pub method: Method,
    pub seed: u64,
    pub fold: &'a Fold,
    /// The vectors that a fusion reads.
    pub vectors: Vec<FusionInput>,
}

impl Workshop<'_> {
    /// The settings and the plan of a network; none for what is solved.
    pub fn settings(&self, method: &Method) -> Option<(Settings, FitPlan)> {
        let architecture = match method {
            Method::Encoder { architecture, .. } | Method::Fusion { architecture } => architecture,
            _ => return None,
        };
        let mut settings = Settings { device: self.device, ..Settings::of(architecture) };
        let plan = match *architecture {
            Architecture::Image { backbone, .. } if !self.has_weights(backbone) => {
                // From scratch on a few hundred pictures everything moves, and resolution is not what is missing.
                settings.fine_tuning = FineTuning::All;
                let (resolution, epochs) = if backbone == Backbone::DenseNet121 { (96, 10) } else { (64, 4) };
                settings.resolution = resolution;
                if backbone == Backbone::Vgg19 {
                    // It has no normalisation layers that would forgive a long step.
                    settings.optimisation.learning_rate *= 0.1;
                }
                (epochs, 3)
            }
            Architecture::Image { .. } => (5, 5),
            Architecture::Dcrnn { .. } => {
                // At the authors' 1e-3 the first epoch over 780 clips ends at a loss of 1.53, twice that of guessing.
                settings.optimisation.learning_rate = 3e-4;
                (5, 2)
            }
            Architecture::ConvNet => (6, 2),
            // The authors' text scripts run five epochs.
            Architecture::BiGru { .. } | Architecture::AttBiGru { .. } | Architecture::LyricsHan { .. } => (5, 2),
            Architecture::EarlyFusion { .. } | Architecture::CmfAp { .. } | Architecture::LowRank { .. } => {
                // Vectors that came with the pack are narrow and few: a pass over them is cheap and small.
                if matches!(self.material.source, Source::Vectors(_)) { (150, 20) } else { (40, 6) }
            }
        };
        if matches!(method, Method::Fusion { .. })
            && widths_of(architecture).is_some_and(|widths| set_of(&widths) == ModalitySet::FULL)
        {
            settings.modality_dropout = MODALITY_DROPOUT;
        }
        let (epochs, patience) = if self.quick { (1, 1) } else { plan };
        let plan = FitPlan { epochs, patience, learning_rate: settings.optimisation.learning_rate };
        Some((settings, plan))
    }

    fn has_weights(&self, backbone: Backbone) -> bool {
        self.backbones.iter().any(|weights| weights.backbone == backbone)
    }

    /// Trains, or solves, one cell.
    pub fn make(&self, order: &Order) -> anyhow::Result<Cell> {
        let started = Instant::now();
        let mut cell = match order.method {
            Method::Doc2Vec => self.doc2vec(order)?,
            Method::Mfcc => regression(&self.media()?.mfcc, order.fold, &self.material.labels)?,
            Method::Given { modality } => regression(&self.vectors_of(modality)?, order.fold, &self.material.labels)?,
            Method::Product { parts } => self.product(order.fold, parts)?,
            Method::Encoder { architecture, sound } => {
                let media = self.media()?;
                let items = match (architecture, sound) {
                    (_, Some(sound)) => media.clips(sound),
                    (Architecture::Image { .. }, None) => &media.pictures,
                    _ => &media.texts,
                };
                self.encoder(order, architecture, items)?
            }
            Method::Concatenation { widths } => self.concatenation(order, widths)?,
            Method::Fusion { architecture } => self.fusion(order, architecture)?,
        };
        cell.training.seconds = started.elapsed().as_secs_f64();
        Ok(cell)
    }

    fn media(&self) -> anyhow::Result<&Media> {
        match &self.material.source {
            Source::Media(media) => Ok(media),
            Source::Vectors(_) => anyhow::bail!("{}: the pack has vectors and no media", self.material.data),
        }
    }

    fn doc2vec(&self, order: &Order) -> anyhow::Result<Cell> {
        let media = self.media()?;
        let training: Vec<usize> = order.fold.train.iter().filter_map(|&at| media.documents.of_post[at]).collect();
        let mut documents: Vec<Vec<String>> =
            training.iter().map(|&item| media.documents.items[item].clone()).collect();
        documents.extend(media.extra_documents.iter().cloned());
        if self.quick {
            documents.truncate(QUICK_EXAMPLES);
        }
        self.progress.start(&order.name, media.documents.items.len() as u64);
        let config = Doc2VecConfig { seed: order.seed, ..Doc2VecConfig::default() };
        let model = Doc2Vec::train(&documents, config).context("training paragraph vectors")?;
        // Inferred for training posts too: a vector that was trained lies elsewhere than one that was inferred.
        let mut vectors = Vec::with_capacity(media.documents.items.len());
        for document in &media.documents.items {
            vectors.push(model.infer(document));
            self.progress.advance(1);
        }
        self.progress.finish(&format!("{} documents", documents.len()));
        let items = Items { items: vectors, of_post: media.documents.of_post.clone() };
        regression(&items, order.fold, &self.material.labels)
    }

    /// The vectors of one modality that the pack brings.
    fn vectors_of(&self, modality: Modality) -> anyhow::Result<Items<Vec<f32>>> {
        let Source::Vectors(posts) = &self.material.source else {
            anyhow::bail!("{}: the pack has no vectors of its own", self.material.data);
        };
        Ok(Items::per_post(posts.iter().map(|post| post.vector(modality).map(<[f32]>::to_vec))))
    }

    /// `P(agree) = p q + (1 - p)(1 - q)`.
    fn product(&self, fold: &Fold, parts: [Modality; 2]) -> anyhow::Result<Cell> {
        let factors = &self.material.factors;
        let mut of_parts = Vec::new();
        for (side, modality) in parts.into_iter().enumerate() {
            let labels: Vec<bool> = factors.iter().map(|factors| factors[side]).collect();
            of_parts.push(regression(&self.vectors_of(modality)?, fold, &labels)?);
        }
        let [first, second] = &of_parts[..] else { anyhow::bail!("a product of {} parts", of_parts.len()) };
        let sigmoid = |logit: f32| 1.0 / (1.0 + (-logit).exp());
        let agree = |(p, q): (&Option<f32>, &Option<f32>)| {
            let (p, q) = (sigmoid((*p)?), sigmoid((*q)?));
            let agree = (p * q + (1.0 - p) * (1.0 - q)).clamp(1e-6, 1.0 - 1e-6);
            Some((agree / (1.0 - agree)).ln())
        };
        let logits = first.logits.iter().zip(&second.logits).map(agree).collect();
        Ok(Cell { training: first.training.clone(), logits, ..Cell::default() })
    }

    fn encoder(&self, order: &Order, architecture: Architecture, items: &Items<Input>) -> anyhow::Result<Cell> {
        let labels = &self.material.labels;
        let examples = |posts: &[usize]| items.labelled(posts, labels);
        let (train, held) = (examples(&order.fold.train), examples(&order.fold.validation));
        let (mut settings, plan) = self.settings(&order.method).context("a row that is no network")?;
        if matches!(architecture, Architecture::Dcrnn { .. } | Architecture::ConvNet) {
            settings.standardisation = Some(standardisation(items, &train)?);
        }
        let mut trainer = Trainer::new(architecture, settings, order.seed)?;
        if let Architecture::Image { backbone, .. } = architecture
            && let Some(weights) = self.backbones.iter().find(|weights| weights.backbone == backbone)
        {
            trainer.load_backbone(&weights.path, &weights.sha256)?;
        }
        let example = |&(item, positive): &(usize, bool)| Example { input: items.items[item].clone(), positive };
        let train: Vec<Example> = train.iter().map(example).collect();
        let training = self.fit(&order.name, &mut trainer, train, held.iter().map(example).collect(), plan)?;
        let (features, logits) = trainer.outputs(&items.items)?;
        let vectors = match architecture {
            // The authors fuse the pooled values of DenseNet-121 and not the head's.
            Architecture::Image { .. } if self.profile == Profile::AuthorsCode => {
                trainer.pooled_features(&items.items)?
            }
            _ => features,
        };
        Ok(Cell { training, logits: items.spread(&logits), vectors: Some(items.spread(&vectors)), ..Cell::default() })
    }

    fn fusion(&self, order: &Order, architecture: Architecture) -> anyhow::Result<Cell> {
        let widths = widths_of(&architecture).context("a fusion without widths")?;
        let read = set_of(&widths);
        let labels = &self.material.labels;
        let posts: Vec<FusionInput> = order.vectors.iter().map(|post| post.masked(read)).collect();
        let examples = |chosen: &[usize]| -> Vec<Example> {
            let there = chosen.iter().filter(|&&at| !posts[at].modalities().is_empty());
            there.map(|&at| Example { input: posts[at].clone().into(), positive: labels[at] }).collect()
        };
        let (settings, plan) = self.settings(&order.method).context("a fusion without settings")?;
        let mut trainer = Trainer::new(architecture, settings, order.seed)?;
        let training =
            self.fit(&order.name, &mut trainer, examples(&order.fold.train), examples(&order.fold.validation), plan)?;
        let say = |posts: &[FusionInput]| -> anyhow::Result<Vec<Option<f32>>> {
            let there: Vec<Input> =
                posts.iter().filter(|post| !post.modalities().is_empty()).cloned().map(Input::from).collect();
            let mut logits = trainer.predict(&there)?.into_iter();
            Ok(posts.iter().map(|post| if post.modalities().is_empty() { None } else { logits.next() }).collect())
        };
        answers(training, read, &posts, say)
    }

    /// A logistic regression on the vectors side by side. An absent one is the mean of the training posts', which says
    /// nothing.
    fn concatenation(&self, order: &Order, widths: Widths) -> anyhow::Result<Cell> {
        let read = set_of(&widths);
        let posts: Vec<FusionInput> = order.vectors.iter().map(|post| post.masked(read)).collect();
        let means = means(&posts, &order.fold.train, &widths);
        let row = |post: &FusionInput| {
            let parts = means.iter().map(|(modality, mean)| post.vector(*modality).unwrap_or(mean));
            (!post.modalities().is_empty()).then(|| parts.flatten().copied().collect::<Vec<f32>>())
        };
        let rows: Vec<Option<Vec<f32>>> = posts.iter().map(row).collect();
        let at = |chosen: &[usize]| chosen.iter().copied().filter(|&at| rows[at].is_some()).collect::<Vec<_>>();
        let labels = &self.material.labels;
        let part = |chosen: &[usize]| -> (Vec<Vec<f32>>, Vec<bool>) {
            at(chosen).into_iter().filter_map(|at| Some((rows[at].clone()?, labels[at]))).unzip()
        };
        let (model, training) = penalised(part(&order.fold.train), part(&order.fold.validation))?;
        let say = |posts: &[FusionInput]| -> anyhow::Result<Vec<Option<f32>>> {
            Ok(posts.iter().map(|post| row(post).map(|row| model.logit(&row) as f32)).collect())
        };
        answers(training, read, &posts, say)
    }

    fn fit(
        &self,
        name: &str,
        trainer: &mut Trainer,
        mut train: Vec<Example>,
        held: Vec<Example>,
        plan: FitPlan,
    ) -> anyhow::Result<Training> {
        if self.quick {
            train.truncate(QUICK_EXAMPLES);
        }
        let (inputs, labels) = held.into_iter().map(|example| (example.input, example.positive)).unzip();
        let (examples, parameters) = (train.len(), trainer.parameter_count());
        let mut learner = Pupil { trainer, train, inputs, labels };
        let report = fit(name, &mut learner, plan, FitProgress::default(), self.progress)?;
        let (epochs, best_epoch) = (report.curve.len(), report.best_epoch);
        Ok(Training { parameters, examples, epochs, best_epoch, seconds: 0.0, c: None })
    }
}

/// A network of the zoo with what it learns from and what it is judged by.
struct Pupil<'a> {
    trainer: &'a mut Trainer,
    train: Vec<Example>,
    inputs: Vec<Input>,
    labels: Vec<bool>,
}

impl Trainable for Pupil<'_> {
    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.trainer.set_learning_rate(learning_rate);
    }

    fn epoch(&mut self) -> anyhow::Result<EpochReport> {
        Ok(self.trainer.epoch(&self.train)?)
    }

    fn validate(&mut self) -> anyhow::Result<Validation> {
        validation(&self.trainer.predict(&self.inputs)?, &self.labels)
    }

    fn snapshot(&mut self) {
        self.trainer.snapshot();
    }

    fn restore(&mut self) -> bool {
        self.trainer.restore()
    }

    /// A cell takes minutes and is kept as a whole.
    fn keep(&mut self, _done: &FitProgress) -> anyhow::Result<()> {
        Ok(())
    }
}

/// A logistic regression on rows that items have, the penalty chosen on validation.
fn regression(items: &Items<Vec<f32>>, fold: &Fold, labels: &[bool]) -> anyhow::Result<Cell> {
    let part = |posts: &[usize]| -> (Vec<Vec<f32>>, Vec<bool>) {
        items.labelled(posts, labels).into_iter().map(|(item, label)| (items.items[item].clone(), label)).unzip()
    };
    let (model, training) = penalised(part(&fold.train), part(&fold.validation))?;
    let logits: Vec<f32> = items.items.iter().map(|row| model.logit(row) as f32).collect();
    Ok(Cell { training, logits: items.spread(&logits), ..Cell::default() })
}

type Labelled = (Vec<Vec<f32>>, Vec<bool>);

/// The regression with the penalty whose validation log loss is lowest.
fn penalised(train: Labelled, held: Labelled) -> anyhow::Result<(LogisticRegression, Training)> {
    let mut best: Option<(f64, f64, LogisticRegression)> = None;
    for c in PENALTIES {
        let model = LogisticRegression::fit(&train.0, &train.1, c)?;
        let logits: Vec<f32> = held.0.iter().map(|row| model.logit(row) as f32).collect();
        let loss = validation(&logits, &held.1)?.log_loss;
        if best.as_ref().is_none_or(|(lowest, ..)| loss < *lowest) {
            best = Some((loss, c, model));
        }
    }
    let (_, c, model) = best.context("no penalty to choose from")?;
    let parameters = train.0.first().map_or(0, Vec::len) + 1;
    Ok((model, Training { parameters, examples: train.0.len(), c: Some(c), ..Training::default() }))
}

/// Statistics of the training clips.
fn standardisation(items: &Items<Input>, train: &[(usize, bool)]) -> anyhow::Result<Standardisation> {
    let mut chosen: Vec<usize> = train.iter().map(|(item, _)| *item).collect();
    chosen.dedup();
    let segments = chosen.iter().filter_map(|&item| match &items.items[item] {
        Input::Audio(clip) => Some(clip.segments.iter().zip(&clip.valid_frames)),
        _ => None,
    });
    let sounding = segments
        .flatten()
        .map(|(segment, &frames)| &segment[..frames * segment.len() / jtav_signal::constants::SEGMENT_FRAMES]);
    Standardisation::fit(sounding).context("the training posts have no readable audio")
}

fn set_of(widths: &Widths) -> ModalitySet {
    ModalitySet::from_presence(widths.text.is_some(), widths.audio.is_some(), widths.image.is_some())
}

/// The cell of a fusion: its logits, and of a fusion of three those of each subset by name.
fn answers(
    training: Training,
    read: ModalitySet,
    posts: &[FusionInput],
    say: impl Fn(&[FusionInput]) -> anyhow::Result<Vec<Option<f32>>>,
) -> anyhow::Result<Cell> {
    let mut cell = Cell { training, logits: say(posts)?, ..Cell::default() };
    if read == ModalitySet::FULL {
        for subset in ModalitySet::all_non_empty() {
            let logits = match subset {
                ModalitySet::FULL => cell.logits.clone(),
                _ => say(&posts.iter().map(|post| post.masked(subset)).collect::<Vec<_>>())?,
            };
            cell.subsets.insert(subset.to_string(), logits);
        }
    }
    Ok(cell)
}

/// Mean vector of each modality over the training posts that have it; zeros where none has.
fn means(posts: &[FusionInput], train: &[usize], widths: &Widths) -> Vec<(Modality, Vec<f32>)> {
    let mean = |(modality, width): (Modality, usize)| {
        let (mut sum, mut n) = (vec![0.0_f32; width], 0.0_f32);
        for vector in train.iter().filter_map(|&at| posts[at].vector(modality)) {
            n += 1.0;
            for (sum, value) in sum.iter_mut().zip(vector) {
                *sum += value;
            }
        }
        (modality, sum.into_iter().map(|sum| sum / n.max(1.0)).collect())
    };
    widths.modalities().map(mean).collect()
}
