use std::collections::HashSet;

use jtav_schemas::TextPart;

use super::*;
use crate::zoo::WordVectors;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn cosine(table: &WordTable, a: &str, b: &str) -> f32 {
    let (a, b) = (table.vector(a).unwrap(), table.vector(b).unwrap());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

/// Sentences in which `cat` and `dog`, and `oven` and `pan`, stand among the same words.
fn toy_texts() -> Vec<Vec<String>> {
    let mut texts = Vec::new();
    for (animal, tool) in [("cat", "oven"), ("dog", "pan"), ("cat", "pan"), ("dog", "oven")] {
        for place in ["garden", "street", "yard", "park"] {
            texts.push(words(&format!("my {animal} runs and sleeps in our {place} all day")));
            texts.push(words(&format!("put the {tool} hot on fire with oil for {place} bread")));
        }
    }
    texts.iter().cycle().take(12 * texts.len()).cloned().collect()
}

fn table_of(lines: &str) -> WordTable {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.vec");
    std::fs::write(&path, lines).unwrap();
    WordTable::open(&path, &folder.path().join("cache")).unwrap()
}

/// `a` to `j` at 1 to 10, one value each.
fn letters() -> WordTable {
    let rows: String = ('a'..='j').zip(1..).map(|(letter, value)| format!("{letter} {value}\n")).collect();
    table_of(&format!("10 1\n{rows}"))
}

fn part(role: &str, text: &str) -> TextPart {
    TextPart { role: role.to_owned(), text: text.to_owned() }
}

/// What a post with these words should be read as.
fn vectors(protagonist: &[f32], supporting: &[f32], lines: &[usize]) -> WordVectors {
    let vectors = WordVectors::new(1, protagonist).unwrap().with_lines(lines).unwrap();
    vectors.with_supporting(supporting).unwrap()
}

#[test]
fn words_of_equal_contexts_lie_nearer_than_others() {
    let table = WordTable::train(&toy_texts(), 20, 1).unwrap();
    for (a, b, other) in [("cat", "dog", "oven"), ("dog", "cat", "pan"), ("oven", "pan", "cat"), ("pan", "oven", "dog")]
    {
        let (near, far) = (cosine(&table, a, b), cosine(&table, a, other));
        assert!(near > far + 0.1, "{a}-{b} {near}, {a}-{other} {far}");
    }
}

#[test]
fn equal_seeds_give_equal_vectors_and_unknown_words_have_one() {
    let train = |seed| WordTable::train(&toy_texts(), 8, seed).unwrap();
    let (a, b, other) = (train(1), train(1), train(2));
    for word in ["cat", "garden", "catgarden", "überall", "😀"] {
        assert_eq!(a.vector(word), b.vector(word));
        assert_ne!(a.vector(word), other.vector(word));
        assert_eq!(a.vector(word).unwrap().len(), 8);
    }
    assert!(cosine(&a, "gardens", "garden") > cosine(&a, "gardens", "oil"), "they share most n-grams");
    assert!(a.describe().contains("seed 1") && a.describe().contains("8 values"), "{}", a.describe());
}

#[test]
fn saved_vectors_are_the_trained_ones() {
    let table = WordTable::train(&toy_texts(), 8, 1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new folder").join("texts.fifu");
    table.save(&path).unwrap();
    let opened = WordTable::open(&path, folder.path()).unwrap();
    for word in ["cat", "catgarden", "😀"] {
        assert_eq!(opened.vector(word), table.vector(word));
    }
    assert!(opened.describe().starts_with("texts.fifu (8 values"));
}

#[test]
fn texts_that_teach_nothing_are_refused() {
    let refused = |texts: &[Vec<String>], dimension| WordTable::train(texts, dimension, 1).unwrap_err().to_string();
    assert!(refused(&[], 8).contains("0 of 0 words"));
    assert!(refused(&[words("one two three")], 8).contains("0 of 3 words"));
    assert!(refused(&[words("one one two")], 8).contains("1 of 2 words"));
    assert!(refused(&toy_texts(), 0).contains("use 1 to"));
    assert!(refused(&toy_texts(), 1_000_000).contains("use 1 to"));
}

#[test]
fn captions_are_cleaned_to_five_known_words() {
    let captions = [words("so happy today with my dog"), words("so happy today with my friends"), words("rare")];
    let vocabulary = CaptionVocabulary::of(captions.iter().map(Vec::as_slice));
    assert_eq!(vocabulary.clean(&words("today rare my new dog is so so happy with me")), words("today my so so happy"));
    assert_eq!(vocabulary.clean(&words("rare dog")), words("rare dog"), "none is known");
    assert_eq!(vocabulary.clean(&words("1 2 3 4 5 6")), words("1 2 3 4 5"));
    assert!(vocabulary.clean(&[]).is_empty());
}

#[test]
fn the_longest_part_is_the_protagonist_and_keeps_its_lines() {
    let (table, captions) = (letters(), CaptionVocabulary::default());
    let reader = TextReader::new(&table, &captions);
    let read = reader.read(&[part("caption", "a b"), part("lyrics", "c d\r\n\n...\n e\n"), part("tag", "f")]);
    assert_eq!(read, Some(vectors(&[3.0, 4.0, 5.0], &[1.0, 2.0, 6.0], &[2, 1])));
    let tie = reader.read(&[part("x", "a b"), part("y", "c d")]);
    assert_eq!(tie, Some(vectors(&[1.0, 2.0], &[3.0, 4.0], &[2])));
    assert_eq!(reader.read(&[part("caption", "e")]), Some(vectors(&[5.0], &[], &[1])));
}

#[test]
fn lyrics_are_cut_at_one_hundred_words_and_captions_at_five() {
    let (table, captions) = (letters(), CaptionVocabulary::default());
    let reader = TextReader::new(&table, &captions);
    let lyrics = "a b c d e f g h\n".repeat(20);
    let read = reader.read(&[part("lyrics", &lyrics), part("caption", "a b c d e f g")]).unwrap();
    let expected: Vec<f32> = (0..100).map(|at| (at % 8 + 1) as f32).collect();
    let lines: Vec<usize> = [vec![8; 12], vec![4]].concat();
    assert_eq!(read, vectors(&expected, &[1.0, 2.0, 3.0, 4.0, 5.0], &lines));
}

#[test]
fn words_without_a_vector_are_zeros_and_counted() {
    let (table, captions) = (letters(), CaptionVocabulary::default());
    let reader = TextReader::new(&table, &captions);
    let read = reader.read(&[part("body", "a never b"), part("caption", "nowhere c")]);
    assert_eq!(read, Some(vectors(&[1.0, 0.0, 2.0], &[0.0, 3.0], &[3])));
    assert_eq!(reader.out_of_vocabulary(), (2, 5));
}

#[test]
fn a_post_without_a_word_is_not_read() {
    let (table, captions) = (letters(), CaptionVocabulary::default());
    let reader = TextReader::new(&table, &captions);
    assert_eq!(reader.read(&[]), None);
    assert_eq!(reader.read(&[part("body", "... https://example.com"), part("caption", "")]), None);
    assert_eq!(reader.out_of_vocabulary(), (0, 0));
}

#[test]
fn every_word_of_the_tokenizer_has_a_vector_when_n_grams_are_known() {
    let table = WordTable::train(&toy_texts(), 4, 1).unwrap();
    let text = "I :) 😀 ❤️ don't #BestDay 10000 ß 日本 e\u{301}";
    let known: HashSet<String> = jtav_model::Tokenizer::new().words(text).into_iter().collect();
    assert!(known.len() >= 10 && known.iter().all(|word| table.vector(word).is_some()));
}
