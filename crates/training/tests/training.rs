//! The trainers learn, can be stopped and taken up, and end in a checkpoint that says the same.

mod common;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::{assert_close, clip, picture, pixels, spectrogram, text};
use jtav_model::{
    AudioNetwork, FusionInput, FusionNetwork, ImageNetwork, ModalitySet, ModelError, Standardisation, TextInput,
    TextNetwork,
};
use jtav_training::{
    AudioConfig, AudioExample, AudioTrainer, FusionConfig, FusionExample, FusionTrainer, ImageConfig, ImageExample,
    ImageTrainer, Kept, LinearHead, Optimisation, TextConfig, TextExample, TextTrainer, UnimodalHeads,
};

/// Dropout draws from libtorch's one generator per process, so a training is only repeatable while no other runs.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn optimisation(learning_rate: f64, batch_size: usize) -> Optimisation {
    Optimisation { learning_rate, batch_size, weight_decay: 0.0, ..Optimisation::default() }
}

fn accuracy(logits: &[f32], labels: impl Iterator<Item = bool>) -> f64 {
    let right = logits.iter().zip(labels).filter(|(logit, positive)| (**logit > 0.0) == *positive).count();
    right as f64 / logits.len() as f64
}

/// 32 texts whose label is a word order that no single word gives away.
fn text_examples() -> (usize, Vec<TextExample>) {
    let vocabulary = common::vocabulary();
    let nouns = ["sea", "night", "harbour", "road", "train", "garden", "river", "street"];
    let forms =
        [("not warm but cold", false), ("not cold but warm", true), ("warm not cold", true), ("cold not warm", false)];
    let mut examples = Vec::new();
    for noun in nouns {
        for (form, positive) in forms {
            let body = format!("the {noun} was {form}");
            examples.push(TextExample { input: text(&vocabulary, &[("body", &body), ("caption", noun)]), positive });
        }
    }
    (vocabulary.rows_total(), examples)
}

fn text_trainer(rows: usize, seed: u64) -> TextTrainer {
    let config = TextConfig {
        device: common::device(),
        optimisation: optimisation(5e-3, 8),
        dropout: 0.1,
        word_dropout: 0.0,
        ..TextConfig::default()
    };
    TextTrainer::new(config, rows, seed).unwrap()
}

#[test]
fn the_text_network_learns_32_posts_by_heart() {
    let _alone = alone();
    let (rows, examples) = text_examples();
    let mut trainer = text_trainer(rows, 3);
    let first = trainer.epoch(&examples).unwrap();
    assert_eq!((first.epoch, first.examples), (1, 32));
    let mut last = first;
    for _ in 0..59 {
        last = trainer.epoch(&examples).unwrap();
    }
    assert!(last.loss < 0.2 * first.loss, "{first:?} {last:?}");
    let inputs: Vec<TextInput> = examples.iter().map(|example| example.input.clone()).collect();
    let logits = trainer.predict(&inputs).unwrap();
    assert_eq!(accuracy(&logits, examples.iter().map(|example| example.positive)), 1.0);
}

#[test]
fn equal_seeds_train_equally_and_a_state_file_goes_on_where_it_stopped() {
    let _alone = alone();
    let (rows, examples) = text_examples();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("text.state");
    let inputs: Vec<TextInput> = examples.iter().map(|example| example.input.clone()).collect();

    let mut straight = text_trainer(rows, 5);
    for _ in 0..2 {
        straight.epoch(&examples).unwrap();
    }
    straight.save_state(&state).unwrap();
    straight.epoch(&examples).unwrap();

    let mut resumed = text_trainer(rows, 99);
    resumed.load_state(&state).unwrap();
    assert_eq!(resumed.epoch(&examples).unwrap().epoch, 3);
    assert_close(&resumed.predict(&inputs).unwrap(), &straight.predict(&inputs).unwrap(), 1e-4, "after the state file");

    let mut other = text_trainer(rows + 1, 5);
    let before = other.predict(&inputs).unwrap();
    assert!(matches!(other.load_state(&state), Err(ModelError::Misshaped { .. })));
    assert_eq!(other.predict(&inputs).unwrap(), before, "a refused state changed the weights");
    std::fs::write(&state, b"nonsense").unwrap();
    assert!(matches!(resumed.load_state(&state), Err(ModelError::Malformed { .. })));
}

