use super::*;
use crate::inference::drawn;
use crate::manifest::{LIGHT, MODERN, Manifest};

fn with_probe(checkpoint: &Checkpoint, probe: Option<Probe>) -> Checkpoint {
    checkpoint.with_manifest(Manifest { probe, ..checkpoint.manifest().clone() })
}

#[test]
fn a_cosine_is_one_only_for_the_same_direction() {
    assert!((cosine(&[1.0, 2.0], &[2.0, 4.0]) - 1.0).abs() < 1e-6);
    assert_eq!(cosine(&[1.0, 0.0], &[0.0, 1.0]), 0.0);
    assert_eq!(cosine(&[1.0], &[1.0, 0.0]), 0.0);
    assert_eq!(cosine(&[0.0], &[0.0]), 1.0);
    assert_eq!(cosine(&[0.0], &[1.0]), 0.0);
}

#[test]
fn recorded_answers_are_given_again_and_others_are_not_accepted() {
    for profile in [MODERN, LIGHT] {
        let checkpoint = drawn::checkpoint(drawn::manifest(profile)).unwrap();
        let probe = record_probe(&checkpoint).unwrap();
        assert_eq!((probe.text.len(), probe.audio.len(), probe.image.len()), (100, 100, 100));
        assert_eq!((probe.probability.len(), probe.neutral.len()), (7, 7));
        let report = parity_probe(&with_probe(&checkpoint, Some(probe.clone())), DeviceChoice::Cpu).unwrap();
        assert!(report.text_cosine > LEAST_COSINE && report.probability_difference < LARGEST_DIFFERENCE, "{report:?}");

        let mut turned = probe.clone();
        turned.text.rotate_left(1);
        let mut surer = probe.clone();
        surer.probability.values_mut().for_each(|probability| *probability += 0.05);
        let mut unlisted = probe;
        unlisted.neutral.clear();
        for other in [Some(turned), Some(surer), Some(unlisted), None] {
            let error = parity_probe(&with_probe(&checkpoint, other), DeviceChoice::Cpu).unwrap_err();
            assert!(matches!(error, ModelError::Parity(_)), "{error}");
        }
    }
}
