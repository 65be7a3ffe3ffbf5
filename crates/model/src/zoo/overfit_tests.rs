//! The convolutional networks learn 32 posts by heart, at a fraction of their published widths so that it takes
//! seconds; `tests/zoo.rs` has the networks that are small enough as they are.

use super::network::Network;
use super::{Architecture, Backbone, DcrnnForm, Example, FineTuning, Input, Settings, Trainer};
use crate::checkpoint::Standardisation;
use crate::networks::zoo::{Alignment, AudioEncoder, AuthorsSizes, PaperSizes};
use crate::parameters::Scope;
use crate::training::{Optimisation, UpdateRule};
use crate::{AudioInput, DeviceChoice, ModelError, Rgb224};

const BINS: usize = 96;

fn flat_statistics() -> Standardisation {
    Standardisation { mean: vec![-40.0; BINS], std: vec![20.0; BINS] }
}

/// 32 clips of one tone each; the label is a coin that the pitch alone does not give away.
fn clips() -> Vec<Example> {
    let clip = |index: usize| {
        let tone = 3 * index;
        let level = |at: usize| if (at % BINS).abs_diff(tone) < 2 { -5.0 } else { -60.0 + (at % 7) as f32 };
        let decibels: Vec<f32> = (0..215 * BINS).map(level).collect();
        Input::from(AudioInput::from_spectrogram(&decibels).unwrap())
    };
    (0..32).map(|index| Example { input: clip(index), positive: (index * 7) % 5 < 2 }).collect()
}

/// 32 pictures, each of two colours in stripes of one width.
fn pictures() -> Vec<Example> {
    let picture = |index: usize| {
        let mut pixels = Vec::with_capacity(Rgb224::BYTES);
        for at in 0..224 * 224 {
            let stripe = ((at % 224) / (4 + 4 * (index % 8))).is_multiple_of(2);
            pixels.extend_from_slice(&[if stripe { 220 } else { 30 }, (index / 8) as u8 * 70, 128]);
        }
        Input::from(Rgb224::new(pixels).unwrap())
    };
    (0..32).map(|index| Example { input: picture(index), positive: (index * 7) % 5 < 2 }).collect()
}

fn settings(architecture: &Architecture, learning_rate: f64) -> Settings {
    let published = Settings::of(architecture);
    Settings {
        optimisation: Optimisation { learning_rate, batch_size: 32, ..published.optimisation },
        rule: UpdateRule::default(),
        device: DeviceChoice::Cpu,
        standardisation: Some(flat_statistics()),
        resolution: 32,
        augment: false,
        ..published
    }
}

fn assert_learns(mut trainer: Trainer, examples: &[Example], epochs: usize) {
    let first = trainer.epoch(examples).unwrap().loss;
    let mut last = first;
    for _ in 0..epochs {
        last = trainer.epoch(examples).unwrap().loss;
        if last < 0.05 {
            return;
        }
    }
    panic!("{} fell from {first} to {last} only", trainer.architecture().name());
}

fn narrow(form: DcrnnForm, build: impl FnOnce(&Scope) -> Result<AudioEncoder, ModelError>) -> Trainer {
    let architecture = Architecture::Dcrnn { form, vector: 32 };
    let settings = settings(&architecture, 5e-3);
    Trainer::with(architecture, settings, 3, |scope| Ok(Network::Audio(build(scope)?))).unwrap()
}

#[test]
fn every_form_of_dcrnn_learns_32_clips_by_heart() {
    let examples = clips();
    let sizes = AuthorsSizes { stem: 16, growth: 8, bottleneck: 16, transition: 12, hidden: [24, 12], vector: 32 };
    let authors = narrow(DcrnnForm::AuthorsCode, |scope| AudioEncoder::authors(scope, &sizes));
    assert_learns(authors, &examples, 40);
    let sizes = PaperSizes { filters: 8, hidden: 16, dense: 32, vector: 32 };
    let paper = narrow(DcrnnForm::Paper, |scope| AudioEncoder::paper(scope, &sizes, Alignment::Stride1));
    assert_learns(paper, &examples, 40);
    let pooled = narrow(DcrnnForm::PaperPooled, |scope| AudioEncoder::paper(scope, &sizes, Alignment::Pool));
    assert_learns(pooled, &examples, 40);
}

#[test]
fn the_convnet_learns_32_clips_by_heart() {
    let settings = settings(&Architecture::ConvNet, 1e-2);
    assert_learns(Trainer::new(Architecture::ConvNet, settings, 3).unwrap(), &clips(), 40);
}

/// The head on a backbone of random weights, which stay as they are.
#[test]
fn the_heads_of_the_image_networks_learn_32_pictures_by_heart() {
    for backbone in [Backbone::ResNet101, Backbone::DenseNet121] {
        let architecture = Architecture::Image { backbone, vector: 100 };
        let trainer = Trainer::new(architecture, settings(&architecture, 1e-2), 3).unwrap();
        assert_learns(trainer, &pictures(), 30);
    }
}

#[test]
fn fine_tuning_moves_the_block_that_it_names_and_no_other() {
    let architecture = Architecture::Image { backbone: Backbone::DenseNet121, vector: 10 };
    let examples = &pictures()[..2];
    let moved = |fine_tuning: FineTuning, name: &str| {
        let settings = Settings { fine_tuning, ..settings(&architecture, 1e-3) };
        let mut trainer = Trainer::new(architecture, settings, 5).unwrap();
        let sum = |trainer: &Trainer| trainer.sum_of(&format!("f-densenet-121.{name}"));
        let before = sum(&trainer);
        trainer.epoch(examples).unwrap();
        sum(&trainer) != before
    };
    let (early, late) = ("backbone.features.conv0.weight", "backbone.features.denseblock4.denselayer1.conv1.weight");
    let statistics = "backbone.features.norm0.running_mean";
    for (fine_tuning, expected) in [
        (FineTuning::Head, [false, false, false, true]),
        (FineTuning::LastBlock, [false, true, false, true]),
        (FineTuning::All, [true, true, true, true]),
    ] {
        let found = [early, late, statistics, "dense.weight"].map(|name| moved(fine_tuning, name));
        assert_eq!(found, expected, "{fine_tuning:?}");
    }
}
