//! Fine-tuning of all four networks together, end to end on posts.

use jtav_model::networks::JointBatch;
use jtav_model::parameters::Parameters;
use jtav_model::{Calibration, Modality, ModalitySet, ModelError, TextInput};
use rand::RngExt;
use rand::rngs::StdRng;
use tch::{Kind, Tensor};

use crate::audio::AudioTrainer;
use crate::encoder::Said;
use crate::fusion::FusionTrainer;
use crate::image::ImageTrainer;
use crate::learner::{Learner, learner_methods};
use crate::text::TextTrainer;
use crate::types::{AudioExample, EpochReport, FusionExample, ImageExample, JointConfig, UnimodalHeads, check_share};

/// One post with its label. The labels of its parts are not looked at, but for the mood of the clip.
#[derive(Debug, Clone)]
pub struct JointExample {
    /// The tokenised text, and what the bag of n-grams says of it from a fit without it
    /// ([`TextTrainer::held_out_evidence`]): a bag is right about nearly every text it was fitted to.
    pub text: Option<(TextInput, [f32; 2])>,
    pub audio: Option<AudioExample>,
    pub image: Option<ImageExample>,
    /// True for positive.
    pub positive: bool,
}

impl JointExample {
    fn modalities(&self) -> ModalitySet {
        ModalitySet::from_presence(self.text.is_some(), self.audio.is_some(), self.image.is_some())
    }
}

/// Text, audio, image network and fusion under one optimiser.
///
/// The loss is the cross-entropy of the fused logit, as calibration has weighed its summands, plus
/// [`auxiliary`](JointConfig::auxiliary) times the mean of the cross-entropies of what is summed: the encoders' own
/// logits, CMF-AP's, and the moods. On training posts the summed evidence is right about nearly everything; without the
/// second part a network that calibration gave no weight would get no gradient, and the heads would drift from what
/// they say alone. The trust, the bounds and the n-gram tables stay as they were fitted. The batch normalisation of the audio and image
/// networks runs on its statistics of the staged training: a batch of the joint one is half made of other modalities.
pub struct JointTrainer {
    learner: Learner,
    text: TextTrainer,
    audio: AudioTrainer,
    image: ImageTrainer,
    fusion: FusionTrainer,
    config: JointConfig,
}

impl JointTrainer {
    /// Takes up trained networks; the fusion's heads are set to those of the encoders. All must be on one device.
    pub fn new(
        config: JointConfig,
        text: TextTrainer,
        audio: AudioTrainer,
        image: ImageTrainer,
        fusion: FusionTrainer,
        seed: u64,
    ) -> Result<Self, ModelError> {
        check_share("modality_dropout", config.modality_dropout)?;
        if !(config.auxiliary >= 0.0 && config.auxiliary.is_finite()) {
            return Err(ModelError::Configuration(format!("auxiliary is {}, expected 0 or more", config.auxiliary)));
        }
        let mut all = Parameters { tensors: Default::default(), trainable: Vec::new() };
        for learner in [&text.learner, &audio.learner, &image.learner, &fusion.learner] {
            let shared = learner.parameters.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
            all.tensors.extend(shared);
            all.trainable.extend(learner.parameters.trainable.iter().cloned());
        }
        let learner = Learner::new(all, config.optimisation, seed)?;
        let mut trainer = Self { learner, text, audio, image, fusion, config };
        trainer.set_heads()?;
        Ok(trainer)
    }

    /// One pass over the posts, modalities hidden at random. [`ModelError::Input`] for a post without any, and for a
    /// single one: the fusion normalises over a batch.
    pub fn epoch(&mut self, examples: &[JointExample]) -> Result<EpochReport, ModelError> {
        if examples.len() == 1 {
            return Err(ModelError::Input("batch normalisation needs two posts or more".to_owned()));
        }
        if examples.iter().any(|example| example.modalities().is_empty()) {
            return Err(ModelError::Input("a post without any modality".to_owned()));
        }
        let mut pass = self.learner.begin(examples.len())?;
        for indices in std::mem::take(&mut pass.batches) {
            let posts: Vec<&JointExample> = indices.iter().map(|&at| &examples[at]).collect();
            let loss = self.loss(&posts, &mut pass.rng)?;
            self.learner.step(&mut pass, &loss, indices.len())?;
        }
        self.set_heads()?;
        Ok(self.learner.end(pass))
    }

