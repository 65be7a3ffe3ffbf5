use super::*;
use crate::types::Optimisation;
use jtav_model::DeviceChoice;

const WIDTH: i64 = 12;

fn dimensions(buckets: i64) -> Dimensions {
    Dimensions { word_width: WIDTH, text_hidden: 8, ngram_buckets: buckets, ..Dimensions::modern() }
}

fn config() -> TextConfig {
    TextConfig { device: DeviceChoice::Cpu, lexicon_weight: 0.0, ..TextConfig::default() }
}

/// Words of one kind: the first component says which class, the rest tells texts apart.
fn example(class: usize, at: usize, words: i64, supporting: i64) -> TextExample {
    let vectors = |count: i64, salt: f64| {
        let values: Vec<f32> = (0..count * WIDTH)
            .map(|i| match i % WIDTH {
                channel if channel == class as i64 => 3.0,
                channel => ((at as f64 * 0.7 + salt + channel as f64 * i as f64) * 1.3).sin() as f32,
            })
            .collect();
        Tensor::from_slice(&values).view([count, WIDTH]).to_kind(Kind::Half)
    };
    let words = WordFeatures {
        protagonist: vectors(words, 0.0),
        supporting: (supporting > 0).then(|| vectors(supporting, 5.0)),
        sentence: None,
    };
    let votes: [f32; 3] = std::array::from_fn(|of| if of == class { 0.8 } else { 0.1 });
    let valence = (class as f32 - 1.0) * 0.7;
    let features = TextFeatures { words, ngrams: Ngrams::default(), lexicon: 0.5 };
    TextExample { features, target: TextTarget { votes, valence } }
}

fn pool() -> Vec<TextExample> {
    (0..60).map(|at| example(at % 3, at, 1 + (at % 7) as i64, (at % 4) as i64)).collect()
}

#[test]
fn three_classes_are_learned_from_shares_of_votes() {
    let pool = pool();
    let fast = Optimisation { learning_rate: 1e-2, batch_size: 16, ..config().optimisation };
    let mut trainer = TextTrainer::new(TextConfig { optimisation: fast, ..config() }, dimensions(0), 3).unwrap();
    let epochs: Vec<Vec<usize>> = (0..20).map(|_| (0..pool.len()).collect()).collect();
    let mut losses = Vec::new();
    trainer
        .fit(&pool, &epochs, |report| {
            losses.push(report.loss);
            Ok(())
        })
        .unwrap();
    assert!(losses[19] < 0.7 * losses[0], "{losses:?}");
    let texts: Vec<&TextFeatures> = pool.iter().map(|example| &example.features).collect();
    for (at, [s, n]) in trainer.predict(&texts).unwrap().into_iter().enumerate() {
        let logits = [-s / 2.0, n, s / 2.0];
        let best = (0..3).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        assert_eq!(best, at % 3, "text {at}: {logits:?}");
    }
}

#[test]
fn the_head_over_the_vector_is_the_logit_and_calibration_moves_both() {
    let pool = pool();
    let with_lexicon = TextConfig { lexicon_weight: 1.5, ..config() };
    let mut trainer = TextTrainer::new(with_lexicon, dimensions(0), 3).unwrap();
    let texts: Vec<&TextFeatures> = pool.iter().map(|example| &example.features).collect();
    let before = trainer.predict(&texts).unwrap();
    trainer.calibrate([0.5, 2.0], [0.25, -1.0]).unwrap();
    let after = trainer.predict(&texts).unwrap();
    let (polarity, neutral) = (trainer.polarity_head().unwrap(), trainer.neutral_head().unwrap());
    let of = |head: &LinearHead, vector: &[f32]| {
        head.bias + head.weight.iter().zip(vector).map(|(weight, value)| weight * value).sum::<f32>()
    };
    for ((vector, [s, n]), [s_before, n_before]) in trainer.encode(&texts).unwrap().iter().zip(after).zip(before) {
        assert_eq!((vector.len(), vector[99]), (100, 0.5));
        assert!((of(&polarity, vector) - s).abs() < 1e-5 && (of(&neutral, vector) - n).abs() < 1e-5);
        assert!((s - (0.5 * s_before + 0.25)).abs() < 1e-5 && (n - (2.0 * n_before - 1.0)).abs() < 1e-5);
    }
}

#[test]
fn steps_grow_for_a_tenth_and_end_at_almost_nothing() {
    let sizes: Vec<f64> = (0..=1000).map(|step| size_of_step(step, 1000)).collect();
    assert!((sizes[0] - 0.04).abs() < 1e-9 && (sizes[100] - 1.0).abs() < 1e-9 && sizes[1000] < 1e-5);
    assert!(sizes[..=100].is_sorted() && sizes[100..].iter().rev().is_sorted());
}

#[test]
fn a_training_that_was_kept_is_taken_up_as_it_was() {
    let pool = pool();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.safetensors");
    let mut trainer = TextTrainer::new(config(), dimensions(64), 3).unwrap();
    let input = |text: &str| {
        let front_end = jtav_model::TextFrontEnd::without_pieces();
        front_end.input(&[("body", text)]).unwrap().unwrap()
    };
    let ngrams: Vec<Ngrams> = ["so good", "so bad"].iter().map(|text| input(text).ngrams).collect();
    assert!(ngrams.iter().all(|ngrams| ngrams.words.is_empty()), "a stand-in has no bag");
    trainer.fit(&pool, &[(0..60).collect()], |_| Ok(())).unwrap();
    trainer.save_state(&path).unwrap();
    let mut other = TextTrainer::new(config(), dimensions(64), 4).unwrap();
    other.load_state(&path).unwrap();
    let texts: Vec<&TextFeatures> = pool.iter().map(|example| &example.features).collect();
    assert_eq!(trainer.predict(&texts).unwrap(), other.predict(&texts).unwrap());
}
