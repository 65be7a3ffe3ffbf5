use super::*;
use crate::statistics::{CHORDS as CHORD_PLACES, CHROMA, KEY, REGISTER};

fn at(values: &[f32], place: usize) -> f32 {
    values[place - CHROMA.start]
}

/// `frames` frames in which these bins sound at 0 dB and nothing else does.
fn notes(bins: &[usize], frames: usize) -> Vec<f32> {
    let frame: Vec<f32> = (0..BINS).map(|bin| if bins.contains(&bin) { 0.0 } else { FLOOR_DB }).collect();
    frame.repeat(frames)
}

#[test]
fn a_major_triad_fits_major_best_on_every_root_and_a_minor_one_minor() {
    let harmony = Harmony::new();
    for root in 0..24 {
        let lead = CHORD_PLACES.start + CHORDS.len() + 1;
        let major = harmony.of(&notes(&[root + 24, root + 28, root + 31], 60));
        assert!((at(&major, CHORD_PLACES.start) - 1.0).abs() < 1e-3);
        assert!(at(&major, lead) > 0.2 && at(&major, KEY.start + 2) > 0.0);
        let minor = harmony.of(&notes(&[root + 24, root + 27, root + 31], 60));
        assert!((at(&minor, CHORD_PLACES.start + 1) - 1.0).abs() < 1e-3);
        assert!(at(&minor, lead) < -0.2 && at(&minor, KEY.start + 2) < 0.0);
    }
}

#[test]
fn keys_and_chords_do_not_depend_on_the_transposition() {
    let harmony = Harmony::new();
    let song = |up: usize| -> Vec<f32> {
        let chords = [[24, 28, 31], [29, 33, 36], [31, 35, 38], [24, 28, 31]];
        chords.iter().flat_map(|chord| notes(&chord.map(|note| note + up), 20)).collect()
    };
    let (here, there) = (harmony.of(&song(0)), harmony.of(&song(5)));
    for place in KEY.chain(CHORD_PLACES) {
        assert!((at(&here, place) - at(&there, place)).abs() < 1e-4, "{place}");
    }
    assert!((at(&there, REGISTER.start) - at(&here, REGISTER.start) - 5.0).abs() < 1e-3);
}

#[test]
fn the_register_names_the_highest_and_the_lowest_note() {
    let values = Harmony::new().of(&notes(&[12, 50, 90], 10));
    assert_eq!((at(&values, REGISTER.start + 4), at(&values, REGISTER.start + 7)), (90.0, 12.0));
    assert_eq!(at(&values, REGISTER.start + 6), 0.0);
}

#[test]
fn silence_nothing_and_levels_that_are_no_numbers_have_finite_statistics() {
    let harmony = Harmony::new();
    for levels in [vec![], vec![FLOOR_DB; 95], vec![FLOOR_DB; BINS], vec![f32::NAN; 3 * BINS], vec![1e30; 50 * BINS]] {
        assert!(harmony.of(&levels).iter().all(|value| value.is_finite()), "{} levels", levels.len());
    }
    assert_eq!(harmony.of(&[]), harmony.of(&[FLOOR_DB; BINS]));
    assert_eq!(harmony.of(&[f32::NAN; BINS]), harmony.of(&[FLOOR_DB; BINS]));
}
