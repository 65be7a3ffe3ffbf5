//! The stage `fusion`: CMF-AP on the frozen vectors of the encoders, and everything that is fitted on what they said of items
//! that they had not seen.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Context;
use jtav_model::{Checkpoint, Manifest, ModalitySet};
use jtav_training::{Evidence, FusionConfig, FusionExample, FusionTrainer, Parts, Tensors, UnimodalHeads};

use super::calibrating;
use super::certain::certain;
use super::encoders::Encoders;
use super::examples::Examples;
use super::outcome::{HeldOutItem, Outcome};
use super::run::{Counts, Run};
use crate::dataset::{Post, Split, comparable};
use crate::evaluation::EncodedPost;
use crate::options::Stage;
use crate::report::{Certain, StageRecord};
use crate::texts::is_sealed;

/// Languages of the rated texts; those of a pack's own texts are taken for the same.
const LANGUAGES: [&str; 1] = ["en"];
/// Share of certain labels that are to be right.
const PROMISED_ACCURACY: f32 = 0.9;
/// An identified language that is less probable is not believed: of 96 sentences in 16 languages, none of those that were told
/// wrong reached it (crates/text/tests/language.rs).
const LANGUAGE_CONFIDENCE: f32 = 0.5;

/// The fusion, trained and calibrated.
pub(super) struct Fused {
    pub tensors: Tensors,
    /// Of the whole checkpoint, but for its figures and hashes.
    pub manifest: Manifest,
    pub certain: BTreeMap<String, Certain>,
    pub record: StageRecord,
}

impl Run<'_> {
    pub(super) fn fusion(&self, encoders: &[Outcome; 3]) -> anyhow::Result<Fused> {
        if !self.options.stages.contains(&Stage::Fusion) {
            anyhow::bail!(
                "the stage `fusion` cannot be taken over: its calibration belongs to the encoders of this run"
            );
        }
        let config = FusionConfig { device: self.options.device, ..self.options.fusion };
        let settings = serde_json::to_value(config)?;
        let [text, audio, image] = encoders.each_ref().map(|outcome| &outcome.evidence);
        let by = calibrating::of_texts(&text.held_out)?;
        let mut texts = calibrating::calibrated(&text.held_out, &by);
        let heads = UnimodalHeads {
            text: calibrating::head(text.head.clone().into(), by.scale[0], by.shift[0]),
            audio: audio.head.clone().into(),
            image: image.head.clone().into(),
        };
        let mut trainer = FusionTrainer::new(config, &heads, self.options.seed)?;
        let mut manifest = self.manifest()?;
        let levels = audio.standardisation.clone();
        manifest.standardisation = levels.context("the audio network has no standardisation")?;

        let networks = self.networks(encoders, &trainer, &manifest)?;
        let encode = |split| networks.encode_split(&self.pack, split, &self.features, self.progress);
        let (encoded, encoded_validation) = (encode(Split::Train)?, encode(Split::Validation)?);
        let mut train = examples_of(&self.fusion_posts(Split::Train, &encoded));
        train.truncate(self.options.example_limit());
        let judged = self.fusion_posts(Split::Validation, &encoded_validation);
        let validation = examples_of(&judged);
        let examples = Examples {
            train,
            labels: validation.iter().map(|example| example.positive).collect(),
            validation: validation.iter().map(|example| example.input.clone()).collect(),
        };
        let fit = self.fit(Stage::Fusion, &mut trainer, &settings, &examples)?;

        let items = [texts.as_slice(), &audio.held_out, &image.held_out];
        let parts = Parts::fit(&evidence(items)).context("calibrating the encoders")?;
        let calibration = trainer.calibrate(&parts, &validation, &groups(&judged));
        manifest.calibration = calibration.context("calibrating the fusion")?;
        let neutral = text.neutral_head.clone().context("the text network has no neutral head")?;
        let neutral = calibrating::head(neutral.into(), by.scale[1], by.shift[1]);
        let shift = neutral_shift(&texts, &parts, &mut manifest);
        trainer.set_neutral(&calibrating::head(neutral, 1.0, shift))?;
        texts.iter_mut().filter_map(|text| text.neutral.as_mut()).for_each(|neutral| *neutral += shift);
        let items = [texts.as_slice(), &audio.held_out, &image.held_out];
        let certain = self.promise(items, &parts, &mut manifest);
        let counts = Counts {
            parameters: trainer.parameter_count(),
            train_examples: examples.train.len(),
            validation_examples: validation.len(),
        };
        let record = self.record(Stage::Fusion, settings.clone(), counts, fit);
        self.forget(Stage::Fusion, &settings)?;
        Ok(Fused { tensors: trainer.tensors(), manifest, certain, record })
    }

    /// From which confidence on labels are certain, and what else is promised of them.
    fn promise(&self, items: [&[HeldOutItem]; 3], parts: &Parts, manifest: &mut Manifest) -> BTreeMap<String, Certain> {
        manifest.middle.promised_accuracy = PROMISED_ACCURACY;
        manifest.middle.languages = LANGUAGES.map(str::to_owned).to_vec();
        manifest.middle.language_confidence = LANGUAGE_CONFIDENCE;
        let certain = certain(items, parts, &manifest.calibration, &manifest.middle, self.options.seed);
        manifest.middle.certain_from = certain.iter().map(|(subset, found)| (subset.clone(), found.from)).collect();
        certain
    }

    /// The encoders as they serve, out of a checkpoint whose fusion means nothing yet.
    fn networks(
        &self,
        encoders: &[Outcome; 3],
        fusion: &FusionTrainer,
        manifest: &Manifest,
    ) -> anyhow::Result<Encoders> {
        let mut tensors = fusion.tensors();
        for outcome in encoders {
            tensors.add(&outcome.tensors);
        }
        let weights = tensors.encode()?;
        let origin = self.work.file("encoders");
        let draft = Checkpoint::from_parts(manifest.clone(), self.bases.clone(), weights, &origin)?;
        Encoders::of_checkpoint(&draft, self.options.device)
    }

    /// The posts of a split that have at least one part; in training without those that hold something of the sealed tenth.
    fn fusion_posts<'a>(&'a self, split: Split, encoded: &'a [EncodedPost]) -> Vec<(&'a Post, &'a EncodedPost)> {
        let sealed: HashSet<String> = match (&self.rated, split) {
            (Some(rated), Split::Train) => rated.sealed.iter().map(|text| comparable(&text.text)).collect(),
            _ => HashSet::new(),
        };
        let is_open = |post: &Post| {
            let mut files = [&post.audio, &post.image].into_iter().flatten();
            let has_sealed = files.any(|file| file.group.as_deref().is_some_and(is_sealed))
                || post.texts.iter().any(|part| sealed.contains(&comparable(&part.text)));
            split != Split::Train || !has_sealed
        };
        let posts = self.pack.split(split).zip(encoded);
        posts.filter(|(post, encoded)| is_open(post) && !encoded.input.modalities().is_empty()).collect()
    }
}

