//! DCRNN learns, and can be stopped and taken up as it was. The other trainers are proved beside their code.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jtav_model::{AudioInput, DeviceChoice, Dimensions, ModelError, STATISTICS, Standardisation};
use jtav_training::{
    AudioConfig, AudioExample, AudioTrainer, FusionConfig, FusionTrainer, LinearHead, Optimisation, TextConfig,
    TextTrainer, UnimodalHeads,
};

const BINS: usize = 96;

/// Dropout draws from libtorch's one generator per process, so a training is only repeatable while no other runs.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The CPU, or what `JTAV_TEST_DEVICE` names (`JTAV_TEST_DEVICE=cuda:0 cargo test --release -p jtav-training`).
fn device() -> DeviceChoice {
    jtav_model::device::open_cuda_library();
    match std::env::var("JTAV_TEST_DEVICE") {
        Ok(name) => name.parse().expect("JTAV_TEST_DEVICE names a device"),
        Err(_) => DeviceChoice::Cpu,
    }
}

/// A GPU's convolutions and recurrent layers multiply in TF32 (cuDNN), 11 bits.
fn assert_close(a: &[f32], b: &[f32], tolerance: f32, what: &str) {
    let tolerance = if device() == DeviceChoice::Cpu { tolerance } else { tolerance.max(2e-3) };
    assert_eq!(a.len(), b.len(), "{what}: lengths");
    for (at, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= tolerance, "{what}: value {at} is {x}, expected {y}");
    }
}

/// A tone on `bin` over a floor, `frames` long.
fn spectrogram(bin: usize, frames: usize) -> Vec<f32> {
    let level = |frame: usize, at: usize| {
        let ripple = ((frame * 3 + at) as f32 * 0.1).sin() * 4.0;
        if at.abs_diff(bin) < 3 { -4.0 + ripple.min(0.0) } else { -50.0 + ripple }
    };
    (0..frames).flat_map(|frame| (0..BINS).map(move |at| level(frame, at))).collect()
}

fn clip(bin: usize, frames: usize) -> AudioInput {
    AudioInput::from_spectrogram(&spectrogram(bin, frames)).unwrap().with_statistics(vec![0.0; STATISTICS])
}

fn standardisation() -> Standardisation {
    let clips = [spectrogram(20, 300), spectrogram(70, 300)];
    Standardisation::fit(clips.iter().map(Vec::as_slice)).unwrap()
}

fn optimisation(learning_rate: f64, batch_size: usize) -> Optimisation {
    Optimisation { learning_rate, batch_size, weight_decay: 0.0, ..Optimisation::default() }
}

const PITCHES: [usize; 4] = [15, 30, 60, 80];

/// High pitches are positive, and each of the four pitches is a mood.
fn examples(count: usize) -> Vec<AudioExample> {
    let example = |i: usize| AudioExample {
        decibels: Arc::from(spectrogram(PITCHES[i % 4] + i / 4, 120 + 30 * i)),
        positive: i % 4 >= 2,
        mood: (!i.is_multiple_of(3)).then_some(i % 4),
    };
    (0..count).map(example).collect()
}

fn trainer(dropout: f64, seed: u64) -> AudioTrainer {
    let optimisation = optimisation(5e-4, 8);
    let masks = AudioConfig { shift_bins: 1, mask_bins: 2, mask_frames: 4, ..AudioConfig::default() };
    let config = AudioConfig { device: device(), optimisation, dropout, ..masks };
    AudioTrainer::new(config, standardisation(), seed).unwrap()
}

#[test]
fn the_audio_network_learns_pitch_and_mood() {
    let _alone = alone();
    let examples = examples(16);
    let mut trainer = trainer(0.0, 4);
    let first = trainer.epoch(&examples).unwrap();
    assert_eq!((first.epoch, first.examples), (1, 16));
    let mut last = first;
    for _ in 0..11 {
        last = trainer.epoch(&examples).unwrap();
    }
    assert!(last.loss < 0.5 * first.loss, "{first:?} {last:?}");
    let clips = PITCHES.map(|bin| clip(bin + 2, 216));
    for (logit, positive) in trainer.predict(&clips).unwrap().iter().zip([false, false, true, true]) {
        assert_eq!(*logit > 0.0, positive);
    }
    let moods = trainer.predict_moods(&clips).unwrap();
    let best = |row: &[f32; 4]| (0..4).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    let right = moods.iter().enumerate().filter(|(mood, row)| best(row) == *mood).count();
    assert!(right >= 3, "{moods:?}");

    let strange = AudioExample { mood: Some(4), ..examples[0].clone() };
    assert!(matches!(trainer.epoch(&[strange]), Err(ModelError::Input(_))));
    assert!(matches!(trainer.epoch(&[]), Err(ModelError::Input(_))));
    assert!(trainer.predict(&[]).unwrap().is_empty());
}

