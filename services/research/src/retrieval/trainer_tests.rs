//! The networks of image2song learn, and do not care about their batch.

use super::*;
use jtav_model::DeviceChoice;
use jtav_model::parameters::overwrite;
use jtav_training::{Optimisation, UpdateRule};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::{Mutex, PoisonError};

const WIDTHS: RetrievalWidths = RetrievalWidths { image: 12, caption: 9, lyrics: 10, audio: 8 };
const ALL: [RetrievalInputs; 5] = [
    RetrievalInputs::ImageLyrics,
    RetrievalInputs::ImageCaptionLyrics,
    RetrievalInputs::ImageAudio,
    RetrievalInputs::ImageCaptionAudio,
    RetrievalInputs::All,
];

/// Training draws from libtorch's one generator.
static ALONE: Mutex<()> = Mutex::new(());

fn rows(count: usize, width: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| (0..width).map(|_| rng.random_range(-1.7..=1.7)).collect()).collect()
}

/// Every third query has no caption.
fn data(count: usize) -> (Vec<TruePair>, Vec<QueryVectors>, Vec<SongVectors>) {
    let (images, captions) = (rows(count, WIDTHS.image, 1), rows(count, WIDTHS.caption, 2));
    let (lyrics, audio) = (rows(count, WIDTHS.lyrics, 3), rows(count, WIDTHS.audio, 4));
    let queries = images
        .into_iter()
        .zip(captions)
        .enumerate()
        .map(|(at, (image, caption))| QueryVectors { image, caption: (at % 3 != 2).then_some(caption) });
    let songs = lyrics.into_iter().zip(audio);
    let songs = songs.map(|(lyrics, audio)| SongVectors { lyrics: Some(lyrics), audio: Some(audio) });
    let pairs = (0..count).map(|at| TruePair { query: at, song: (at * 5 + 2) % count });
    (pairs.collect(), queries.collect(), songs.collect())
}

fn small(profile: Profile, inputs: RetrievalInputs) -> RetrievalSettings {
    let settings = RetrievalSettings::joint(profile, inputs);
    let optimisation = Optimisation { learning_rate: 5e-3, batch_size: 16, ..settings.optimisation };
    let adam = UpdateRule::default();
    RetrievalSettings {
        optimisation,
        rule: adam,
        device: DeviceChoice::Cpu,
        width: 24,
        attention: 12,
        embedding: 16,
        dropout: 0.0,
    }
}

fn joint(profile: Profile, inputs: RetrievalInputs, seed: u64) -> RetrievalTrainer {
    RetrievalTrainer::joint(profile, inputs, WIDTHS, small(profile, inputs), seed).unwrap()
}

fn towers(inputs: RetrievalInputs, seed: u64) -> RetrievalTrainer {
    RetrievalTrainer::two_tower(inputs, WIDTHS, small(Profile::Paper, inputs), seed).unwrap()
}

fn every_network() -> Vec<RetrievalTrainer> {
    let joints = ALL.into_iter().flat_map(|inputs| {
        [joint(Profile::Paper, inputs, 3), joint(Profile::AuthorsCode, inputs, 3), towers(inputs, 3)]
    });
    joints.collect()
}

fn mean_rank(scores: &[Vec<f32>], pairs: &[TruePair]) -> f64 {
    let rank = |pair: &TruePair| {
        let row = &scores[pair.query];
        row.iter().filter(|&&score| score >= row[pair.song]).count()
    };
    pairs.iter().map(|pair| rank(pair) as f64).sum::<f64>() / pairs.len() as f64
}

#[test]
fn the_joint_scorer_and_the_towers_learn_32_pairs_by_heart() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (pairs, queries, songs) = data(32);
    for (name, mut trainer) in [
        ("paper", joint(Profile::Paper, RetrievalInputs::All, 1)),
        ("authors-code", joint(Profile::AuthorsCode, RetrievalInputs::All, 1)),
        ("towers", towers(RetrievalInputs::All, 1)),
    ] {
        let before = mean_rank(&trainer.scores(&queries, &songs).unwrap(), &pairs);
        let mut after = before;
        for _ in 0..400 {
            trainer.epoch(&pairs, &queries, &songs).unwrap();
            after = mean_rank(&trainer.scores(&queries, &songs).unwrap(), &pairs);
            if after < 1.3 {
                break;
            }
        }
        assert!(after < 1.3 && before > 8.0, "{name}: mean rank {before} to {after}");
    }
}

#[test]
fn a_query_alone_has_the_scores_it_has_among_64() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (pairs, queries, songs) = data(64);
    for mut trainer in every_network() {
        trainer.epoch(&pairs, &queries, &songs).unwrap();
        let all = trainer.scores(&queries, &songs).unwrap();
        assert_eq!((all.len(), all[0].len()), (64, 64));
        for at in [0, 2, 63] {
            let alone = trainer.scores(&queries[at..=at], &songs).unwrap();
            let apart = trainer.scores(&queries[at..=at], &songs[at..=at]).unwrap();
            assert!((apart[0][0] - all[at][at]).abs() < 1e-5);
            assert!(alone[0].iter().zip(&all[at]).all(|(a, b)| (a - b).abs() < 1e-5), "{:?}", trainer.inputs);
        }
    }
}

