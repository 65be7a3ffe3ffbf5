use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;
use tch::Device;

use super::*;
use crate::judgement::Judgement;
use crate::manifest::{Calibration, Middle};
use crate::modality::ModalitySet;
use crate::parameters::{Builder, to_rows, to_vec};

const WIDTH: i64 = 5;
const TRUST: [f32; 4] = [0.9, 1.2, 1.1, 0.0];
const OFFSET: [f32; 4] = [-0.4, 0.1, 0.25, 0.0];
const BOUND: [f32; 4] = [8.0, 8.0, 1.5, 8.0];

fn dimensions() -> Dimensions {
    Dimensions { vector: WIDTH, fusion_attention: 2, fusion_reduced: 3, ..Dimensions::modern() }
}

#[derive(Deserialize)]
struct Reference {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    subset: usize,
    parts: [f32; 3],
    logit: f32,
    probabilities: [f32; 3],
    polarity: f32,
    valence: f32,
}

/// The vectors of `tests/fixtures/middle.py`.
fn post(subset: ModalitySet) -> FusionInput {
    let vector = |m: f32| Some((0..WIDTH).map(|i| (1.3 * m + 0.7 * i as f32 + 0.2).sin()).collect());
    FusionInput { text: vector(0.0), audio: vector(1.0), image: vector(2.0) }.masked(subset)
}

/// The fusion of `tests/fixtures/middle.py`.
fn joint() -> Joint {
    let builder = Builder::fresh(1, Device::Cpu);
    let mut joint = Joint::new(&builder.scope("fusion"), &dimensions(), 0.0).unwrap();
    let weight: Vec<f32> =
        (0..3).flat_map(|m| (0..WIDTH).map(move |i| 2.0 * (0.5 * m as f32 + 0.9 * i as f32).cos())).collect();
    joint.set_heads(&weight, &[0.1, -0.2, 0.3]).unwrap();
    joint.set_trust(&TRUST, &OFFSET).unwrap();
    joint.set_bound(&BOUND).unwrap();
    let neutral: Vec<f32> = (0..WIDTH).map(|i| 0.8 * (0.3 + 0.9 * i as f32).cos()).collect();
    joint.set_neutral(&neutral, -0.15).unwrap();
    joint
}

#[test]
fn every_subset_agrees_with_the_definition() {
    let reference: Reference = serde_json::from_str(include_str!("../../tests/fixtures/middle.json")).unwrap();
    let subsets: Vec<ModalitySet> = ModalitySet::all_non_empty().collect();
    let posts: Vec<FusionInput> = subsets.iter().map(|subset| post(*subset)).collect();
    let batch = JointBatch::new(&posts, WIDTH as usize, Device::Cpu).unwrap();
    let forward = joint().forward(&batch, false).unwrap();
    let temperature = BTreeMap::from([("text+audio".to_owned(), 1.25), ("audio+image".to_owned(), 0.8)]);
    let calibration = Calibration { temperature, prior_log_odds: 0.6, ..Calibration::default() };
    let middle = Middle { temperature: 1.5, media_only_neutral: 0.35, ..Middle::default() };

    let near = |found: f32, expected: f32| (found - expected).abs() < 1e-5;
    let answers = to_rows(&forward.contributions).unwrap().into_iter().zip(to_vec(&forward.neutral).unwrap());
    for ((row, subset), (parts, neutral)) in reference.rows.iter().zip(subsets).zip(answers) {
        assert_eq!(row.subset, subset.index());
        let parts: [f32; 4] = parts.try_into().unwrap();
        let temperature = calibration.temperature_of(subset);
        let pairs = parts.iter().zip(row.parts);
        assert!(pairs.clone().all(|(part, expected)| near(part / temperature, expected)), "{subset}: {parts:?}");
        assert_eq!(parts[3], 0.0, "CMF-AP is not trusted");
        let judgement = Judgement::of_parts(&calibration, &middle, subset, &parts, neutral);
        let pairs = judgement.probabilities.into_iter().zip(row.probabilities);
        assert!(pairs.clone().all(|(found, expected)| near(found, expected)), "{subset}: {judgement:?}");
        assert!(near(judgement.polarity, row.polarity) && near(judgement.valence, row.valence), "{subset}");
        assert!(near(judgement.polarity, 1.0 / (1.0 + (-row.logit).exp())));
    }
}

#[test]
fn the_neutral_head_is_of_the_text_and_what_is_calibrated_is_not_trained() {
    let builder = Builder::fresh(7, Device::Cpu);
    Joint::new(&builder.scope("fusion"), &dimensions(), 0.0).unwrap();
    let parameters = builder.finish();
    let shape = |name: &str| parameters.tensors[name].size();
    assert_eq!([shape("fusion.middle.weight"), shape("fusion.middle.bias")], [[WIDTH], [1]]);
    assert_eq!([shape("fusion.trust"), shape("fusion.offset")], [[4], [4]]);
    for name in ["middle.weight", "middle.bias", "trust", "offset", "additive.weight", "additive.bias"] {
        assert!(!parameters.trainable.contains(&format!("fusion.{name}")), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_vector_brings_more_into_the_sum_than_its_bound(values in prop::collection::vec(-1e4f32..1e4, 15), index in 0..7_usize) {
        let subset = ModalitySet::all_non_empty().nth(index).unwrap();
        let vector = |m: usize| Some(values[m * 5..m * 5 + 5].to_vec());
        let post = FusionInput { text: vector(0), audio: vector(1), image: vector(2) }.masked(subset);
        let batch = JointBatch::new(&[post], WIDTH as usize, Device::Cpu).unwrap();
        let mut joint = joint();
        joint.set_trust(&[0.9, 1.2, 1.1, 0.5], &[-0.4, 0.1, 0.25, 0.2]).unwrap();
        let forward = joint.forward(&batch, false).unwrap();
        let (parts, contributions) = (to_vec(&forward.parts).unwrap(), to_vec(&forward.contributions).unwrap());
        for part in 0..4 {
            let there = Modality::ALL.get(part).is_none_or(|&modality| subset.contains(modality));
            let ratio = [0.9, 1.2, 1.1, 0.5][part] * parts[part] + [-0.4, 0.1, 0.25, 0.2][part];
            let expected = if there { ratio.clamp(-BOUND[part], BOUND[part]) } else { 0.0 };
            prop_assert!((contributions[part] - expected).abs() < 1e-4, "{part}: {contributions:?} {parts:?}");
        }
        prop_assert!((to_vec(&forward.logit).unwrap()[0] - contributions.iter().sum::<f32>()).abs() < 1e-4);
    }

    #[test]
    fn a_part_is_the_same_whatever_else_the_post_has(index in 0..7_usize) {
        let subset = ModalitySet::all_non_empty().nth(index).unwrap();
        let batch = JointBatch::new(&[post(ModalitySet::FULL), post(subset)], WIDTH as usize, Device::Cpu).unwrap();
        let forward = joint().forward(&batch, false).unwrap();
        let contributions = to_rows(&forward.contributions).unwrap();
        for modality in Modality::ALL {
            let expected = if subset.contains(modality) { contributions[0][modality as usize] } else { 0.0 };
            prop_assert_eq!(contributions[1][modality as usize], expected);
        }
    }
}
