use super::*;
use crate::manifest::{Calibration, Dimensions, MODERN, Standardisation};
use crate::modality::ModalitySet;

fn network() -> FusionNetwork {
    let device = Device::Cpu;
    let builder = Builder::fresh(3, device);
    let dimensions = Dimensions { fusion_attention: 2, fusion_reduced: 3, ..Dimensions::modern() };
    let mut network = Joint::new(&builder.scope("fusion"), &dimensions, 0.0).unwrap();
    let weight: Vec<f32> = (0..300).map(|at| (at as f32 * 0.7).sin()).collect();
    network.set_heads(&weight, &[0.1, -0.2, 0.3]).unwrap();
    network.set_trust(&[0.9, 1.1, 0.8, 0.2], &[0.1, -0.1, 0.0, 0.05]).unwrap();
    network.set_neutral(&weight[..100], 0.4).unwrap();
    let mood_head = Linear::new(&builder.scope("audio.mood_head"), 100, 4).unwrap();
    let standardisation = Standardisation { mean: vec![0.0; 96], std: vec![1.0; 96] };
    let temperature = [("text+audio".to_owned(), 1.5), ("image".to_owned(), 0.5)].into();
    let calibration = Calibration { temperature, ..Calibration::default() };
    let manifest = Arc::new(Manifest::new(MODERN, dimensions, standardisation, 30, calibration, 1));
    FusionNetwork { network, mood_head, on_slices: None, manifest, device }
}

/// Of every subset of modalities.
fn posts() -> Vec<FusionInput> {
    let vector = |m: f32| Some((0..100).map(|i| 0.3 * (1.3 * m + 0.4 * i as f32).sin()).collect());
    let whole = FusionInput { text: vector(0.0), audio: vector(1.0), image: vector(2.0) };
    ModalitySet::all_non_empty().map(|subset| whole.masked(subset)).collect()
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

#[test]
fn over_slices_every_subset_is_fused_as_over_tensors() {
    let expected = network().fuse(&posts()).unwrap();
    let mut over_slices = network();
    let parts = (over_slices.network.on_slices().unwrap(), over_slices.mood_head.on_slices().unwrap());
    over_slices.on_slices = Some(parts);
    let near = |a: f32, b: f32| (a - b).abs() < 2e-6 * (1.0 + a.abs());
    for (found, expected) in over_slices.fuse(&posts()).unwrap().iter().zip(&expected) {
        assert!(near(found.logit, expected.logit), "{} {}", found.logit, expected.logit);
        assert_eq!(found.u.len(), expected.u.len());
        assert!(found.u.iter().zip(&expected.u).all(|(a, b)| near(*a, *b)));
        assert_eq!(found.moods.len(), expected.moods.len());
        assert!(found.moods.iter().zip(&expected.moods).all(|(a, b)| a.0 == b.0 && near(a.1, b.1)));
        let probabilities = found.judgement.probabilities.iter().zip(expected.judgement.probabilities);
        assert!(probabilities.into_iter().all(|(a, b)| near(*a, b)));
    }
    for wrong in [vec![0.1; 99], vec![f32::NAN; 100]] {
        let post = FusionInput { text: Some(wrong), audio: None, image: None };
        assert!(matches!(over_slices.fuse(&[post]), Err(ModelError::Input(_))));
    }
    assert!(over_slices.fuse(&[FusionInput { text: None, audio: None, image: None }]).is_err());
}

#[test]
fn contributions_and_the_prior_add_up_to_the_log_odds() {
    for prior in [0.0, 0.85] {
        for output in network().with_prior(prior).unwrap().fuse(&posts()).unwrap() {
            let Contributions { text, audio, image, interaction } = output.contributions;
            assert!((text + audio + image + interaction + prior - output.logit).abs() < 1e-5, "{output:?}");
            assert!((sigmoid(output.logit) - output.probability).abs() < 1e-6);
            assert_eq!((output.probability, output.is_positive()), (output.judgement.polarity, output.logit >= 0.0));
        }
    }
}

#[test]
fn another_prior_moves_the_log_odds_of_every_post_by_as_much() {
    let before = network().fuse(&posts()).unwrap();
    let after = network().with_prior(-1.25).unwrap().fuse(&posts()).unwrap();
    for (before, after) in before.iter().zip(&after) {
        assert!((before.logit - 1.25 - after.logit).abs() < 1e-5);
        assert_eq!((before.contributions, &before.moods), (after.contributions, &after.moods));
    }
    for odds in [f32::NAN, f32::INFINITY] {
        assert!(matches!(network().with_prior(odds), Err(ModelError::Configuration(_))));
    }
}

#[test]
fn the_neutral_head_is_heard_where_there_is_a_text_and_nowhere_else() {
    let (before, mut deaf) = (network().fuse(&posts()).unwrap(), network());
    deaf.network.set_neutral(&[0.0; 100], -3.0).unwrap();
    let after = deaf.fuse(&posts()).unwrap();
    for ((post, before), after) in posts().iter().zip(before).zip(after) {
        let moved = before.judgement.probabilities[1] != after.judgement.probabilities[1];
        assert_eq!(moved, post.text.is_some(), "{}", post.modalities());
        assert_eq!(before.judgement.polarity, after.judgement.polarity);
    }
}