    fn loss(&self, posts: &[&JointExample], rng: &mut StdRng) -> Result<Tensor, ModelError> {
        let hidden = |post: &&JointExample| show(post.modalities(), self.config.modality_dropout, rng);
        let shown: Vec<ModalitySet> = posts.iter().map(hidden).collect();
        let (mut vectors, mut own, mut present) = (Vec::new(), Vec::new(), Vec::new());
        let mut auxiliary = Vec::new();
        for modality in Modality::ALL {
            let rows: Vec<usize> = (0..posts.len()).filter(|&row| shown[row].contains(modality)).collect();
            let of: Vec<&JointExample> = rows.iter().map(|&row| posts[row]).collect();
            present.push((0..posts.len()).map(|row| f32::from(u8::from(shown[row].contains(modality)))).collect());
            let said = if of.is_empty() { None } else { Some(self.say(modality, &of, rng)?) };
            if let Some(said) = &said {
                let positive: Vec<bool> = of.iter().map(|post| post.positive).collect();
                auxiliary.push(self.learner.sentiment_loss(&said.logit, &positive)?);
                auxiliary.extend(said.beside.as_ref().map(Tensor::shallow_clone));
            }
            let scattered = self.scatter(said, &rows, posts.len())?;
            vectors.push(scattered.0);
            own.push(scattered.1);
        }
        let batch = JointBatch { vectors: Tensor::f_stack(&vectors, 1)?, present: self.present(&present)? };
        let forward = self.fusion.forward_with(&batch, &Tensor::f_stack(&own, 1)?)?;
        let positive: Vec<bool> = posts.iter().map(|post| post.positive).collect();
        auxiliary.push(self.learner.sentiment_loss(&forward.interaction, &positive)?);
        let fused = self.learner.sentiment_loss(&forward.logit, &positive)?;
        let beside = Tensor::f_stack(&auxiliary, 0)?.f_mean(Kind::Float)?;
        Ok(fused.f_add(&beside.f_mul_scalar(self.config.auxiliary)?)?)
    }

    /// Runs one encoder over its parts of these posts.
    fn say(&self, modality: Modality, posts: &[&JointExample], rng: &mut StdRng) -> Result<Said, ModelError> {
        match modality {
            Modality::Text => {
                let parts: Vec<_> = posts.iter().filter_map(|post| post.text.as_ref()).collect();
                self.text.say(&parts, rng)
            }
            Modality::Audio => {
                let parts: Vec<_> = posts.iter().filter_map(|post| post.audio.as_ref()).collect();
                self.audio.say(&parts, rng)
            }
            Modality::Image => {
                let parts: Vec<_> = posts.iter().filter_map(|post| post.image.as_ref()).collect();
                self.image.say(&parts, rng)
            }
        }
    }

    /// `[posts, vector]` and `[posts]` with zeros where nothing was said.
    fn scatter(&self, said: Option<Said>, rows: &[usize], posts: usize) -> Result<(Tensor, Tensor), ModelError> {
        let options = (Kind::Float, self.fusion.device());
        let vectors = Tensor::f_zeros([posts as i64, self.fusion.width() as i64], options)?;
        let logits = Tensor::f_zeros([posts as i64], options)?;
        let Some(said) = said else { return Ok((vectors, logits)) };
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let rows = Tensor::f_from_slice(&rows)?.f_to_device(self.fusion.device())?;
        Ok((vectors.f_index_copy(0, &rows, &said.vector)?, logits.f_index_copy(0, &rows, &said.logit)?))
    }

    /// `[posts, 3]` of one list per modality.
    fn present(&self, by_modality: &[Vec<f32>]) -> Result<Tensor, ModelError> {
        let rows =
            by_modality.iter().map(|row| Ok(Tensor::f_from_slice(row)?)).collect::<Result<Vec<_>, ModelError>>()?;
        Ok(Tensor::f_stack(&rows, 1)?.f_to_device(self.fusion.device())?)
    }

    /// The fusion adds up what the encoders' heads say, so it carries a copy of them.
    fn set_heads(&mut self) -> Result<(), ModelError> {
        let heads = UnimodalHeads { text: self.text.head()?, audio: self.audio.head()?, image: self.image.head()? };
        self.fusion.set_heads(&heads)
    }

