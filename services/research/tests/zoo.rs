//! The networks of the paper's table through their public face: they learn, do not care about their batch, live with
//! what is missing, and can be stopped and taken up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jtav_model::{AudioInput, DeviceChoice, FusionInput, ModalitySet, ModelError};
use jtav_research::zoo::{
    Architecture, Backbone, DcrnnForm, Example, Input, Profile, Settings, Trainer, Widths, WordVectors,
};
use jtav_training::{Optimisation, UpdateRule};

const DIMENSION: usize = 16;
const PROFILES: [Profile; 2] = [Profile::Paper, Profile::AuthorsCode];

/// Where the networks compute: the CPU, or what `JTAV_TEST_DEVICE` names.
fn device() -> DeviceChoice {
    jtav_model::device::open_cuda_library();
    match std::env::var("JTAV_TEST_DEVICE") {
        Ok(name) => name.parse().expect("JTAV_TEST_DEVICE names a device"),
        Err(_) => DeviceChoice::Cpu,
    }
}

/// A GPU's convolutions and recurrent layers multiply in TF32 (cuDNN), 11 bits.
fn least_tolerance() -> f32 {
    if device() == DeviceChoice::Cpu { 0.0 } else { 2e-3 }
}

/// Dropout draws from libtorch's one generator per process, so a training is only repeatable while no other runs.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Values that look drawn, the same ones every time.
fn noise(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|at| (((at + 1) * (seed * 2 + 3) * 7919 % 2003) as f32 / 1001.0 - 1.0) * 0.5).collect()
}

/// Between one and eleven words in up to three lines, every third post without a caption.
fn text(index: usize) -> WordVectors {
    let words = 1 + (index * 5) % 11;
    let text = WordVectors::new(DIMENSION, noise(words * DIMENSION, index)).unwrap();
    let lines = match words {
        1..3 => vec![words],
        _ => vec![1, words / 2, words - 1 - words / 2],
    };
    let text = text.with_lines(lines).unwrap();
    let caption = noise((index % 3) * DIMENSION, 100 + index);
    text.with_supporting(caption).unwrap()
}

fn texts(count: usize) -> Vec<Input> {
    (0..count).map(|index| text(index).into()).collect()
}

fn widths() -> Widths {
    Widths::all(10, 16, 12)
}

fn vectors(index: usize) -> FusionInput {
    FusionInput { text: Some(noise(10, index)), audio: Some(noise(16, 40 + index)), image: Some(noise(12, 80 + index)) }
}

fn posts(count: usize) -> Vec<Input> {
    (0..count).map(|index| vectors(index).into()).collect()
}

/// A label that no rule explains, so that it has to be learned by heart.
fn labelled(inputs: &[Input]) -> Vec<Example> {
    let label = |(index, input): (usize, &Input)| Example { input: input.clone(), positive: (index * 7) % 5 < 2 };
    inputs.iter().enumerate().map(label).collect()
}

fn trainer(architecture: Architecture, learning_rate: f64, seed: u64) -> Trainer {
    let published = Settings::of(&architecture);
    let optimisation = Optimisation { learning_rate, batch_size: 32, ..published.optimisation };
    let settings = Settings { optimisation, device: device(), dropout: 0.0, caption_dropout: 0.0, ..published };
    Trainer::new(architecture, settings, seed).unwrap()
}

fn text_networks() -> Vec<Architecture> {
    let dimension = DIMENSION;
    let of_profile =
        |profile| [Architecture::BiGru { profile, dimension }, Architecture::AttBiGru { profile, dimension }];
    let mut all: Vec<Architecture> = PROFILES.into_iter().flat_map(of_profile).collect();
    all.push(Architecture::LyricsHan { dimension });
    all
}

fn fusions_of_three() -> Vec<Architecture> {
    let widths = widths();
    let cmf = |profile| Architecture::CmfAp { profile, widths, attention: 12 };
    vec![
        Architecture::EarlyFusion { widths },
        cmf(Profile::Paper),
        cmf(Profile::AuthorsCode),
        Architecture::LowRank { widths, rank: 4, hidden: 16 },
    ]
}

fn fusions_of_two() -> Vec<Architecture> {
    let pairs =
        [Widths { image: None, ..widths() }, Widths { audio: None, ..widths() }, Widths { text: None, ..widths() }];
    let of_pair = |widths| PROFILES.map(|profile| Architecture::CmfAp { profile, widths, attention: 12 });
    pairs.into_iter().flat_map(of_pair).collect()
}