/// What the neutral logit is moved by; the manifest is told what it is divided by.
fn neutral_shift(texts: &[HeldOutItem], parts: &Parts, manifest: &mut Manifest) -> f32 {
    manifest.middle.temperature = parts.neutral_temperature as f32;
    let of_text = manifest.calibration.temperature_of(ModalitySet::from_presence(true, false, false));
    let polarity = |logit: f32| parts.ratios(&[Some(logit), None, None])[0] / of_text;
    calibrating::as_often_neutral(texts, polarity, manifest.middle.temperature)
}

fn examples_of(posts: &[(&Post, &EncodedPost)]) -> Vec<FusionExample> {
    posts.iter().map(|(_, post)| FusionExample { input: post.input.clone(), positive: post.positive }).collect()
}

/// A number for each post; posts that share a text or the source of a medium, also by way of others, have the same.
fn groups(posts: &[(&Post, &EncodedPost)]) -> Vec<u64> {
    let mut group: Vec<usize> = (0..posts.len()).collect();
    let mut first: HashMap<String, usize> = HashMap::new();
    for (at, (post, _)) in posts.iter().enumerate() {
        let texts = post.texts.iter().map(|part| comparable(&part.text));
        let media = [&post.audio, &post.image].into_iter().flatten().map(|file| file.group());
        for item in texts.chain(media) {
            let other = *first.entry(item).or_insert(at);
            let (a, b) = (root(&group, at), root(&group, other));
            group[a.max(b)] = a.min(b);
        }
    }
    (0..posts.len()).map(|at| root(&group, at) as u64).collect()
}

fn root(group: &[usize], mut at: usize) -> usize {
    while group[at] != at {
        at = group[at];
    }
    at
}

/// Items of all three modalities, each by itself.
fn evidence(items: [&[HeldOutItem]; 3]) -> Vec<Evidence> {
    let of = |(modality, items): (usize, &[HeldOutItem])| {
        let item = move |item: &HeldOutItem| {
            let mut logits = [None; 3];
            logits[modality] = Some(item.logit);
            Evidence { logits, neutral: item.neutral, votes: item.votes }
        };
        items.iter().map(item).collect::<Vec<_>>()
    };
    items.into_iter().enumerate().flat_map(of).collect()
}