    /// Calibrates the fusion anew, on vectors of [`text`](Self::text) and its siblings as they are now; see
    /// [`FusionTrainer::calibrate`].
    pub fn calibrate(&mut self, validation: &[FusionExample]) -> Result<Calibration, ModelError> {
        self.fusion.calibrate(validation)
    }

    /// The text network as it is now.
    pub fn text(&self) -> &TextTrainer {
        &self.text
    }

    /// The audio network as it is now.
    pub fn audio(&self) -> &AudioTrainer {
        &self.audio
    }

    /// The image network as it is now.
    pub fn image(&self) -> &ImageTrainer {
        &self.image
    }

    /// The fusion as it is now.
    pub fn fusion(&self) -> &FusionTrainer {
        &self.fusion
    }

    /// Gives the four networks back.
    pub fn into_networks(self) -> (TextTrainer, AudioTrainer, ImageTrainer, FusionTrainer) {
        (self.text, self.audio, self.image, self.fusion)
    }

    learner_methods!();
}

/// Hides each present modality with this probability; a post is never left with nothing.
fn show(present: ModalitySet, share: f64, rng: &mut StdRng) -> ModalitySet {
    let [text, audio, image] = Modality::ALL.map(|modality| !rng.random_bool(share) && present.contains(modality));
    let shown = ModalitySet::from_presence(text, audio, image);
    if shown.is_empty() { present } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{AudioConfig, FusionConfig, ImageConfig, Optimisation, TextConfig};
    use jtav_model::parameters::to_vec;
    use jtav_model::{DeviceChoice, Standardisation, Tokenizer, Vocabulary, VocabularyConfig};
    use rand::SeedableRng;
    use std::collections::BTreeMap;

    const DEVICE: DeviceChoice = DeviceChoice::Cpu;

    /// Four fresh networks, pictures of 64 px.
    fn trainer(config: JointConfig) -> (JointTrainer, Vocabulary) {
        let words = ["warm bright sea", "cold grey night"].map(|text| Tokenizer::new().words(text));
        let vocabulary = Vocabulary::build(words, VocabularyConfig { min_count: 1, max_rows: 100, buckets: 50 });
        let config_of_text = TextConfig { device: DEVICE, dropout: 0.0, ..TextConfig::default() };
        let text = TextTrainer::new(config_of_text, vocabulary.rows_total(), 1).unwrap();
        let standardisation = Standardisation { mean: vec![-40.0; 96], std: vec![20.0; 96] };
        let audio = AudioTrainer::new(AudioConfig { device: DEVICE, ..AudioConfig::default() }, standardisation, 2);
        let config_of_image = ImageConfig {
            device: DEVICE,
            train_resolution: 64,
            serve_resolution: 64,
            bf16: false,
            ..ImageConfig::default()
        };
        let (audio, image) = (audio.unwrap(), ImageTrainer::new(config_of_image, 3).unwrap());
        let heads =
            UnimodalHeads { text: text.head().unwrap(), audio: audio.head().unwrap(), image: image.head().unwrap() };
        let config_of_fusion = FusionConfig { device: DEVICE, dropout: 0.0, ..FusionConfig::default() };
        let fusion = FusionTrainer::new(config_of_fusion, &heads, 4).unwrap();
        (JointTrainer::new(config, text, audio, image, fusion, 5).unwrap(), vocabulary)
    }

    /// Warm words, high tones and red pictures are positive; every fourth post lacks a part.
    fn examples(vocabulary: &Vocabulary) -> Vec<JointExample> {
        let example = |at: usize| {
            let positive = at.is_multiple_of(2);
            let body = if positive { "warm bright sea" } else { "cold grey night" };
            let text = TextInput::from_parts(&Tokenizer::new(), vocabulary, &[("body", body), ("caption", "sea")]);
            let bin = if positive { 70 } else { 20 } + at % 5;
            let level = |at: usize| if (at % 96).abs_diff(bin) < 3 { -3.0 } else { -60.0 };
            let red = if positive { 220 } else { 30 };
            let pixels: Vec<u8> = (0..64 * 64).flat_map(|pixel| [red, (pixel * at % 200) as u8, 90]).collect();
            let mood = Some(if positive { 0 } else { 2 });
            JointExample {
                text: text.filter(|_| at % 4 != 1).map(|text| (text, if positive { [0.5, 1.0] } else { [-1.0, -0.5] })),
                audio: (at % 4 != 2).then(|| AudioExample {
                    decibels: (0..96 * 120).map(level).collect(),
                    positive,
                    mood,
                }),
                image: (at % 4 != 3).then(|| ImageExample { pixels: pixels.into(), side: 64, positive }),
                positive,
            }
        };
        (0..12).map(example).collect()
    }

    fn config(auxiliary: f64) -> JointConfig {
        let optimisation =
            Optimisation { learning_rate: 1e-3, batch_size: 6, weight_decay: 0.0, ..Optimisation::default() };
        JointConfig { optimisation, modality_dropout: 0.0, auxiliary }
    }

    fn values(trainer: &JointTrainer) -> BTreeMap<String, Vec<f32>> {
        let tensors = &trainer.learner.parameters.tensors;
        tensors.iter().map(|(name, tensor)| (name.clone(), to_vec(tensor).unwrap())).collect()
    }

    #[test]
    fn a_joint_epoch_moves_all_four_networks_but_no_statistic_of_an_encoder() {
        let (mut trainer, vocabulary) = trainer(config(0.5));
        let examples = examples(&vocabulary);
        let before = values(&trainer);
        let first = trainer.epoch(&examples).unwrap();
        let after = values(&trainer);
        let moved = |name: &str| before[name] != after[name];
        for network in ["text.", "audio.", "image.", "fusion."] {
            let trained: Vec<&String> =
                trainer.learner.parameters.trainable.iter().filter(|name| name.starts_with(network)).collect();
            let still: Vec<_> = trained.iter().filter(|name| !moved(name)).collect();
            assert!(still.len() * 10 <= trained.len(), "{network}: {} did not move: {still:?}", still.len());
        }
        for name in before.keys().filter(|name| name.contains("running_")) {
            assert_eq!(moved(name), name.starts_with("fusion."), "{name}");
        }
        // What the fusion adds up is what the encoders say now.
        let heads = after["fusion.additive.weight"].chunks(100).map(<[f32]>::to_vec).collect::<Vec<_>>();
        assert_eq!(heads, [trainer.text.head(), trainer.audio.head(), trainer.image.head()].map(|h| h.unwrap().weight));

        let mut last = first;
        for _ in 0..5 {
            last = trainer.epoch(&examples).unwrap();
        }
        assert!(last.loss < 0.8 * first.loss, "{first:?} {last:?}");
        assert_eq!((first.examples, last.epoch), (12, 6));
    }

    #[test]
    fn the_fused_loss_alone_reaches_word_vectors_first_filters_and_pixels() {
        let (mut trainer, vocabulary) = trainer(config(0.0));
        let before = values(&trainer);
        trainer.epoch(&examples(&vocabulary)).unwrap();
        let after = values(&trainer);
        for name in ["text.embedding.weight", "audio.conv0.weight", "image.features.conv0.weight"] {
            assert_ne!(before[name], after[name], "{name}");
        }
        assert_eq!(before["audio.mood_head.weight"], after["audio.mood_head.weight"], "moods are no part of it");
    }

    #[test]
    fn posts_and_settings_that_cannot_be_trained_on_are_refused() {
        let (mut trainer, vocabulary) = trainer(config(0.5));
        let examples = examples(&vocabulary);
        let nothing = JointExample { text: None, audio: None, image: None, positive: true };
        assert!(matches!(trainer.epoch(&[examples[0].clone(), nothing]), Err(ModelError::Input(_))));
        assert!(matches!(trainer.epoch(&examples[..1]), Err(ModelError::Input(_))));
        let (text, audio, image, fusion) = trainer.into_networks();
        let wrong = JointTrainer::new(config(f64::NAN), text, audio, image, fusion, 1);
        assert!(matches!(wrong, Err(ModelError::Configuration(_))));
    }

    #[test]
    fn something_of_every_post_is_shown_and_nothing_that_it_has_not() {
        let mut rng = StdRng::seed_from_u64(3);
        let present = ModalitySet::from_presence(true, false, true);
        let drawn: Vec<ModalitySet> = (0..300).map(|_| show(present, 0.5, &mut rng)).collect();
        assert!(drawn.iter().all(|shown| !shown.is_empty() && !shown.contains(Modality::Audio)));
        let whole = drawn.iter().filter(|&&shown| shown == present).count();
        // A quarter shows both, and so does the quarter that would show none.
        assert!((120..180).contains(&whole), "{whole}");
        assert!((0..50).all(|_| show(present, 0.0, &mut rng) == present));
    }
}