#[test]
fn equal_seeds_train_equally_and_a_state_file_goes_on_where_it_stopped() {
    let _alone = alone();
    let (examples, clips) = (examples(8), [clip(20, 216), clip(70, 300)]);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("audio.state");
    let mut straight = trainer(0.3, 5);
    straight.epoch(&examples).unwrap();
    straight.save_state(&state).unwrap();
    straight.epoch(&examples).unwrap();

    let mut resumed = trainer(0.3, 99);
    resumed.load_state(&state).unwrap();
    assert_eq!(resumed.epoch(&examples).unwrap().epoch, 2);
    assert_close(&resumed.predict(&clips).unwrap(), &straight.predict(&clips).unwrap(), 1e-4, "after the state file");

    let head = LinearHead { weight: vec![0.0; 100], bias: 0.0 };
    let heads = UnimodalHeads { text: head.clone(), audio: head.clone(), image: head };
    let config = FusionConfig { device: device(), ..FusionConfig::default() };
    let mut other = FusionTrainer::new(config, &heads, 1).unwrap();
    assert!(other.load_state(&state).is_err(), "the state of another network was taken up");
    let before = resumed.predict(&clips).unwrap();
    std::fs::write(&state, b"nonsense").unwrap();
    assert!(matches!(resumed.load_state(&state), Err(ModelError::Malformed { .. })));
    assert_eq!(resumed.predict(&clips).unwrap(), before, "a refused state changed the weights");
}

#[test]
fn a_progress_file_holds_the_best_weights_beside_the_last_ones() {
    let _alone = alone();
    let (examples, clips) = (examples(8), [clip(20, 216)]);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("audio.state");
    let mut first = trainer(0.3, 5);
    assert!(!first.restore(), "nothing was kept yet");
    first.epoch(&examples).unwrap();
    first.snapshot();
    let best = first.predict(&clips).unwrap();
    first.epoch(&examples).unwrap();
    let last = first.predict(&clips).unwrap();
    assert_ne!(best, last);
    first.save_progress(&state).unwrap();

    let mut resumed = trainer(0.3, 99);
    resumed.load_state(&state).unwrap();
    assert_close(&resumed.predict(&clips).unwrap(), &last, 1e-5, "the last weights");
    assert!(resumed.restore());
    assert_close(&resumed.predict(&clips).unwrap(), &best, 1e-5, "the best weights");

    first.save_state(&state).unwrap();
    let mut without = trainer(0.3, 99);
    without.load_state(&state).unwrap();
    assert!(!without.restore(), "a finished network needs no second copy");
}

#[test]
fn configurations_out_of_range_are_refused() {
    let refused = |error: Option<ModelError>| assert!(matches!(error, Some(ModelError::Configuration(_))), "{error:?}");
    let text = |config: TextConfig| refused(TextTrainer::new(config, Dimensions::light(), 1).err());
    text(TextConfig { word_dropout: 1.0, ..TextConfig::default() });
    text(TextConfig { channel_dropout: -0.1, ..TextConfig::default() });
    text(TextConfig { bag_penalty: 0.0, ..TextConfig::default() });
    let audio = |config: AudioConfig| refused(AudioTrainer::new(config, standardisation(), 1).err());
    audio(AudioConfig { mask_bins: 97, ..AudioConfig::default() });
    audio(AudioConfig { dropout: f64::NAN, ..AudioConfig::default() });
    let head = |width: usize| LinearHead { weight: vec![0.0; width], bias: 0.0 };
    let heads = |width: usize| UnimodalHeads { text: head(width), audio: head(100), image: head(100) };
    let fusion = FusionConfig { optimisation: optimisation(-1.0, 8), ..FusionConfig::default() };
    refused(FusionTrainer::new(fusion, &heads(100), 1).err());
    assert!(FusionTrainer::new(FusionConfig::default(), &heads(99), 1).is_err(), "a head of 99 values");
}
