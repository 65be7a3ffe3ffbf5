//! What must hold for any clip.

use std::sync::LazyLock;

use jtav_signal::constants::{BINS, FLOOR_DB, HOP_LENGTH, N_FFT, SAMPLE_RATE_HZ, SEGMENT_FRAMES};
use jtav_signal::{
    CqtFrontEnd, MAX_ABS_SAMPLE, MAX_RATE_HZ, MIN_RATE_HZ, MelParams, MelSpectrogram, SignalError, Spectrogram,
    power_to_db, resample, segments,
};
use proptest::prelude::*;

static FRONT_END: LazyLock<CqtFrontEnd> = LazyLock::new(CqtFrontEnd::new);
static MEL: LazyLock<MelSpectrogram> = LazyLock::new(|| {
    let params = MelParams { sample_rate_hz: SAMPLE_RATE_HZ, n_fft: N_FFT, hop_length: HOP_LENGTH, n_mels: BINS };
    MelSpectrogram::new(params).unwrap()
});

fn mel_decibels(pcm: &[f32]) -> Result<Spectrogram, SignalError> {
    Ok(power_to_db(&MEL.power(pcm)?))
}

type Decibels = fn(&[f32]) -> Result<Spectrogram, SignalError>;
const BOTH: [Decibels; 2] = [|pcm| FRONT_END.decibels(pcm), mel_decibels];

/// A clip of up to 7 hops at any level from inaudible to the largest that is accepted.
fn any_clip() -> impl Strategy<Value = Vec<f32>> {
    let level = prop_oneof![Just(0.0f32), Just(1e-7), Just(0.3), Just(1.0), Just(MAX_ABS_SAMPLE)];
    (level, 1..7 * HOP_LENGTH, any::<u32>()).prop_map(|(level, len, seed)| {
        let mut state = seed;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        (0..len).map(|_| level * noise()).collect()
    })
}

#[test]
fn front_ends_are_shared_between_threads() {
    fn assert_shared<T: Send + Sync>(_: &T) {}
    assert_shared(&*FRONT_END);
    assert_shared(&*MEL);
}

#[test]
fn an_empty_clip_is_an_error() {
    for decibels in BOTH {
        assert_eq!(decibels(&[]), Err(SignalError::EmptyClip));
    }
}

#[test]
fn a_clip_of_one_sample_has_one_frame() {
    for decibels in BOTH {
        let got = decibels(&[0.5]).unwrap();
        assert_eq!((got.frames, got.bins, got.values.len()), (1, BINS, BINS));
        assert!(got.values.contains(&0.0), "the loudest value is the reference");
    }
}

#[test]
fn a_silent_clip_is_minus_eighty_everywhere() {
    for decibels in BOTH {
        assert!(decibels(&[0.0; 5_000]).unwrap().values.iter().all(|&db| db == FLOOR_DB));
    }
}

#[test]
fn samples_that_are_not_audio_are_named_in_the_error() {
    for decibels in BOTH {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
            let mut clip = vec![0.1; 3_000];
            clip[1_234] = bad;
            assert!(matches!(decibels(&clip), Err(SignalError::BadSample { index: 1_234, .. })), "{bad}");
        }
    }
}

#[test]
fn ten_seconds_are_one_full_segment_and_one_frame() {
    let clip: Vec<f32> = (0..10 * SAMPLE_RATE_HZ).map(|i| (i as f32 * 0.1).sin()).collect();
    let cut = segments(&FRONT_END.decibels(&clip).unwrap(), SEGMENT_FRAMES);
    assert_eq!(cut.iter().map(|s| s.valid_frames).collect::<Vec<_>>(), [215, 1]);
    assert!(cut.iter().all(|s| s.values.len() == SEGMENT_FRAMES * BINS));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decibels_are_finite_in_range_and_one_frame_per_hop(clip in any_clip()) {
        for decibels in BOTH {
            let got = decibels(&clip).unwrap();
            prop_assert_eq!((got.frames, got.bins), (1 + clip.len() / HOP_LENGTH, BINS));
            prop_assert_eq!(got.values.len(), got.frames * got.bins);
            prop_assert!(got.values.iter().all(|db| (FLOOR_DB..=0.0).contains(db)));
        }
    }

    #[test]
    fn the_same_clip_gives_the_same_bits(clip in any_clip()) {
        for decibels in BOTH {
            prop_assert_eq!(decibels(&clip).unwrap(), decibels(&clip).unwrap());
        }
    }

    #[test]
    fn decibels_do_not_depend_on_the_level_of_the_clip(clip in any_clip()) {
        let loud: Vec<f32> = clip.iter().map(|x| x * 0.25).collect();
        prop_assume!(loud.iter().any(|x| x.abs() > 0.1));
        let (a, b) = (FRONT_END.decibels(&clip).unwrap(), FRONT_END.decibels(&loud).unwrap());
        for (x, y) in a.values.iter().zip(&b.values) {
            prop_assert!((x - y).abs() < 0.01, "{} and {}", x, y);
        }
    }

    #[test]
    fn resampling_any_supported_pair_of_rates_keeps_length_and_finiteness(
        clip in any_clip(), from_hz in MIN_RATE_HZ..=96_000u32, to_hz in MIN_RATE_HZ..=96_000u32,
    ) {
        let got = resample(&clip, from_hz, to_hz).unwrap();
        prop_assert_eq!(got.len() as u64, (clip.len() as u64 * u64::from(to_hz)).div_ceil(u64::from(from_hz)));
        prop_assert!(got.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn segments_hold_the_clip_and_nothing_else(frames in 0usize..40, per_segment in 1usize..12) {
        let values: Vec<f32> = (0..frames * 3).map(|i| -(i as f32) / 2.0).collect();
        let cut = segments(&Spectrogram { frames, bins: 3, values: values.clone() }, per_segment);
        prop_assert!(!cut.is_empty());
        prop_assert_eq!(cut.iter().map(|s| s.valid_frames).sum::<usize>(), frames);
        let mut joined = Vec::new();
        for segment in &cut {
            prop_assert_eq!(segment.values.len(), per_segment * 3);
            let (real, padding) = segment.values.split_at(segment.valid_frames * 3);
            joined.extend_from_slice(real);
            prop_assert!(padding.iter().all(|&db| db == FLOOR_DB));
        }
        prop_assert_eq!(joined, values);
    }
}

#[test]
fn the_extreme_rates_are_converted_into_each_other() {
    assert_eq!(resample(&[0.5; 10], MIN_RATE_HZ, MAX_RATE_HZ).unwrap().len(), 7_680);
    assert_eq!(resample(&[0.5; 7_681], MAX_RATE_HZ, MIN_RATE_HZ).unwrap().len(), 11);
}
