//! The audio and image networks learn 32 posts by heart and do not care about their batch. The audio networks have a
//! fraction of their published widths, so that it takes seconds; `tests/zoo.rs` has the networks that are small as
//! they are.

use jtav_model::parameters::{Builder, Scope};
use jtav_model::{AudioInput, DeviceChoice, ModelError, Rgb224, Standardisation};
use jtav_training::learner::Learner;
use jtav_training::{Optimisation, UpdateRule};
use tch::{Device, Tensor};

use super::network::{Network, prepared};
use crate::zoo::architecture::{Architecture, Backbone, DcrnnForm};
use crate::zoo::input::{Example, Input};
use crate::zoo::networks::{Alignment, AudioEncoder, AuthorsSizes, ImageEncoder, PaperSizes, SegmentBatch};
use crate::zoo::settings::{FineTuning, Settings};
use crate::zoo::trainer::Trainer;

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
        if last < 0.2 {
            return;
        }
    }
    panic!("{} fell from {first} to {last} only", trainer.architecture().name());
}

type Build = Box<dyn Fn(&Scope) -> Result<AudioEncoder, ModelError>>;

/// The audio networks, narrow.
fn narrow() -> Vec<(Architecture, Build)> {
    let dcrnn = |form| Architecture::Dcrnn { form, vector: 32 };
    let authors = AuthorsSizes { stem: 16, growth: 8, bottleneck: 16, transition: 12, hidden: [24, 12], vector: 32 };
    let paper = PaperSizes { filters: 4, hidden: 16, dense: 32, vector: 32 };
    vec![
        (dcrnn(DcrnnForm::AuthorsCode), Box::new(move |scope: &Scope| AudioEncoder::authors(scope, &authors))),
        (
            dcrnn(DcrnnForm::Paper),
            Box::new(move |scope: &Scope| AudioEncoder::paper(scope, &paper, Alignment::Stride1)),
        ),
        (
            dcrnn(DcrnnForm::PaperPooled),
            Box::new(move |scope: &Scope| AudioEncoder::paper(scope, &paper, Alignment::Pool)),
        ),
        (Architecture::ConvNet, Box::new(|scope: &Scope| AudioEncoder::conv_net(scope, 12))),
    ]
}

#[test]
fn every_audio_network_learns_32_clips_by_heart() {
    let examples = clips();
    for (architecture, build) in narrow() {
        let settings = settings(&architecture, 1e-2);
        let build = |scope: &Scope| Ok(Network::Audio(build(scope)?));
        assert_learns(Trainer::with(architecture, settings, 3, build).unwrap(), &examples, 60);
    }
}

fn assert_row_alone(together: &Tensor, row: i64, alone: &Tensor, what: &str) {
    let difference = (together.narrow(0, row, 1) - alone).abs().max().double_value(&[]);
    let size = together.abs().max().double_value(&[]).max(1.0);
    assert!(difference <= 1e-5 * size, "{what}, row {row}: {difference} of {size}");
}

#[test]
fn a_segment_alone_says_what_it_says_among_64() {
    let _guard = tch::no_grad_guard();
    let levels: Vec<Vec<f32>> = (0..64)
        .map(|row| (0..215 * BINS).map(|at| -40.0 + 30.0 * ((at * (row + 3)) as f32 * 0.013).sin()).collect())
        .collect();
    let segments: Vec<(&[f32], usize)> =
        levels.iter().enumerate().map(|(row, levels)| (levels.as_slice(), 215 - 3 * row)).collect();
    let batch = |segments| SegmentBatch::new(segments, &flat_statistics(), Device::Cpu).unwrap();
    for (architecture, build) in narrow() {
        let network = build(&Builder::fresh(7, Device::Cpu).scope("n")).unwrap();
        let together = network.forward(&batch(&segments), false).unwrap();
        for row in [0, 13, 63] {
            let alone = network.forward(&batch(&segments[row..=row]), false).unwrap();
            assert_row_alone(&together.features, row as i64, &alone.features, &architecture.name());
            assert_row_alone(&together.logits, row as i64, &alone.logits, &architecture.name());
        }
    }
}

/// The backbones keep their random weights, so that their features are read once.
#[test]
fn the_heads_of_all_backbones_learn_32_pictures_by_heart_whatever_the_batch() {
    for backbone in [Backbone::Vgg19, Backbone::ResNet101, Backbone::DenseNet121] {
        let architecture = Architecture::Image { backbone, vector: 100 };
        let settings = settings(&architecture, 1e-2);
        let builder = Builder::fresh(3, Device::Cpu);
        let network = ImageEncoder::new(&builder.scope("n"), backbone, 100).unwrap();
        let mut parameters = builder.finish();
        parameters.trainable.retain(|name| !name.starts_with("n.backbone."));
        let mut learner = Learner::new(parameters, settings.optimisation, 3).unwrap();

        let examples = pictures();
        let inputs: Vec<&Input> = examples.iter().map(|example| &example.input).collect();
        let positive: Vec<bool> = examples.iter().map(|example| example.positive).collect();
        let pooled = |inputs: &[&Input]| {
            let _guard = tch::no_grad_guard();
            network.pooled(&prepared(inputs, &settings, Device::Cpu).unwrap(), false).unwrap()
        };
        let together = pooled(&inputs.repeat(2));
        assert_eq!(together.size(), [64, backbone.features() as i64]);
        for row in [0, 31] {
            assert_row_alone(&together, row, &pooled(&inputs[row as usize..=row as usize]), backbone.name());
        }

        let features = together.narrow(0, 0, 32);
        let mut step = || {
            let mut pass = learner.begin(32).unwrap();
            let loss = learner.sentiment_loss(&network.head(&features, true).unwrap().logits, &positive).unwrap();
            learner.step(&mut pass, &loss, 32).unwrap();
            learner.end(pass).loss
        };
        let first = step();
        let last = (0..60).map(|_| step()).find(|loss| *loss < 0.05);
        assert!(last.is_some(), "the head on {} stays near {first}", backbone.name());
    }
}

#[test]
fn fine_tuning_moves_the_block_that_it_names_and_no_other() {
    let architecture = Architecture::Image { backbone: Backbone::DenseNet121, vector: 10 };
    let examples = &pictures()[..2];
    let names = [
        "backbone.features.conv0.weight",
        "backbone.features.denseblock4.denselayer1.conv1.weight",
        "backbone.features.norm0.running_mean",
        "dense.weight",
    ];
    for (fine_tuning, expected) in [
        (FineTuning::Head, [false, false, false, true]),
        (FineTuning::LastBlock, [false, true, false, true]),
        (FineTuning::All, [true, true, true, true]),
    ] {
        let settings = Settings { fine_tuning, augment: true, ..settings(&architecture, 1e-3) };
        let mut trainer = Trainer::new(architecture, settings, 5).unwrap();
        let sums = |trainer: &Trainer| names.map(|name| trainer.sum_of(&format!("f-densenet-121.{name}")));
        let before = sums(&trainer);
        trainer.epoch(examples).unwrap();
        let after = sums(&trainer);
        let moved: Vec<bool> = before.iter().zip(after).map(|(before, after)| *before != after).collect();
        assert_eq!(moved, expected, "{fine_tuning:?}");
    }
}
