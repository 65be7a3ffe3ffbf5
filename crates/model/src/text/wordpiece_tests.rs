use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::bases::{Base, Bases};

/// `tests/fixtures/minilm.py` wrote it.
#[derive(Deserialize)]
struct Reference {
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    words: Vec<String>,
    ids: Vec<u32>,
    places: Vec<Option<usize>>,
}

fn reference() -> Vec<Sentence> {
    serde_json::from_str::<Reference>(include_str!("../../tests/fixtures/minilm.json")).unwrap().sentences
}

/// Set-up puts it there; its absence is no reason to skip a test.
fn word_pieces() -> &'static WordPieces {
    static PIECES: std::sync::OnceLock<WordPieces> = std::sync::OnceLock::new();
    PIECES.get_or_init(|| {
        WordPieces::open(&Bases::new(None, None), &Base::minilm_tokenizer()).unwrap_or_else(|error| panic!("{error}"))
    })
}

#[test]
fn pieces_and_their_words_are_those_of_an_independent_reading_of_berts_rules() {
    for sentence in reference() {
        let pieces = word_pieces().pieces(&sentence.words).unwrap();
        assert_eq!(pieces.ids(), sentence.ids, "{:?}", sentence.words);
        assert_eq!(pieces.words().collect::<Vec<_>>(), sentence.places, "{:?}", sentence.words);
        assert_eq!(pieces.is_cut(), sentence.words.len() > 300, "{:?}", sentence.words);
    }
}

#[test]
fn a_text_that_holds_a_special_token_means_its_characters() {
    for sign in ["[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]"] {
        let pieces = word_pieces().pieces(&[sign]).unwrap();
        let inside = &pieces.ids()[1..pieces.len() - 1];
        assert!(
            inside.len() >= 3 && inside.iter().all(|id| ![0, 100, 101, 102, 103].contains(id)),
            "{sign}: {inside:?}"
        );
    }
}

#[test]
fn the_pieces_are_the_rows_of_the_table() {
    assert_eq!(word_pieces().largest_id(), 30_521);
}

#[test]
fn a_text_without_words_has_the_two_pieces_that_enclose_it() {
    for words in [vec![], vec![""], vec!["\u{301}"], vec!["\u{0}", "\u{200b}"]] {
        let pieces = word_pieces().pieces(&words).unwrap();
        assert_eq!((pieces.ids(), pieces.is_cut()), (&[101, 102][..], false), "{words:?}");
    }
}

#[test]
fn of_a_word_without_end_the_first_characters_are_read() {
    for unit in ["x", "字", "a\u{301}", "\u{301}", "!", "😀", " a"] {
        let word = unit.repeat(1 << 20);
        let bounded: String = word.chars().take(MAX_WORD_CHARS).collect();
        let started = std::time::Instant::now();
        let pieces = word_pieces().pieces(&[&word]).unwrap();
        assert!(started.elapsed().as_secs() < 2, "{unit}: {:?}", started.elapsed());
        assert_eq!(pieces, word_pieces().pieces(&[bounded]).unwrap(), "{unit}");
    }
}

#[test]
fn of_a_text_without_end_the_first_characters_are_read() {
    for word in ["", "\u{301}", &format!("{}\u{1F600}", "zq".repeat(49))] {
        let words = vec![word; 1 << 20];
        let started = std::time::Instant::now();
        let pieces = word_pieces().pieces(&words).unwrap();
        assert!(started.elapsed().as_secs() < 2, "{word:?}: {:?}", started.elapsed());
        assert!(pieces.is_cut() && pieces.len() < 50, "{word:?}: {} pieces", pieces.len());
    }
}

#[test]
fn a_file_of_another_model_is_refused_by_name() {
    let vocab = r#""vocab":{"[CLS]":1,"[SEP]":2,"[UNK]":0}"#;
    let model = |rest: &str| format!(r#"{{"version":"1.0","model":{{"type":"WordPiece",{rest}}}}}"#);
    for (file, why) in [
        (String::new(), "EOF"),
        ("[]".to_owned(), "not WordPiece"),
        ("{}".to_owned(), "not WordPiece"),
        (r#"{"model":{"type":"BPE"}}"#.to_owned(), "not WordPiece"),
        (model(r#""vocab":{}"#), "`[CLS]`"),
        (model(vocab), "the vocabulary lacks ``"),
        (model(&format!(r#"{vocab},"unk_token":"[UNK]","max_input_chars_per_word":4000000"#)), "100 characters"),
    ] {
        let Err(error) = WordPieces::from_json(file.as_bytes(), "some.json".as_ref()) else { panic!("{file}") };
        assert!(error.to_string().contains(why) && error.to_string().contains("some.json"), "{file}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_gives_too_many_pieces_or_one_that_is_not_in_the_table(words in prop::collection::vec(any::<String>(), 0..400)) {
        let pieces = word_pieces().pieces(&words).unwrap();
        prop_assert!((2..=MAX_PIECES).contains(&pieces.len()));
        prop_assert!(pieces.ids().iter().all(|&id| id < 30_522));
        let places: Vec<usize> = pieces.words().flatten().collect();
        prop_assert_eq!(places.len() + 2, pieces.len());
        prop_assert!(places.is_sorted() && places.iter().all(|&place| place < words.len()));
        let chars: usize = words.iter().map(|word| word.chars().count().max(1)).sum();
        prop_assert!(!pieces.is_cut() || pieces.len() == MAX_PIECES || chars > MAX_TEXT_CHARS);
    }

    #[test]
    fn no_word_changes_its_neighbours_pieces(
        first in prop::collection::vec("\\PC{0,12}", 0..20),
        second in prop::collection::vec("\\PC{0,12}", 0..20),
    ) {
        let inside = |words: &[String]| {
            let pieces = word_pieces().pieces(words).unwrap();
            let ids = pieces.ids()[1..pieces.len() - 1].to_vec();
            (ids, pieces.is_cut())
        };
        let both = inside(&[first.clone(), second.clone()].concat());
        let apart = [inside(&first).0, inside(&second).0].concat();
        prop_assert_eq!(&both.0[..], &apart[..both.0.len()]);
        prop_assert!(both.1 || both.0.len() == apart.len());
    }
}