#[test]
fn a_progress_file_holds_the_best_weights_beside_the_last_ones() {
    let _alone = alone();
    let (rows, examples) = text_examples();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("text.state");
    let inputs: Vec<TextInput> = examples.iter().map(|example| example.input.clone()).collect();
    let mut trainer = text_trainer(rows, 5);
    trainer.epoch(&examples).unwrap();
    trainer.snapshot();
    let best = trainer.predict(&inputs).unwrap();
    trainer.epoch(&examples).unwrap();
    let last = trainer.predict(&inputs).unwrap();
    assert_ne!(best, last);
    trainer.save_progress(&state).unwrap();

    let mut resumed = text_trainer(rows, 99);
    resumed.load_state(&state).unwrap();
    assert_close(&resumed.predict(&inputs).unwrap(), &last, 1e-6, "the last weights");
    assert!(resumed.restore());
    assert_close(&resumed.predict(&inputs).unwrap(), &best, 1e-6, "the best weights");

    trainer.save_state(&state).unwrap();
    let mut without = text_trainer(rows, 99);
    without.load_state(&state).unwrap();
    assert!(!without.restore(), "a finished network needs no second copy");
}

#[test]
fn a_bag_of_ngrams_is_heard_and_survives_its_state_file() {
    let _alone = alone();
    let vocabulary = common::vocabulary();
    let examples = common::bag_examples(&vocabulary);
    let probe = ["warm", "cold"].map(|body| text(&vocabulary, &[("body", body)]));
    let mut trainer = text_trainer(vocabulary.rows_total(), 5);
    let before = trainer.predict(&probe).unwrap();
    trainer.fit_bag(&examples).unwrap();
    let after = trainer.predict(&probe).unwrap();
    assert!(after[0] - before[0] > after[1] - before[1], "{before:?} {after:?}");

    // The head over the vector says the same as the network.
    let (head, vector) = (trainer.head().unwrap(), trainer.encode(&probe).unwrap());
    let logit = head.weight.iter().zip(&vector[0]).map(|(w, v)| w * v).sum::<f32>() + head.bias;
    assert!((logit - after[0]).abs() < 1e-4, "{logit} {}", after[0]);

    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("text.state");
    trainer.save_state(&state).unwrap();
    let mut resumed = text_trainer(vocabulary.rows_total(), 99);
    resumed.load_state(&state).unwrap();
    assert_eq!(resumed.predict(&probe).unwrap(), after);

    // An untrained BiGRU beside a fitted bag: the weights make the most of both.
    let mut weighed = text_trainer(vocabulary.rows_total(), 99);
    weighed.fit_bag(&examples).unwrap();
    let judged: Vec<TextInput> = examples.iter().cycle().take(60).map(|example| example.input.clone()).collect();
    let labels: Vec<bool> = examples.iter().cycle().take(60).map(|example| example.positive).collect();
    weighed.weigh(&judged, &labels).unwrap();
    assert_eq!(accuracy(&weighed.predict(&judged).unwrap(), labels.iter().copied()), 1.0);
    assert!(weighed.weigh(&judged[..1], &labels[..1]).is_err(), "one label cannot be weighed");

    let error = trainer.epoch(&examples[..2]).unwrap_err();
    assert!(error.to_string().contains("2 examples for a bag that was fitted on 3"), "{error}");
    assert!(trainer.fit_bag(&examples[..1]).is_err(), "one label cannot be fitted");
}

#[test]
fn kept_audio_and_image_networks_answer_as_they_served() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let served = common::trainers(6).assemble(Default::default(), folder.path());
    let kept = Kept::read(folder.path()).unwrap();
    assert_eq!(kept.version(), served.model_version());
    let device = common::device();

    let config = AudioConfig { device, ..AudioConfig::default() };
    let mut audio = AudioTrainer::new(config, kept.standardisation().clone(), 7).unwrap();
    audio.keep_weights(&kept).unwrap();
    let clips = [clip(33, 400)];
    let expected = AudioNetwork::from_checkpoint(&served, device).unwrap().encode(&clips).unwrap();
    assert_close(&audio.encode(&clips).unwrap()[0], &expected[0].vector, 1e-5, "audio");
    let other = Standardisation { mean: vec![-40.0; 96], std: vec![15.0; 96] };
    assert!(AudioTrainer::new(config, other, 7).unwrap().keep_weights(&kept).is_err());

    let serve_resolution = kept.image_resolution();
    let config = ImageConfig { device, serve_resolution, bf16: false, ..ImageConfig::default() };
    let mut image = ImageTrainer::new(config, 7).unwrap();
    image.keep_weights(&kept).unwrap();
    let pictures = [picture(5, 99)];
    let expected = ImageNetwork::from_checkpoint_f32(&served, device).unwrap().encode(&pictures).unwrap();
    assert_close(&image.encode(&pictures).unwrap()[0], &expected[0].vector, 1e-4, "image");
    let wide = ImageConfig { serve_resolution: 224, ..config };
    let message = ImageTrainer::new(wide, 7).unwrap().keep_weights(&kept).unwrap_err().to_string();
    assert!(message.contains("64 px"), "{message}");

    let weights = folder.path().join("weights.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    assert!(matches!(Kept::read(folder.path()), Err(ModelError::HashMismatch { .. })));
}

