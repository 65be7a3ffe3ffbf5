use proptest::prelude::*;

use super::*;
use crate::networks::formula::wave;
use crate::parameters::{Builder, to_rows};

const WIDTH: i64 = 24;

fn dimensions(ngram_buckets: i64) -> Dimensions {
    Dimensions { word_width: WIDTH, text_hidden: 8, vector: 20, ngram_buckets, ..Dimensions::modern() }
}

fn network(dropout: TextDropout) -> AttBiGru {
    let builder = Builder::fresh(5, Device::Cpu);
    let mut network = AttBiGru::new(&builder.scope("text"), &dimensions(8), dropout).unwrap();
    network.weigh_counted(0.7, -0.4).unwrap();
    // Constants are drawn as zeros.
    overwrite(&mut network.head.bias, &[0.3, -0.2]).unwrap();
    network
}

fn words(count: i64, phase: f64) -> Tensor {
    wave(&[count, WIDTH], 0.37 + phase)
}

fn post(first: i64, second: i64, phase: f64) -> WordFeatures {
    let supporting = (second > 0).then(|| words(second, 0.5 + phase));
    WordFeatures { protagonist: words(first, phase), supporting, sentence: None }
}

fn batch(posts: &[&WordFeatures]) -> TextBatch {
    let rows: Vec<(&WordFeatures, f32, f32)> =
        posts.iter().enumerate().map(|(at, post)| (*post, at as f32 - 1.5, 0.2 * at as f32)).collect();
    TextBatch::new(&rows, WIDTH, Device::Cpu).unwrap()
}

fn forward(network: &AttBiGru, posts: &[&WordFeatures]) -> TextForward {
    let _guard = tch::no_grad_guard();
    network.forward(&batch(posts), false).unwrap()
}

fn assert_near(found: &[f32], expected: &[f32], within: f32) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= within, "{a} and {b}: {found:?} {expected:?}");
    }
}

/// Layer normalisation as it is defined.
fn normalised(vector: &[f32]) -> Vec<f32> {
    let count = vector.len() as f32;
    let mean = vector.iter().sum::<f32>() / count;
    let variance = vector.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
    vector.iter().map(|value| (value - mean) / (variance + 1e-5).sqrt()).collect()
}

#[test]
fn a_post_without_a_supporting_part_has_the_gate_one() {
    let alone = post(4, 0, 0.0);
    let sequence = to_rows(&batch(&[&alone]).sequence(WIDTH).unwrap()).unwrap();
    for (found, word) in sequence.iter().zip(to_rows(&alone.protagonist).unwrap()) {
        assert_near(found, &normalised(&word), 1e-4);
    }
    // A supporting part without a row is none.
    let empty = WordFeatures { supporting: Some(words(0, 0.0)), ..post(4, 0, 0.0) };
    assert_eq!(to_rows(&batch(&[&empty]).sequence(WIDTH).unwrap()).unwrap(), sequence);
}

#[test]
fn the_supporting_words_gate_the_protagonists_and_are_read_after_them() {
    let (both, longer) = (post(3, 2, 0.0), post(9, 0, 0.2));
    let sequence = batch(&[&both, &longer]).sequence(WIDTH).unwrap();
    let found = to_rows(&sequence.get(0)).unwrap();
    let supporting: Vec<Vec<f32>> =
        to_rows(both.supporting.as_ref().unwrap()).unwrap().iter().map(|word| normalised(word)).collect();
    for (found, word) in found.iter().zip(to_rows(&both.protagonist).unwrap()) {
        let gated: Vec<f32> = normalised(&word)
            .iter()
            .zip(supporting[0].iter().zip(&supporting[1]))
            .map(|(value, (a, b))| value * (1.0 + (a + b) / 2.0))
            .collect();
        assert_near(found, &normalised(&gated), 1e-4);
    }
    assert_near(&found[3..5].concat(), &supporting.concat(), 1e-4);
    assert!(found[5..].concat().iter().all(|&value| value == 0.0), "padding is 0");
}

#[test]
fn the_order_of_words_matters_and_so_does_their_part() {
    let network = network(TextDropout::default());
    let reversed = |x: &Tensor| x.flip([0]);
    let whole = post(5, 3, 0.0);
    let supporting = || whole.supporting.as_ref().map(Tensor::shallow_clone);
    let other =
        |protagonist: Tensor, supporting: Option<Tensor>| WordFeatures { protagonist, supporting, sentence: None };
    let joined = Tensor::cat(&[whole.protagonist.shallow_clone(), supporting().unwrap()], 0);
    let expected = forward(&network, &[&whole]);
    for changed in [
        other(reversed(&whole.protagonist), supporting()),
        other(whole.protagonist.shallow_clone(), supporting().map(|words| reversed(&words))),
        other(joined, None),
    ] {
        let found = forward(&network, &[&changed]);
        for (a, b) in [(&found.polarity, &expected.polarity), (&found.neutral, &expected.neutral)] {
            assert!((a - b).abs().double_value(&[0]) > 1e-4);
        }
    }
}

