//! The statistics of clips against librosa 0.11 and numpy (`fixtures/statistics.py`), and what must hold for any clip.

use std::f64::consts::TAU;
use std::path::Path;
use std::sync::LazyLock;

use jtav_signal::constants::{BINS, SAMPLE_RATE_HZ};
use jtav_signal::{ClipStatistics, CqtFrontEnd, MAX_ABS_SAMPLE, STATISTICS, SignalError};
use proptest::prelude::*;
use safetensors::SafeTensors;

static STATISTICS_OF: LazyLock<ClipStatistics> = LazyLock::new(ClipStatistics::new);
static FRONT_END: LazyLock<CqtFrontEnd> = LazyLock::new(CqtFrontEnd::new);

fn expected(name: &str) -> Vec<f32> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/statistics.safetensors");
    let file = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    tensors.tensor(name).unwrap().data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn noise(seed: u32) -> impl FnMut() -> u32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    }
}

/// As `samples` in the script.
fn samples(seconds: f64, seed: u32) -> Vec<f32> {
    let mut draw = noise(seed);
    let rate = SAMPLE_RATE_HZ as usize;
    let sample = |i: usize| {
        let (note, at) = (i / (rate / 4), i % (rate / 4));
        let t = i as f64 / rate as f64;
        let pitch = 110.0 * ((note * 7 % 24) as f64 / 12.0).exp2();
        let tone: f64 = (1..6).map(|n| (TAU * pitch * f64::from(n) * t).sin() / f64::from(n)).sum();
        let level = if note % 5 == 4 { 0.0 } else { 0.2 * (-3.0 * at as f64 / rate as f64).exp() };
        let x = level * tone + 0.002 * (f64::from(draw()) / 16_777_216.0 - 0.5);
        ((x * 32_768.0).round() / 32_768.0) as f32
    };
    (0..(seconds * rate as f64) as usize).map(sample).collect()
}

/// As `levels` in the script.
fn levels(frames: usize, seed: u32) -> Vec<f32> {
    let mut draw = noise(seed);
    let mut level = |t: usize, bin: usize| {
        let root = 24 + (t / 12) * 5 % 17;
        let loud = [root, root + 3 + (t / 24) % 2, root + 7, 60 + (t / 12) * 7 % 30];
        let drawn = draw();
        if loud.contains(&bin) { -((drawn % 48) as f32) / 4.0 } else { -28.0 - (drawn % 208) as f32 / 4.0 }
    };
    (0..frames).flat_map(|t| (0..BINS).map(move |bin| (t, bin))).map(|(t, bin)| level(t, bin)).collect()
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    let error = |(a, b): (&f32, &f32)| (a - b).abs() / b.abs().max(1.0);
    let worst = found.iter().zip(expected).map(error).fold(0.0, f32::max);
    println!("largest difference {worst:.1e}");
    for (place, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(error((a, b)) < tolerance, "value {place}: {a}, the reference says {b}");
    }
}

#[test]
fn timbre_and_loudness_are_librosas() {
    for (seconds, seed) in [(0.01, 1), (0.4, 2), (3.0, 3)] {
        let found = STATISTICS_OF.timbre(&samples(seconds, seed)).unwrap();
        assert_close(&found, &expected(&format!("timbre.{seed}")), 1e-4);
    }
}

#[test]
fn harmony_and_register_are_what_whole_arrays_in_numpy_give() {
    for (frames, seed) in [(1, 4), (30, 5), (130, 6)] {
        assert_close(&STATISTICS_OF.harmony(&levels(frames, seed)), &expected(&format!("harmony.{seed}")), 1e-5);
    }
}

#[test]
fn a_clip_that_cannot_be_transformed_has_no_statistics() {
    assert_eq!(STATISTICS_OF.of(&[], &[]), Err(SignalError::EmptyClip));
    assert!(matches!(STATISTICS_OF.of(&[0.0, f32::NAN], &[]), Err(SignalError::BadSample { index: 1, .. })));
}

#[test]
fn silence_and_a_single_sample_have_finite_statistics() {
    for clip in [vec![0.0], vec![1.0], vec![0.0; 50_000], vec![MAX_ABS_SAMPLE; 5_000], vec![0.25; 30_000]] {
        let decibels = FRONT_END.decibels(&clip).unwrap().values;
        let found = STATISTICS_OF.of(&clip, &decibels).unwrap();
        assert_eq!(found.len(), STATISTICS);
        assert!(found.iter().all(|value| value.is_finite()), "{} samples", clip.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_clip_has_finite_statistics_and_the_same_ones_each_time(
        seed in any::<u32>(),
        len in 1_usize..30_000,
        level in prop_oneof![Just(0.0_f32), Just(1e-30), Just(1e-5), Just(0.3), Just(MAX_ABS_SAMPLE)],
    ) {
        let mut draw = noise(seed);
        let clip: Vec<f32> = (0..len).map(|_| level * (draw() as f32 / 8_388_608.0 - 1.0)).collect();
        let decibels = FRONT_END.decibels(&clip).unwrap().values;
        let found = STATISTICS_OF.of(&clip, &decibels).unwrap();
        prop_assert_eq!(found.len(), STATISTICS);
        prop_assert!(found.iter().all(|value| value.is_finite()));
        prop_assert_eq!(found, STATISTICS_OF.of(&clip, &decibels).unwrap());
    }

    #[test]
    fn levels_of_any_kind_have_finite_statistics(
        values in proptest::collection::vec(any::<f32>(), 0..400),
    ) {
        prop_assert!(STATISTICS_OF.harmony(&values).iter().all(|value| value.is_finite()));
    }
}