#[test]
fn restoring_brings_the_best_weights_back() {
    let _alone = alone();
    let (rows, examples) = text_examples();
    let inputs: Vec<TextInput> = examples.iter().map(|example| example.input.clone()).collect();
    let mut trainer = text_trainer(rows, 8);
    assert!(!trainer.restore());
    trainer.epoch(&examples).unwrap();
    trainer.snapshot();
    let best = trainer.predict(&inputs).unwrap();
    trainer.epoch(&examples).unwrap();
    assert_ne!(trainer.predict(&inputs).unwrap(), best);
    assert!(trainer.restore());
    assert_eq!(trainer.predict(&inputs).unwrap(), best);
}

#[test]
fn the_audio_network_learns_pitch_and_mood() {
    let _alone = alone();
    let bins = [15, 30, 60, 80];
    let examples: Vec<AudioExample> = (0..16)
        .map(|i| AudioExample {
            decibels: Arc::from(spectrogram(bins[i % 4] + i / 4, 120 + 30 * i)),
            positive: i % 4 >= 2,
            mood: (i % 3 > 0).then_some(i % 4),
        })
        .collect();
    let config = AudioConfig {
        device: common::device(),
        optimisation: optimisation(5e-4, 8),
        dropout: 0.0,
        shift_bins: 1,
        mask_bins: 2,
        mask_frames: 4,
        ..AudioConfig::default()
    };
    let mut trainer = AudioTrainer::new(config, common::standardisation(), 4).unwrap();
    let first = trainer.epoch(&examples).unwrap();
    let mut last = first;
    for _ in 0..11 {
        last = trainer.epoch(&examples).unwrap();
    }
    assert!(last.loss < 0.5 * first.loss, "{first:?} {last:?}");
    let clips: Vec<_> = (0..4).map(|i| clip(bins[i] + 2, 216)).collect();
    assert_eq!(accuracy(&trainer.predict(&clips).unwrap(), [false, false, true, true].into_iter()), 1.0);
    let moods = trainer.predict_moods(&clips).unwrap();
    let best = |row: &[f32; 4]| (0..4).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    let right = moods.iter().enumerate().filter(|(mood, row)| best(row) == *mood).count();
    assert!(right >= 3, "{moods:?}");

    let strange = AudioExample { mood: Some(4), ..examples[0].clone() };
    assert!(matches!(trainer.epoch(&[strange]), Err(ModelError::Input(_))));
    assert!(trainer.predict(&[]).unwrap().is_empty());
}

#[test]
fn the_image_network_learns_a_colour() {
    let _alone = alone();
    let examples: Vec<ImageExample> = (0..8)
        .map(|i| {
            let red = if i % 2 == 0 { 230 } else { 20 };
            ImageExample { pixels: Arc::from(pixels(72, 2 + i, red)), side: 72, positive: i % 2 == 0 }
        })
        .collect();
    let config = ImageConfig {
        device: common::device(),
        optimisation: optimisation(3e-4, 8),
        train_resolution: 64,
        serve_resolution: 64,
        dropout: 0.0,
        bf16: false,
        ..ImageConfig::default()
    };
    let mut trainer = ImageTrainer::new(config, 4).unwrap();
    for _ in 0..6 {
        assert!(trainer.epoch(&examples).unwrap().loss.is_finite());
    }
    let logits = trainer.predict(&[picture(6, 230), picture(6, 20)]).unwrap();
    assert!(logits[0] > logits[1], "{logits:?}");

    let fast = ImageConfig { bf16: true, ..config };
    let mut trainer = ImageTrainer::new(fast, 4).unwrap();
    let first = trainer.epoch(&examples).unwrap();
    for _ in 0..4 {
        trainer.epoch(&examples).unwrap();
    }
    assert!(trainer.epoch(&examples).unwrap().loss < 0.5 * first.loss, "bf16 does not learn");
    assert!(matches!(trainer.epoch(&examples[..1]), Err(ModelError::Input(_))));
    let wrong = ImageExample { side: 71, ..examples[0].clone() };
    assert!(matches!(trainer.epoch(&[wrong, examples[1].clone()]), Err(ModelError::Input(_))));
}

