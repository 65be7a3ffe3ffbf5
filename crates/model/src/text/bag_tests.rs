use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::text::input::tests::post;

/// `tests/fixtures/ngram_bag.py` wrote it.
#[derive(Deserialize)]
struct Reference {
    buckets: usize,
    evidence: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    parts: Vec<Vec<String>>,
    logits: [f32; 2],
    per_word: Vec<f32>,
}

/// The tables of `tests/fixtures/ngram_bag.py`: no bucket that 7 divides was ever seen.
fn bag(buckets: usize) -> NgramBag {
    let weight = (0..buckets).map(|i| (i as f64 * 0.7).sin() as f32).collect();
    let idf = (0..buckets).map(|i| if i % 7 == 0 { 0.0 } else { 1.0 + (i % 5) as f32 }).collect();
    NgramBag::new(weight, idf, 0.25).unwrap()
}

#[test]
fn evidence_is_that_of_the_written_down_reference() {
    let reference: Reference = serde_json::from_str(include_str!("../../tests/fixtures/ngram_bag.json")).unwrap();
    let bag = bag(reference.buckets);
    assert!(reference.evidence.len() >= 4);
    for case in reference.evidence {
        let input = post(&case.parts);
        let found = bag.evidence(&input);
        assert_eq!((found.per_word.len(), input.word_count()), (case.per_word.len(), case.per_word.len()));
        let pairs = found.logits.iter().zip(&case.logits).chain(found.per_word.iter().zip(&case.per_word));
        for (a, b) in pairs {
            assert!((a - b).abs() < 1e-4, "{found:?} for {:?} {:?}", case.logits, case.per_word);
        }
    }
}

#[test]
fn words_of_the_supporting_part_are_credited_and_marks_are_not() {
    let evidence = bag(997).evidence(&post(&[vec!["not", ",", "good"], vec!["sorry", "."]]));
    assert!([0, 2, 3].iter().all(|&word| evidence.per_word[word] > 0.0), "{evidence:?}");
    assert!([1, 4].iter().all(|&mark| evidence.per_word[mark] == 0.0), "{evidence:?}");
}

#[test]
fn values_have_length_one_and_unseen_ngrams_do_not_dilute_them() {
    let text = post(&[vec!["the", "sea", "the", "sea", "and", "the", "sky"]]);
    let mut square = 0.0;
    for_each_feature(&text.ngrams.words, &[1.0; 64], |_, value, _| square += value * value);
    assert!((square - 1.0).abs() < 1e-5);
    let mut known = vec![0.0; 64];
    known[text.ngrams.words[0].hash as usize % 64] = 3.0;
    let mut found = Vec::new();
    for_each_feature(&text.ngrams.words[..1], &known, |bucket, value, _| found.push((bucket, value)));
    assert_eq!(found, [(text.ngrams.words[0].hash as usize % 64, 1.0)]);
    for_each_feature(&text.ngrams.words, &[0.0; 64], |_, _, _| panic!("nothing was ever seen"));
}

#[test]
fn buckets_are_those_of_words_and_pieces_each_once() {
    let text = post(&[vec!["sea", "sea"], vec!["sea"]]);
    let found = buckets(&text.ngrams, 1 << 18);
    // `sea`, `sea sea`, and ten pieces of ` sea `.
    assert_eq!(found.len(), 2 + 10);
    assert!(found.is_sorted_by(|a, b| a < b));
    assert_eq!(buckets(&text.ngrams, 1), [0]);
}

#[test]
fn tables_that_do_not_fit_are_refused() {
    assert!(NgramBag::new(vec![0.0; 3], vec![0.0; 4], 0.0).is_err());
    assert!(NgramBag::new(vec![f32::NAN], vec![0.0], 0.0).is_err());
    assert!(NgramBag::new(Vec::new(), Vec::new(), 0.0).is_err());
    assert!(NgramBag::new(vec![0.0], vec![0.0], f32::INFINITY).is_err());
}

proptest! {
    /// Whatever the words: the logit is that of the evidence, and every word of either part has its place.
    #[test]
    fn the_logit_is_the_sum_of_what_words_and_pieces_say(
        first in prop::collection::vec("[a-zé😀]{1,9}|[!,.]{1,3}", 1..60),
        second in prop::collection::vec("[a-z]{1,9}|[!,.]{1,3}", 0..20),
    ) {
        let input = post(&[first, second]);
        let evidence = bag(97).evidence(&input);
        prop_assert_eq!(evidence.per_word.len(), input.word_count());
        prop_assert!(evidence.per_word.iter().all(|credit| credit.is_finite() && *credit >= 0.0));
        // Unit features and weights of at most 1 bound a logit by the root of their number.
        prop_assert!(evidence.logits.iter().all(|logit| logit.is_finite() && logit.abs() < 60.0));
        let logit = bag(97).logit(&input.ngrams);
        prop_assert!((logit - evidence.logits.iter().sum::<f32>()).abs() < 1e-5, "{} {:?}", logit, evidence.logits);
    }
}