#[test]
fn a_post_without_words_and_a_batch_without_posts_are_refused() {
    let none = post(0, 2, 0.0);
    let some = post(2, 0, 0.0);
    for posts in [vec![], vec![(&none, 0.0, 0.0)], vec![(&some, 0.0, 0.0), (&none, 0.0, 0.0)]] {
        assert!(matches!(TextBatch::new(&posts, WIDTH, Device::Cpu), Err(ModelError::Input(_))));
    }
    let error = TextBatch::new(&[(&some, 0.0, 0.0)], WIDTH + 1, Device::Cpu).err().unwrap();
    assert!(matches!(error, ModelError::Torch(_)), "{error}");
}

#[test]
fn words_without_pieces_are_read_and_say_nothing_that_is_not_finite() {
    let nothing = WordFeatures { protagonist: words(3, 0.0).zeros_like(), ..post(1, 2, 0.0) };
    let found = forward(&network(TextDropout::default()), &[&nothing]);
    assert!(to_vec(&found.vector).unwrap().iter().all(|value| value.is_finite()));
}

#[test]
fn both_logits_are_linear_in_the_vector_before_and_after_calibration() {
    let mut network = network(TextDropout::default());
    let posts = [post(4, 0, 0.0), post(7, 3, 0.2), post(1, 1, 0.4)];
    let posts: Vec<&WordFeatures> = posts.iter().collect();
    let before = forward(&network, &posts);
    for (scale, shift) in [([1.0, 1.0], [0.0, 0.0]), ([0.5, 2.0], [0.25, -1.0])] {
        network.calibrate(scale, shift).unwrap();
        let found = forward(&network, &posts);
        let rows = to_rows(&found.vector).unwrap();
        assert_eq!(rows, to_rows(&before.vector).unwrap(), "vectors stay as they are");
        let said = |(weight, bias): (Vec<f32>, f32)| -> Vec<f32> {
            rows.iter().map(|row| row.iter().zip(&weight).map(|(a, b)| a * b).sum::<f32>() + bias).collect()
        };
        let logits = [to_vec(&found.polarity).unwrap(), to_vec(&found.neutral).unwrap()];
        assert_near(&said(network.polarity_head().unwrap()), &logits[0], 1e-5);
        assert_near(&said(network.neutral_head().unwrap()), &logits[1], 1e-5);
        let earlier = [to_vec(&before.polarity).unwrap(), to_vec(&before.neutral).unwrap()];
        for (part, (earlier, found)) in earlier.iter().zip(&logits).enumerate() {
            let expected: Vec<f32> = earlier.iter().map(|logit| logit * scale[part] + shift[part]).collect();
            assert_near(found, &expected, 1e-5);
        }
    }
}

#[test]
fn what_is_counted_adds_to_the_polarity_and_no_text_makes_it_outweigh_the_rest() {
    let network = network(TextDropout::default());
    let text = post(3, 0, 0.0);
    let of = |bag: f32, lexicon: f32| {
        let _guard = tch::no_grad_guard();
        let batch = TextBatch::new(&[(&text, bag, lexicon)], WIDTH, Device::Cpu).unwrap();
        let found = network.forward(&batch, false).unwrap();
        (found.polarity.double_value(&[0]), found.neutral.double_value(&[0]), to_vec(&found.vector).unwrap())
    };
    let (alone, neutral, _) = of(0.0, 0.0);
    assert!((of(0.1, 0.0).0 - alone - 0.07).abs() < 1e-4);
    assert!((of(0.0, -0.5).0 - alone - 0.2).abs() < 1e-5);
    for bag in [1e4, f32::MAX, f32::INFINITY] {
        let (polarity, as_before, vector) = of(bag, 1.0);
        assert!((polarity - alone - (0.7 * 4.0 - 0.4)).abs() < 1e-4, "{polarity} {alone}");
        assert_eq!((as_before, vector[18], vector[19]), (neutral, 1.0, 1.0));
    }
}

#[test]
fn the_parts_are_what_was_read_and_what_the_bag_says() {
    let found = forward(&network(TextDropout::default()), &[&post(3, 0, 0.0), &post(4, 2, 0.2)]);
    let (parts, vector) = (to_rows(&found.parts).unwrap(), to_rows(&found.vector).unwrap());
    for ((parts, vector), polarity) in parts.iter().zip(vector).zip(to_vec(&found.polarity).unwrap()) {
        assert!((parts[1] - 4.0 * 0.7 * vector[18]).abs() < 1e-5);
        assert!((parts[0] + parts[1] - 0.4 * vector[19] - polarity).abs() < 1e-5);
    }
}