/// The label is whether two vectors agree in sign: neither says anything alone.
fn congruence(count: usize, seed: usize) -> Vec<FusionExample> {
    (0..count)
        .map(|i| {
            let noise = |j: usize| ((((i + seed) * 31 + j) * 7919 % 1000) as f32 / 1000.0 - 0.5) * 0.6;
            let sign = |bit: usize| if (i + seed) & bit == 0 { 1.0 } else { -1.0 };
            let vector =
                |sign: f32, from: usize| (0..100).map(|j| if j < 50 { sign } else { 1.0 } + noise(j + from)).collect();
            FusionExample {
                input: FusionInput { text: Some(vector(sign(1), 0)), audio: None, image: Some(vector(sign(2), 100)) },
                positive: sign(1) == sign(2),
            }
        })
        .collect()
}

fn idle_heads() -> UnimodalHeads {
    let head = LinearHead { weight: vec![0.0; 100], bias: 0.0 };
    UnimodalHeads { text: head.clone(), audio: head.clone(), image: head }
}

#[test]
fn cmf_ap_learns_agreement_which_no_sum_of_parts_can() {
    let _alone = alone();
    let config = FusionConfig {
        device: common::device(),
        optimisation: optimisation(3e-3, 32),
        modality_dropout: 0.0,
        ..FusionConfig::default()
    };
    let mut trainer = FusionTrainer::new(config, &idle_heads(), 2).unwrap();
    let (train, validation) = (congruence(256, 0), congruence(64, 1000));
    for _ in 0..30 {
        trainer.epoch(&train).unwrap();
    }
    let inputs: Vec<FusionInput> = validation.iter().map(|example| example.input.clone()).collect();
    let labels = || validation.iter().map(|example| example.positive);
    assert!(accuracy(&trainer.predict_interaction(&inputs).unwrap(), labels()) > 0.95);
    let calibration = trainer.calibrate(&validation).unwrap();
    assert!(accuracy(&trainer.predict(&inputs).unwrap(), labels()) > 0.95);
    assert_eq!(calibration.temperature.len(), 3, "text, image and both: {calibration:?}");
}

/// Each modality is right on its own, image is noise: the fused label must follow the good parts.
#[test]
fn calibration_trusts_the_parts_that_hold_on_validation() {
    let _alone = alone();
    let example = |i: usize| {
        let positive = !(i * 7).is_multiple_of(3);
        let side = if positive { 1.0 } else { -1.0 };
        let coin = if ((i * 2_654_435_761) >> 7) & 1 == 0 { 1.0 } else { -1.0 };
        let axis = |value: f32, at: usize| Some((0..100).map(|j| if j == at { value } else { 0.01 }).collect());
        let slip = if i.is_multiple_of(10) { -1.0 } else { 1.0 };
        FusionExample {
            input: FusionInput { text: axis(side * slip, 0), audio: axis(side * coin, 1), image: axis(coin, 2) },
            positive,
        }
    };
    let head =
        |at: usize| LinearHead { weight: (0..100).map(|j| if j == at { 6.0 } else { 0.0 }).collect(), bias: 0.0 };
    let heads = UnimodalHeads { text: head(0), audio: head(1), image: head(2) };
    let config = FusionConfig { device: common::device(), ..FusionConfig::default() };
    let mut trainer = FusionTrainer::new(config, &heads, 1).unwrap();
    let validation: Vec<FusionExample> = (0..300).map(example).collect();
    trainer.calibrate(&validation).unwrap();
    let inputs: Vec<FusionInput> = validation.iter().map(|example| example.input.clone()).collect();
    let labels = || validation.iter().map(|example| example.positive);
    let parts = trainer.predict_parts(&inputs).unwrap();
    assert!((parts[0][0].abs() - 6.0).abs() < 1e-4, "{:?}", parts[0]);
    let fused = accuracy(&trainer.predict(&inputs).unwrap(), labels());
    let text_alone = accuracy(&parts.iter().map(|part| part[0]).collect::<Vec<_>>(), labels());
    assert!(fused >= text_alone, "fused {fused}, text {text_alone}");

    // A picture like none before: its head alone says +600.
    let negative = inputs.iter().zip(labels()).find(|(_, positive)| !positive).map(|(input, _)| input.clone()).unwrap();
    let image = |value: f32| Some((0..100).map(|j| if j == 2 { value } else { 0.01 }).collect());
    let outlier = FusionInput { image: image(100.0), ..negative.clone() };
    let usual = FusionInput { image: image(1.0), ..negative };
    let logits = trainer.predict(&[outlier, usual]).unwrap();
    assert!((logits[0] - logits[1]).abs() < 1.0, "one odd picture overrules the rest: {logits:?}");
}

