use proptest::prelude::*;

use super::*;

/// A word as it stands; a mark where it has no letter, digit or emoji.
pub(crate) fn word(text: &str) -> Word {
    Word {
        text: text.to_lowercase(),
        is_mark: text.chars().all(|c| c.is_ascii_punctuation()),
        is_shouted: text.len() > 1 && text.chars().all(|c| c.is_ascii_uppercase()),
    }
}

/// The post of these words, those of the protagonist first; with n-grams, without pieces.
pub(crate) fn post<W: AsRef<str>>(parts: &[Vec<W>]) -> TextInput {
    let mut texts = parts.iter().filter(|part| !part.is_empty()).map(|part| ReadText {
        words: part.iter().map(|text| word(text.as_ref())).collect(),
        pieces: Pieces::default(),
    });
    let protagonist = texts.next().unwrap();
    TextInput::new(protagonist, texts.next(), true)
}

fn of(parts: &[&str]) -> TextInput {
    post(&parts.iter().map(|part| part.split(' ').collect()).collect::<Vec<_>>())
}

#[test]
fn words_are_numbered_through_the_protagonist_and_then_the_supporting_part() {
    let whole = of(&["it was not a good day .", "so , so"]);
    let words: Vec<&str> = whole.words().map(|word| word.text.as_str()).collect();
    assert_eq!(words, ["it", "was", "not", "a", "good", "day", ".", "so", ",", "so"]);
    assert_eq!(whole.word_count(), 10);
    assert_eq!(whole.without_words(&[2, 4, 7, 99]).unwrap(), of(&["it was a day .", ", so"]));
}

#[test]
fn a_post_without_some_words_keeps_its_roles() {
    let whole = of(&["it was not a good day", "so so"]);
    // Shorter than its caption, it stays the protagonist.
    assert_eq!(whole.without_words(&[0, 1, 2, 3, 4]).unwrap(), of(&["day", "so so"]));
    assert_eq!(whole.without_words(&[0, 1, 2, 3, 4, 5]), None);
    assert_eq!(whole.without_words(&[6, 7]).unwrap(), of(&["it was not a good day"]));
    assert_eq!(whole.without_words(&[]).unwrap(), whole);
}

#[test]
fn a_text_of_which_only_marks_are_left_is_none() {
    let whole = of(&["good . day !", "so ?"]);
    assert_eq!(whole.without_words(&[0, 2]), None);
    assert_eq!(whole.without_words(&[4]).unwrap().supporting, None);
}

#[test]
fn language_and_truncation_stay_where_words_are_struck_out() {
    let language = Some(Language { code: "en".to_owned(), probability: 0.9 });
    let whole = TextInput { language: language.clone(), is_truncated: true, ..of(&["a good day"]) };
    let struck = whole.without_words(&[1]).unwrap();
    assert_eq!((struck.language, struck.is_truncated), (language, true));
}

#[test]
fn the_lexicon_is_asked_again_about_the_words_that_are_left() {
    let whole = of(&["this is not good at the table", "bad"]);
    assert!(whole.lexicon < -0.5, "{}", whole.lexicon);
    assert!(whole.without_words(&[2, 7]).unwrap().lexicon > 0.3);
    assert_eq!(whole.without_words(&[3, 7]).unwrap().lexicon, 0.0);
}

#[test]
fn the_lexicon_hears_marks_and_capitals() {
    let [plain, loud, shouted] =
        ["the day was good", "the day was good !!", "the day was GOOD"].map(|text| of(&[text]).lexicon);
    assert!(0.0 < plain && plain < loud && plain < shouted, "{plain} {loud} {shouted}");
}

proptest! {
    #[test]
    fn a_post_without_some_words_is_the_post_that_never_had_them(
        parts in prop::collection::vec(prop::collection::vec(("[a-z]{1,5}|[!,.]{1,2}", any::<bool>()), 1..20), 1..3),
    ) {
        let words = |part: &Vec<(String, bool)>| part.iter().map(|(word, _)| word.clone()).collect::<Vec<_>>();
        let kept = |part: &Vec<(String, bool)>| {
            let kept: Vec<String> = part.iter().filter(|(_, stays)| *stays).map(|(word, _)| word.clone()).collect();
            let has_word = kept.iter().any(|text| !word(text).is_mark);
            if has_word { kept } else { Vec::new() }
        };
        let whole = post(&parts.iter().map(words).collect::<Vec<_>>());
        let struck: Vec<usize> =
            parts.iter().flatten().enumerate().filter(|(_, (_, stays))| !stays).map(|(at, _)| at).collect();
        let kept: Vec<Vec<String>> = parts.iter().map(kept).collect();
        // Marks alone have no n-grams, by which a profile with a bag is known; no such post is ever read.
        prop_assume!(parts[0].iter().any(|(text, _)| !word(text).is_mark));
        let expected = (!kept[0].is_empty()).then(|| post(&kept));
        prop_assert_eq!(whole.without_words(&struck), expected);
    }
}