fn assert_learns(architecture: Architecture, learning_rate: f64, epochs: usize, inputs: &[Input]) {
    let mut trainer = trainer(architecture, learning_rate, 3);
    let examples = labelled(inputs);
    let first = trainer.epoch(&examples).unwrap();
    assert_eq!((first.epoch, first.examples), (1, 32));
    let mut last = first.loss;
    for _ in 0..epochs {
        last = trainer.epoch(&examples).unwrap().loss;
        if last < 0.1 {
            return;
        }
    }
    panic!("{} fell from {} to {last} only", architecture.name(), first.loss);
}

#[test]
fn every_text_network_learns_32_posts_by_heart() {
    let _alone = alone();
    for architecture in text_networks() {
        assert_learns(architecture, 1e-2, 60, &texts(32));
    }
}

#[test]
fn every_fusion_learns_32_posts_by_heart() {
    let _alone = alone();
    for architecture in fusions_of_three().into_iter().chain(fusions_of_two()) {
        // 38 numbers separate 32 posts linearly, if slowly.
        let learning_rate = if matches!(architecture, Architecture::EarlyFusion { .. }) { 0.2 } else { 2e-2 };
        assert_learns(architecture, learning_rate, 600, &posts(32));
    }
}

fn assert_close(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (at, (x, y)) in a.iter().zip(b).enumerate() {
        assert!(
            (x - y).abs() <= least_tolerance().max(1e-5) * y.abs().max(1.0),
            "{what}: value {at} is {x}, alone {y}"
        );
    }
}

/// Covers padding as well: the texts have different lengths.
#[test]
fn a_batch_of_one_says_what_a_batch_of_64_says() {
    let _alone = alone();
    let (texts, posts) = (texts(64), posts(64));
    let text_networks = text_networks().into_iter().map(|architecture| (architecture, &texts));
    let fusions = fusions_of_three().into_iter().chain(fusions_of_two()).map(|architecture| (architecture, &posts));
    for (architecture, inputs) in text_networks.chain(fusions) {
        let mut trainer = trainer(architecture, 1e-3, 8);
        // Running statistics that are no longer those of a fresh network.
        trainer.epoch(&labelled(inputs)).unwrap();
        let (logits, features) = (trainer.predict(inputs).unwrap(), trainer.features(inputs).unwrap());
        for (at, input) in inputs.iter().enumerate().step_by(7) {
            let what = format!("{} {at}", architecture.name());
            let alone = std::slice::from_ref(input);
            assert_close(&logits[at..=at], &trainer.predict(alone).unwrap(), &what);
            assert_close(&features[at], &trainer.features(alone).unwrap()[0], &what);
        }
    }
}

#[test]
fn all_seven_presence_masks_are_finite_in_training_and_after() {
    let _alone = alone();
    for architecture in fusions_of_three() {
        let published = Settings::of(&architecture);
        let settings = Settings { device: device(), modality_dropout: 0.3, ..published };
        let mut trainer = Trainer::new(architecture, settings, 2).unwrap();
        let masked: Vec<Input> = ModalitySet::all_non_empty().map(|set| vectors(5).masked(set).into()).collect();
        for _ in 0..3 {
            assert!(trainer.epoch(&labelled(&masked)).unwrap().loss.is_finite());
        }
        let logits = trainer.predict(&masked).unwrap();
        assert_eq!(logits.len(), 7);
        assert!(logits.iter().all(|logit| logit.is_finite()), "{}: {logits:?}", architecture.name());
        let none = [FusionInput::default().into()];
        assert!(matches!(trainer.predict(&none), Err(ModelError::Input(_))));
    }
}

/// `1 + 0` in place of `1 + z`: the terms with the absent modality vanish, the others stay.
#[test]
fn low_rank_fusion_takes_an_absent_vector_for_zeros() {
    let _alone = alone();
    let trainer = trainer(Architecture::LowRank { widths: widths(), rank: 4, hidden: 16 }, 1e-3, 4);
    let absent = FusionInput { audio: None, ..vectors(1) };
    let zeros = FusionInput { audio: Some(vec![0.0; 16]), ..vectors(1) };
    let logits = trainer.predict(&[absent.into(), zeros.into(), vectors(1).into()]).unwrap();
    assert_eq!(logits[0], logits[1]);
    assert_ne!(logits[0], logits[2]);
}

#[test]
fn without_a_caption_att_bigru_of_the_paper_is_bigru() {
    let _alone = alone();
    let profile = Profile::Paper;
    let gated = trainer(Architecture::AttBiGru { profile, dimension: DIMENSION }, 1e-3, 6);
    let plain = trainer(Architecture::BiGru { profile, dimension: DIMENSION }, 1e-3, 6);
    // Post 0 has no caption, post 1 has one.
    let posts = texts(2);
    let (gated, plain) = (gated.predict(&posts).unwrap(), plain.predict(&posts).unwrap());
    assert!((gated[0] - plain[0]).abs() < 1e-6, "{gated:?} {plain:?}");
    assert!((gated[1] - plain[1]).abs() > 1e-4, "the caption changes nothing: {gated:?} {plain:?}");
}