#[test]
fn a_bag_is_held_where_the_profile_has_one() {
    let mut network = network(TextDropout::default());
    let (weight, idf) = ([0.5, -0.5, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [1.0; 8]);
    network.set_bag(&weight, &idf, 0.25).unwrap();
    assert_eq!(network.bag().unwrap(), Some(NgramBag::new(weight.to_vec(), idf.to_vec(), 0.25).unwrap()));
    assert!(matches!(network.set_bag(&weight[1..], &idf, 0.0), Err(ModelError::Input(_))));
    let builder = Builder::fresh(5, Device::Cpu);
    let mut without = AttBiGru::new(&builder.scope("text"), &dimensions(0), TextDropout::default()).unwrap();
    assert_eq!(without.bag().unwrap(), None);
    assert!(matches!(without.set_bag(&weight, &idf, 0.0), Err(ModelError::Configuration(_))));
}

#[test]
fn what_is_counted_is_not_moved_by_gradients() {
    let builder = Builder::fresh(5, Device::Cpu);
    AttBiGru::new(&builder.scope("text"), &dimensions(8), TextDropout::default()).unwrap();
    let parameters = builder.finish();
    for name in ["text.counted", "text.bag.weight", "text.bag.idf", "text.bag.bias"] {
        assert!(
            parameters.tensors.contains_key(name) && !parameters.trainable.iter().any(|other| other == name),
            "{name}"
        );
    }
    let shape = |name: &str| parameters.tensors[name].size();
    assert_eq!((shape("text.dense.weight"), shape("text.head.weight")), (vec![18, 32], vec![2, 18]));
}

#[test]
fn words_are_left_out_whole_and_channels_through_a_whole_text() {
    let ones = || Tensor::ones([3, 40, WIDTH], (Kind::Float, Device::Cpu));
    let _guard = tch::no_grad_guard();
    let thinned = |dropout| network(dropout).thin_out(&ones(), true).unwrap();
    let words = to_rows(&thinned(TextDropout { words: 0.5, ..TextDropout::default() })).unwrap();
    // Words that stay keep their size.
    assert!(words.iter().all(|word| word.iter().all(|&value| value == word[0] && [0.0, 1.0].contains(&value))));
    let left = words.iter().filter(|word| word[0] == 1.0).count();
    assert!((20..100).contains(&left), "{left} of 120");
    let channels = thinned(TextDropout { channels: 0.5, ..TextDropout::default() });
    for text in 0..3 {
        let rows = to_rows(&channels.get(text)).unwrap();
        assert!(rows.iter().all(|row| row == &rows[0]));
        assert!(
            rows[0].iter().all(|value| [0.0, 2.0].contains(value)) && rows[0].contains(&0.0) && rows[0].contains(&2.0)
        );
    }
}

#[test]
fn dropout_acts_in_training_alone() {
    let heavy = network(TextDropout { words: 0.3, channels: 0.3, pooled: 0.5 });
    let post = post(12, 3, 0.0);
    let vector = |network: &AttBiGru, train| {
        let _guard = tch::no_grad_guard();
        to_vec(&network.forward(&batch(&[&post]), train).unwrap().vector).unwrap()
    };
    let expected = vector(&network(TextDropout::default()), false);
    assert_eq!(vector(&heavy, false), expected);
    assert_eq!(vector(&network(TextDropout::default()), true), expected);
    assert_ne!(vector(&heavy, true), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_post_alone_is_the_post_in_a_batch(
        sizes in prop::collection::vec((1_i64..40, prop_oneof![Just(0_i64), 1_i64..12]), 1..6),
    ) {
        let network = network(TextDropout::default());
        let posts: Vec<WordFeatures> =
            sizes.iter().enumerate().map(|(at, &(first, second))| post(first, second, 0.1 * at as f64)).collect();
        let whole = batch(&posts.iter().collect::<Vec<_>>());
        let _guard = tch::no_grad_guard();
        let together = network.forward(&whole, false).unwrap();
        let rows = |x: &Tensor| to_rows(&x.view([posts.len() as i64, -1])).unwrap();
        let lengths = whole.lengths.clone();
        for (at, of_post) in posts.iter().enumerate() {
            let alone = TextBatch::new(&[(of_post, at as f32 - 1.5, 0.2 * at as f32)], WIDTH, Device::Cpu).unwrap();
            let alone = network.forward(&alone, false).unwrap();
            let (there, here) = (rows(&together.attention)[at].clone(), to_vec(&alone.attention).unwrap());
            let (of_words, beyond) = there.split_at(lengths[at] as usize);
            assert_near(of_words, &here, 1e-5);
            prop_assert!((of_words.iter().sum::<f32>() - 1.0).abs() < 1e-5 && beyond.iter().all(|&weight| weight == 0.0));
            for (there, here) in [
                (&together.vector, &alone.vector),
                (&together.polarity, &alone.polarity),
                (&together.neutral, &alone.neutral),
                (&together.parts, &alone.parts),
            ] {
                assert_near(&rows(there)[at], &to_vec(here).unwrap(), 1e-5);
            }
        }
    }
}
