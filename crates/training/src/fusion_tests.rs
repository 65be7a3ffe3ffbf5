use jtav_model::DeviceChoice;

use super::*;
use crate::calibration::{Evidence, Platt};
use crate::types::Optimisation;

/// A vector of 0.01 with this value at one place.
fn axis(value: f32, at: usize) -> Option<Vec<f32>> {
    Some((0..100).map(|j| if j == at { value } else { 0.01 }).collect())
}

fn head(at: usize) -> LinearHead {
    LinearHead { weight: (0..100).map(|j| if j == at { 3.0 } else { 0.0 }).collect(), bias: 0.0 }
}

fn trainer() -> FusionTrainer {
    let heads = UnimodalHeads { text: head(0), audio: head(1), image: head(2) };
    let optimisation = Optimisation { learning_rate: 3e-3, batch_size: 32, ..Optimisation::default() };
    let config =
        FusionConfig { device: DeviceChoice::Cpu, optimisation, modality_dropout: 0.0, ..FusionConfig::default() };
    FusionTrainer::new(config, &heads, 1).unwrap()
}

/// The text is right nine times of ten, the clip is a coin, the picture says nothing of the label.
fn posts() -> Vec<FusionExample> {
    let coin = |i: usize, bit: usize| if (i * 2_654_435_761) >> bit & 1 == 0 { 1.0 } else { -1.0 };
    let post = |i: usize| {
        let positive = !(i * 7).is_multiple_of(3);
        let side = if positive { 1.0 } else { -1.0 };
        let slip = if i.is_multiple_of(10) { -1.0 } else { 1.0 };
        FusionExample {
            input: FusionInput {
                text: axis(side * slip, 0),
                audio: axis(coin(i, 7), 1),
                image: (!i.is_multiple_of(4)).then(|| axis(coin(i, 9), 2)).flatten(),
            },
            positive,
        }
    };
    (0..300).map(post).collect()
}

/// What the heads say of the parts of the posts, each an item.
fn items(trainer: &FusionTrainer, posts: &[FusionExample]) -> Vec<Evidence> {
    let inputs: Vec<FusionInput> = posts.iter().map(|post| post.input.clone()).collect();
    let rows = trainer.predict_parts(&inputs).unwrap();
    let item = |(post, row): (&FusionExample, [f32; 4])| {
        let there = post.input.modalities();
        let logits = Modality::ALL.map(|modality| there.contains(modality).then(|| row[modality as usize]));
        Evidence { logits, neutral: None, votes: if post.positive { [0.0, 0.0, 1.0] } else { [1.0, 0.0, 0.0] } }
    };
    posts.iter().zip(rows).map(item).collect()
}

fn groups(posts: &[FusionExample]) -> Vec<u64> {
    (0..posts.len() as u64).collect()
}

#[test]
fn the_fused_logit_is_the_sum_of_the_ratios_of_the_parts_that_are_there() {
    let (mut trainer, posts) = (trainer(), posts());
    let items = items(&trainer, &posts);
    let parts = Parts::fit(&items).unwrap();
    let calibration = trainer.calibrate(&parts, &posts, &groups(&posts)).unwrap();
    assert_eq!(calibration.prior_log_odds, 0.0);
    assert_eq!((calibration.bound["text"], calibration.bound["interaction"]), (PART_BOUND, INTERACTION_BOUND));
    let inputs: Vec<FusionInput> = posts.iter().map(|post| post.input.clone()).collect();
    for (item, logit) in items.iter().zip(trainer.predict(&inputs).unwrap()) {
        // CMF-AP has learnt nothing, so it is not heard.
        let expected: f32 = parts.ratios(&item.logits).iter().sum();
        assert!((expected - logit).abs() < 1e-4, "{logit} {expected}");
    }
    // The text is right 9 times of 10: log odds of 9 to 1 either way; the clip is worth next to nothing.
    let alone = |input: FusionInput| trainer.predict(&[input]).unwrap()[0];
    let text = alone(FusionInput { text: axis(1.0, 0), ..FusionInput::default() });
    assert!((text - 9.0_f32.ln()).abs() < 0.25, "{text}");
    let audio = alone(FusionInput { audio: axis(1.0, 1), ..FusionInput::default() });
    assert!(audio.abs() < 0.4, "{audio}");
}

#[test]
fn one_odd_picture_cannot_say_more_than_its_bound() {
    let (mut trainer, posts) = (trainer(), posts());
    let platt = Platt { slope: 1.0, constant: 0.0, log_odds: 0.0 };
    let parts = Parts { platt: [platt; 3], neutral_temperature: 1.0 };
    trainer.calibrate(&parts, &posts, &groups(&posts)).unwrap();
    let odd = FusionInput { image: axis(1e6, 2), ..FusionInput::default() };
    let logit = trainer.predict(&[odd]).unwrap()[0];
    assert!((logit - PART_BOUND).abs() <= INTERACTION_BOUND, "{logit}");
}

/// Positive where text and picture agree, which no sum of parts can say.
fn agreement(count: usize, seed: usize) -> Vec<FusionExample> {
    let post = |i: usize| {
        let noise = |j: usize| ((((i + seed) * 31 + j) * 7919 % 1000) as f32 / 1000.0 - 0.5) * 0.6;
        let sign = |bit: usize| if (i + seed) & bit == 0 { 1.0 } else { -1.0 };
        let vector =
            |sign: f32, from: usize| (0..100).map(|j| if j < 50 { sign } else { 1.0 } + noise(j + from)).collect();
        FusionExample {
            input: FusionInput { text: Some(vector(sign(1), 0)), audio: None, image: Some(vector(sign(2), 100)) },
            positive: sign(1) == sign(2),
        }
    };
    (0..count).map(post).collect()
}

#[test]
fn cmf_ap_is_trusted_where_it_knows_what_no_sum_of_parts_can() {
    let mut trainer = trainer();
    let (train, validation) = (agreement(256, 0), agreement(100, 1000));
    for _ in 0..30 {
        trainer.epoch(&train).unwrap();
    }
    let silent = Parts { platt: [Platt::default(); 3], neutral_temperature: 1.0 };
    trainer.calibrate(&silent, &validation, &groups(&validation)).unwrap();
    let inputs: Vec<FusionInput> = validation.iter().map(|post| post.input.clone()).collect();
    let logits = trainer.predict(&inputs).unwrap();
    let right = logits.iter().zip(&validation).filter(|(logit, post)| (**logit > 0.0) == post.positive).count();
    assert!(right > 95, "{right}");
}

#[test]
fn groups_of_another_number_are_refused() {
    let (mut trainer, posts) = (trainer(), posts());
    let parts = Parts { platt: [Platt::default(); 3], neutral_temperature: 1.0 };
    assert!(matches!(trainer.calibrate(&parts, &posts, &[1, 2]), Err(ModelError::Input(_))));
}