#[test]
fn a_checkpoint_says_what_its_trainers_said() {
    let _alone = alone();
    let trainers = common::trainers(6);
    let vocabulary = &trainers.vocabulary;
    let posts = [text(vocabulary, &[("body", "warm bright sea"), ("caption", "we sang")])];
    let clips = [clip(33, 400)];
    let pictures = [picture(5, 99)];
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = trainers.assemble(Default::default(), folder.path());
    assert_eq!(checkpoint.manifest().dimensions.image_resolution, 64);

    let device = common::device();
    let served_text = TextNetwork::from_checkpoint(&checkpoint, device).unwrap().encode(&posts).unwrap();
    let served_audio = AudioNetwork::from_checkpoint(&checkpoint, device).unwrap().encode(&clips).unwrap();
    let served_image = ImageNetwork::from_checkpoint_f32(&checkpoint, device).unwrap().encode(&pictures).unwrap();
    // f16 weights are the only difference.
    assert_close(&served_text[0].vector, &trainers.text.encode(&posts).unwrap()[0], 2e-3, "text");
    assert_close(&served_audio[0].vector, &trainers.audio.encode(&clips).unwrap()[0], 5e-3, "audio");
    assert_close(&served_image[0].vector, &trainers.image.encode(&pictures).unwrap()[0], 2e-2, "image");

    let post = FusionInput {
        text: Some(served_text[0].vector.clone()),
        audio: Some(served_audio[0].vector.clone()),
        image: Some(served_image[0].vector.clone()),
    };
    let fused = FusionNetwork::from_checkpoint(&checkpoint, device).unwrap();
    for subset in ModalitySet::all_non_empty() {
        let input = [post.masked(subset)];
        let (served, trained) = (fused.fuse(&input).unwrap(), trainers.fusion.predict(&input).unwrap());
        assert!((served[0].logit - trained[0]).abs() < 1e-2, "{subset}: {} {}", served[0].logit, trained[0]);
    }
}

#[test]
fn configurations_out_of_range_are_refused() {
    let _alone = alone();
    let text = TextConfig { word_dropout: 1.0, ..TextConfig::default() };
    assert!(matches!(TextTrainer::new(text, 10, 1), Err(ModelError::Configuration(_))));
    let text = TextConfig { bag_penalty: 0.0, ..TextConfig::default() };
    assert!(matches!(TextTrainer::new(text, 10, 1), Err(ModelError::Configuration(_))));
    let image = ImageConfig { train_resolution: 100, ..ImageConfig::default() };
    assert!(matches!(ImageTrainer::new(image, 1), Err(ModelError::Configuration(_))));
    let audio = AudioConfig { mask_bins: 97, ..AudioConfig::default() };
    assert!(matches!(AudioTrainer::new(audio, common::standardisation(), 1), Err(ModelError::Configuration(_))));
    let fusion = FusionConfig { optimisation: optimisation(-1.0, 8), ..FusionConfig::default() };
    assert!(matches!(FusionTrainer::new(fusion, &idle_heads(), 1), Err(ModelError::Configuration(_))));
    let headless = UnimodalHeads { text: LinearHead { weight: vec![0.0; 99], bias: 0.0 }, ..idle_heads() };
    assert!(FusionTrainer::new(FusionConfig::default(), &headless, 1).is_err());
    let mut trainer = FusionTrainer::new(FusionConfig::default(), &idle_heads(), 1).unwrap();
    assert!(matches!(trainer.epoch(&[]), Err(ModelError::Input(_))));
}