#[test]
fn equal_seeds_train_equally_and_a_state_goes_on_where_it_stopped() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("zoo.state");
    let inputs = texts(32);
    let examples = labelled(&inputs);
    let attended = Architecture::AttBiGru { profile: Profile::Paper, dimension: DIMENSION };
    for rule in [UpdateRule::Adam { epsilon: 1e-7 }, UpdateRule::RmsProp { epsilon: 1e-7 }] {
        let settings = Settings { rule, device: device(), ..Settings::of(&attended) };
        let fresh = |seed| Trainer::new(attended, settings.clone(), seed).unwrap();
        let (mut straight, mut twin) = (fresh(5), fresh(5));
        for _ in 0..2 {
            straight.epoch(&examples).unwrap();
        }
        for _ in 0..2 {
            twin.epoch(&examples).unwrap();
        }
        assert_eq!(straight.predict(&inputs).unwrap(), twin.predict(&inputs).unwrap());
        straight.save_state(&state).unwrap();
        assert_eq!(straight.epoch(&examples).unwrap().epoch, 3);

        let mut resumed = fresh(99);
        resumed.load_state(&state).unwrap();
        assert_eq!(resumed.epoch(&examples).unwrap().epoch, 3);
        assert_eq!(resumed.predict(&inputs).unwrap(), straight.predict(&inputs).unwrap(), "{rule:?}");
    }
    // The same shapes under another name.
    let mut other = trainer(Architecture::BiGru { profile: Profile::Paper, dimension: DIMENSION }, 1e-3, 1);
    assert!(matches!(other.load_state(&state), Err(ModelError::MissingTensor { .. })));
}

#[test]
fn restoring_brings_the_kept_weights_back() {
    let _alone = alone();
    let inputs = posts(32);
    let widths = widths();
    let mut trainer = trainer(Architecture::CmfAp { profile: Profile::Paper, widths, attention: 12 }, 1e-3, 8);
    assert!(!trainer.restore());
    trainer.snapshot();
    let kept = trainer.predict(&inputs).unwrap();
    trainer.epoch(&labelled(&inputs)).unwrap();
    assert_ne!(trainer.predict(&inputs).unwrap(), kept);
    assert!(trainer.restore());
    assert_eq!(trainer.predict(&inputs).unwrap(), kept);
}

#[test]
fn inputs_and_settings_that_do_not_fit_are_refused() {
    let _alone = alone();
    let mut text_network = trainer(Architecture::LyricsHan { dimension: DIMENSION }, 1e-3, 1);
    let clip = AudioInput::from_spectrogram(&[-10.0; 96]).unwrap();
    let wrong = text_network.predict(&[clip.into()]).unwrap_err();
    assert_eq!(wrong.to_string(), "input: an input of kind audio for a network that reads text");
    let narrow = WordVectors::new(DIMENSION - 1, vec![0.0; DIMENSION - 1]).unwrap();
    assert!(matches!(text_network.predict(&[narrow.into()]), Err(ModelError::Input(_))));
    assert!(matches!(text_network.epoch(&labelled(&texts(1))), Err(ModelError::Input(_))));
    assert!(matches!(text_network.pooled_features(&texts(1)), Err(ModelError::Input(_))));
    let path = std::path::Path::new("weights.safetensors");
    assert!(matches!(text_network.load_backbone(path, ""), Err(ModelError::Configuration(_))));
    assert!(text_network.predict(&[]).unwrap().is_empty());

    let fusion = trainer(Architecture::EarlyFusion { widths: widths() }, 1e-3, 1);
    let short = FusionInput { image: Some(vec![0.0; 7]), ..vectors(1) };
    assert!(fusion.predict(&[Input::Vectors(Arc::new(short))]).unwrap_err().to_string().contains("image"));

    let refused = |architecture: Architecture, settings: Settings| {
        let error = Trainer::new(architecture, settings, 1).err().map(|error| error.to_string());
        error.unwrap_or_else(|| panic!("{} was accepted", architecture.name()))
    };
    let dcrnn = Architecture::Dcrnn { form: DcrnnForm::Paper, vector: 100 };
    assert!(refused(dcrnn, Settings::of(&dcrnn)).contains("Standardisation::fit"));
    let image = Architecture::Image { backbone: Backbone::Vgg19, vector: 100 };
    assert!(refused(image, Settings { resolution: 100, ..Settings::of(&image) }).contains("resolution"));
    let rule = UpdateRule::Adam { epsilon: 0.0 };
    assert!(
        refused(Architecture::LyricsHan { dimension: 4 }, Settings { rule, ..Settings::of(&dcrnn) }).contains("Adam")
    );
}