#[test]
fn only_the_parts_that_are_read_matter_and_a_caption_does_where_it_is_read() {
    let (_, queries, songs) = data(8);
    for trainer in every_network() {
        let inputs = trainer.inputs;
        let before = trainer.scores(&queries, &songs).unwrap();
        let bare: Vec<QueryVectors> =
            queries.iter().map(|query| QueryVectors { caption: None, ..query.clone() }).collect();
        assert_eq!(trainer.scores(&bare, &songs).unwrap() != before, inputs.caption(), "{inputs:?}");
        let mute: Vec<SongVectors> = songs.iter().map(|song| SongVectors { audio: None, ..song.clone() }).collect();
        assert_eq!(trainer.scores(&queries, &mute).is_err(), inputs.audio(), "{inputs:?}");
        let wordless: Vec<SongVectors> =
            songs.iter().map(|song| SongVectors { lyrics: None, ..song.clone() }).collect();
        assert_eq!(trainer.scores(&queries, &wordless).is_err(), inputs.lyrics(), "{inputs:?}");
    }
}

#[test]
fn without_captions_in_the_data_jtav_reads_the_rest_and_rows_of_captions_are_refused() {
    let (_, queries, songs) = data(8);
    let widths = RetrievalWidths { caption: 0, ..WIDTHS };
    let inputs = RetrievalInputs::All;
    let settings = small(Profile::Paper, inputs);
    let joint = RetrievalTrainer::joint(Profile::Paper, inputs, widths, settings, 3).unwrap();
    let towers = RetrievalTrainer::two_tower(inputs, widths, settings, 3).unwrap();
    for trainer in [joint, towers] {
        assert_eq!(trainer.scores(&queries, &songs).unwrap().len(), 8);
    }
    let inputs = RetrievalInputs::ImageCaptionAudio;
    let refused = RetrievalTrainer::joint(Profile::Paper, inputs, widths, settings, 3).err().unwrap();
    assert!(refused.to_string().contains("reads caption vectors of no value"), "{refused}");
}

/// The failure that lets an optimistic rank report R@1 = 100 % (docs/networks.md, F4).
#[test]
fn ten_dead_units_give_every_song_exactly_one_score() {
    let (_, queries, songs) = data(16);
    let mut trainer = joint(Profile::AuthorsCode, RetrievalInputs::All, 5);
    let bias = trainer.learner.parameters.tensors.get_mut("joint.hidden.bias").unwrap();
    overwrite(bias, &[-1e6; 10]).unwrap();
    let scores = trainer.scores(&queries, &songs).unwrap();
    assert!(scores.iter().flatten().all(|&score| score == scores[0][0]));
}

#[test]
fn a_fake_song_is_never_the_true_one_and_every_other_one_comes() {
    let trainer = towers(RetrievalInputs::All, 1);
    let mut pass = trainer.learner.begin(2).unwrap();
    let mut seen = [0_usize; 4];
    for _ in 0..400 {
        seen[another(2, 4, &mut pass)] += 1;
    }
    assert!(seen[2] == 0 && [0, 1, 3].iter().all(|&song| seen[song] > 80), "{seen:?}");
}

#[test]
fn a_song_that_stands_twice_in_a_batch_is_no_negative_of_itself() {
    let scores = Tensor::from_slice(&[2.0_f32, 2.0, 0.0, 2.0, 2.0, 0.0, 0.0, 0.0, 3.0]).view([3, 3]);
    let none = Tensor::from_slice(&[false; 9]).view([3, 3]);
    let same = Tensor::from_slice(&[false, true, false, true, false, false, false, false, false]).view([3, 3]);
    let loss = |mask: &Tensor| two_tower::loss(&scores, mask).unwrap().double_value(&[]);
    let cross_entropy =
        |own: f64, others: &[f64]| (own.exp() + others.iter().map(|score| score.exp()).sum::<f64>()).ln() - own;
    let expected = (2.0 * cross_entropy(2.0, &[0.0]) + cross_entropy(3.0, &[0.0, 0.0])) / 3.0;
    assert!((loss(&same) - expected).abs() < 1e-6, "{} {expected}", loss(&same));
    assert!(loss(&none) > expected + 0.3);
}

#[test]
fn equal_seeds_give_equal_trainings_and_other_seeds_do_not() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (pairs, queries, songs) = data(24);
    let scores = |seed| {
        let mut trainer = joint(Profile::Paper, RetrievalInputs::All, seed);
        trainer.epoch(&pairs, &queries, &songs).unwrap();
        trainer.scores(&queries, &songs).unwrap()
    };
    assert_eq!(scores(1), scores(1));
    assert_ne!(scores(1), scores(2));
}

#[test]
fn whatever_cannot_be_trained_on_is_refused_with_its_reason() {
    let (pairs, queries, songs) = data(8);
    let mut trainer = joint(Profile::Paper, RetrievalInputs::All, 1);
    let refused = |result: Result<EpochReport, ModelError>| result.unwrap_err().to_string();
    assert!(refused(trainer.epoch(&pairs[..1], &queries, &songs)).contains("1 pairs and 8 songs"));
    assert!(refused(trainer.epoch(&pairs, &queries[..4], &songs)).contains("not there"));
    let mut other = songs.clone();
    other[3].audio = Some(vec![f32::NAN; WIDTHS.audio]);
    assert!(refused(trainer.epoch(&pairs, &queries, &other)).contains("audio vector of row 3"));
    let settings = RetrievalSettings { width: 0, ..small(Profile::Paper, RetrievalInputs::All) };
    let wrong = RetrievalTrainer::two_tower(RetrievalInputs::All, WIDTHS, settings, 1).err().unwrap();
    assert_eq!(wrong.to_string(), "configuration: width is 0, expected 1 to 4096");
}
