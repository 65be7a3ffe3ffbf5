//! Tiny inputs and an untrained checkpoint that every suite shares.
#![allow(dead_code, reason = "each suite uses its own part")]

use std::path::Path;

use jtav_model::{
    AudioInput, Calibration, Checkpoint, DeviceChoice, Dimensions, Manifest, Rgb224, Standardisation, TextInput,
    Tokenizer, Vocabulary, VocabularyConfig,
};
use jtav_training::{
    AudioConfig, AudioTrainer, FusionConfig, FusionTrainer, ImageConfig, ImageTrainer, Optimisation, TextConfig,
    TextExample, TextTrainer, UnimodalHeads, assemble_checkpoint,
};

pub const BINS: usize = 96;

/// Where the suites compute: the CPU, or what `JTAV_TEST_DEVICE` names (`JTAV_TEST_DEVICE=cuda:0 cargo test --release -p
/// jtav-training`).
pub fn device() -> DeviceChoice {
    jtav_model::device::open_cuda_library();
    match std::env::var("JTAV_TEST_DEVICE") {
        Ok(name) => name.parse().expect("JTAV_TEST_DEVICE names a device"),
        Err(_) => DeviceChoice::Cpu,
    }
}

pub fn vocabulary() -> Vocabulary {
    let texts = ["the sea was warm and bright", "the night was cold and grey", "we sang and we laughed", "they cried"];
    let words = texts.map(|text| Tokenizer::new().words(text));
    Vocabulary::build(words, VocabularyConfig { min_count: 1, max_rows: 600, buckets: 500 })
}

pub fn text(vocabulary: &Vocabulary, parts: &[(&str, &str)]) -> TextInput {
    TextInput::from_parts(&Tokenizer::new(), vocabulary, parts).expect("the parts hold words")
}

/// A tone on `bin` over a floor, `frames` long.
pub fn spectrogram(bin: usize, frames: usize) -> Vec<f32> {
    let level = |frame: usize, at: usize| {
        let ripple = ((frame * 3 + at) as f32 * 0.1).sin() * 4.0;
        if at.abs_diff(bin) < 3 { -4.0 + ripple.min(0.0) } else { -50.0 + ripple }
    };
    (0..frames).flat_map(|frame| (0..BINS).map(move |at| level(frame, at))).collect()
}

pub fn clip(bin: usize, frames: usize) -> AudioInput {
    AudioInput::from_spectrogram(&spectrogram(bin, frames)).expect("whole frames")
}

/// Stripes of this period, redder with `red`.
pub fn pixels(side: usize, period: usize, red: u8) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(side * side * 3);
    for y in 0..side {
        for x in 0..side {
            let stripe = if (x / period + y / (2 * period)).is_multiple_of(2) { 180 } else { 60 };
            pixels.extend_from_slice(&[red, stripe, ((x + y) % 256) as u8]);
        }
    }
    pixels
}

pub fn picture(period: usize, red: u8) -> Rgb224 {
    Rgb224::new(pixels(224, period, red)).expect("224 pixels a side")
}

pub fn standardisation() -> Standardisation {
    let clips = [spectrogram(20, 300), spectrogram(70, 300)];
    Standardisation::fit(clips.iter().map(Vec::as_slice)).expect("finite levels")
}

/// Warm is positive and cold is negative.
pub fn bag_examples(vocabulary: &Vocabulary) -> Vec<TextExample> {
    let texts = [("the sea was warm and bright", true), ("the night was cold and grey", false), ("warm road", true)];
    let example = |(body, positive)| TextExample { input: text(vocabulary, &[("body", body)]), positive };
    texts.map(example).to_vec()
}

/// Four trainers on the CPU with the smallest image resolution.
pub struct Trainers {
    pub vocabulary: Vocabulary,
    pub text: TextTrainer,
    pub audio: AudioTrainer,
    pub image: ImageTrainer,
    pub fusion: FusionTrainer,
}

pub fn trainers(seed: u64) -> Trainers {
    let vocabulary = vocabulary();
    let device = device();
    let config = TextConfig { device, ..TextConfig::default() };
    let mut text_trainer = TextTrainer::new(config, vocabulary.rows_total(), seed).unwrap();
    text_trainer.fit_bag(&bag_examples(&vocabulary)).unwrap();
    let audio = AudioTrainer::new(AudioConfig { device, ..AudioConfig::default() }, standardisation(), seed).unwrap();
    let image = ImageTrainer::new(
        ImageConfig { device, train_resolution: 64, serve_resolution: 64, bf16: false, ..ImageConfig::default() },
        seed,
    )
    .unwrap();
    let heads = UnimodalHeads {
        text: text_trainer.head().unwrap(),
        audio: audio.head().unwrap(),
        image: image.head().unwrap(),
    };
    let optimisation = Optimisation { learning_rate: 3e-3, ..Optimisation::default() };
    let config = FusionConfig { device, optimisation, ..FusionConfig::default() };
    let fusion = FusionTrainer::new(config, &heads, seed).unwrap();
    Trainers { vocabulary, text: text_trainer, audio, image, fusion }
}

impl Trainers {
    pub fn assemble(&self, calibration: Calibration, folder: &Path) -> Checkpoint {
        let dimensions = Dimensions::modern(self.vocabulary.rows_total());
        let manifest = Manifest::modern(dimensions, standardisation(), 30, calibration, 1);
        let parts = (&self.text, &self.vocabulary, &self.audio, &self.image, &self.fusion);
        assemble_checkpoint(parts.0, parts.1, parts.2, parts.3, parts.4, manifest, folder).unwrap()
    }
}

/// An untrained checkpoint in `folder`.
pub fn checkpoint(folder: &Path) -> Checkpoint {
    trainers(1).assemble(Calibration::default(), folder)
}

/// A GPU's convolutions and recurrent layers multiply in TF32 (cuDNN), 11 bits.
pub fn least_tolerance() -> f32 {
    if device() == DeviceChoice::Cpu { 0.0 } else { 2e-3 }
}

pub fn assert_close(a: &[f32], b: &[f32], tolerance: f32, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}: lengths");
    let tolerance = tolerance.max(least_tolerance());
    for (at, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= tolerance, "{what}: value {at} is {x}, expected {y}");
    }
}
