use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;
use crate::bases::{Base, Bases};
use crate::text::input::MAX_SUPPORTING_WORDS;
use crate::text::input::tests::word;
use crate::text::{MAX_PIECES, Ngrams};

/// Set-up puts the bases there; their absence is no reason to skip a test.
fn front_end() -> &'static TextFrontEnd {
    static FRONT_END: OnceLock<TextFrontEnd> = OnceLock::new();
    FRONT_END.get_or_init(|| {
        let bases = Bases::new(None, None);
        let languages = bases.read(&Base::language_identification()).unwrap_or_else(|error| panic!("{error}"));
        TextFrontEnd {
            pieces: Some(WordPieces::open(&bases, &Base::minilm_tokenizer()).unwrap()),
            languages: Some(Languages::from_bytes(&languages).unwrap()),
            ..TextFrontEnd::new(true)
        }
    })
}

fn input(parts: &[(&str, &str)]) -> Option<TextInput> {
    front_end().input(parts).unwrap()
}

fn texts(words: &ReadText) -> Vec<&str> {
    words.words.iter().map(|word| word.text.as_str()).collect()
}

#[test]
fn the_longest_part_is_the_protagonist_whatever_its_role() {
    let both = input(&[("body", "short"), ("caption", "this one is longer")]).unwrap();
    assert_eq!(texts(&both.protagonist), ["this", "one", "is", "longer"]);
    assert_eq!(texts(both.supporting.as_ref().unwrap()), ["short"]);
}

#[test]
fn equal_lengths_go_to_the_part_declared_first() {
    let both = input(&[("a", "first part"), ("b", "second part"), ("c", "x")]).unwrap();
    assert_eq!(texts(&both.protagonist), ["first", "part"]);
    assert_eq!(texts(both.supporting.as_ref().unwrap()), ["second", "part", "x"]);
}

#[test]
fn it_is_told_where_words_are_left_out() {
    for (body, caption, expected) in
        [(160, 40, false), (161, 0, true), (160, 41, true), (40, 40, false), (41, 41, true), (200, 161, true)]
    {
        let parts = [("body", "word ".repeat(body)), ("caption", "word ".repeat(caption))];
        let input = front_end().input(&parts).unwrap().unwrap();
        assert_eq!(input.is_truncated, expected, "{body} and {caption} words");
        let counts = [input.protagonist.words.len(), input.supporting.as_ref().map_or(0, |text| text.words.len())];
        assert_eq!(counts, [body.min(160), caption.min(40)]);
        assert_eq!(input.word_count(), counts[0] + counts[1]);
        let enclosing = if caption > 0 { 4 } else { 2 };
        assert_eq!(input.piece_count(), input.word_count() + enclosing);
    }
}

#[test]
fn so_too_where_words_have_more_pieces_than_are_read() {
    let long = |count: usize| "antidisestablishmentarianism ".repeat(count);
    let [few, many, beside] = [
        vec![("body", long(20))],
        vec![("body", long(100))],
        // Of the forty words of the supporting part not all are read, while the protagonist's are.
        vec![("body", "word ".repeat(90)), ("caption", "pneumonoultramicroscopicsilicovolcanocon ".repeat(40))],
    ]
    .map(|parts| front_end().input(&parts).unwrap().unwrap());
    assert!(!few.is_truncated && many.is_truncated && beside.is_truncated);
    assert_eq!((many.protagonist.words.len(), many.protagonist.pieces.len()), (100, MAX_PIECES));
    assert_eq!(beside.supporting.unwrap().pieces.len(), MAX_PIECES);
}

#[test]
fn a_post_without_a_word_has_no_text() {
    assert_eq!(input(&[]), None);
    assert_eq!(input(&[("body", "https://example.com @somebody ..."), ("caption", "  ")]), None);
    assert_eq!(input(&[("body", "!!! ?! :"), ("caption", "@a @b")]), None);
    assert_eq!(input(&[("body", ""), ("caption", "hi")]).unwrap().supporting, None);
    // Marks are read beside words and not where they stand alone.
    let marks = input(&[("body", "..."), ("caption", "hi!")]).unwrap();
    assert_eq!((texts(&marks.protagonist), marks.supporting), (vec!["hi", "!"], None));
}

#[test]
fn a_post_of_emoji_has_words_and_no_language() {
    for text in ["😀", "❤️❤️ 🎉", "👨‍👩‍👧 👋🏽", ":) XD <3", "🎉 https://example.com/a-day-at-the-sea @some_body"]
    {
        let input = input(&[("body", text)]).unwrap();
        assert!(input.word_count() >= 1, "{text}");
        assert_eq!(input.language, Some(Language { code: NO_LANGUAGE.to_owned(), probability: 1.0 }), "{text}");
    }
    let numbers = input(&[("body", "2026 10,000")]).unwrap();
    assert_eq!(numbers.language.unwrap().code, NO_LANGUAGE);
    // One word is enough, wherever it stands.
    for parts in [[("body", "😀 😀 😀 nice"), ("caption", "")], [("body", "😀 😀 😀"), ("caption", "#nice")]]
    {
        assert_ne!(input(&parts).unwrap().language.unwrap().code, NO_LANGUAGE, "{parts:?}");
    }
}

#[test]
fn the_language_is_that_of_the_texts_as_they_were_written() {
    for (text, code) in [
        ("We went to the sea and nobody wanted to leave 😀", "en"),
        ("Wir waren am Meer und niemand wollte nach Hause, so schön war der Tag", "de"),
        ("今日は海に行きました。とても楽しかったです。", "ja"),
        ("Nous sommes allés à la mer et personne ne voulait partir", "fr"),
    ] {
        let language = input(&[("body", text)]).unwrap().language.unwrap();
        assert_eq!(language.code, code, "{text}");
        assert!((0.5..=1.001).contains(&language.probability), "{text}: {}", language.probability);
        // In whichever part it stands.
        let beside = input(&[("title", ""), ("caption", "🎉"), ("body", text)]).unwrap().language.unwrap();
        assert_eq!(beside.code, code, "{text}");
    }
    let without = TextFrontEnd::of_ngrams().input(&[("body", "We went to the sea")]).unwrap().unwrap();
    assert_eq!(without.language, None);
}

#[test]
fn capitals_and_marks_are_noted() {
    let input = input(&[("body", "This was NOT good!!")]).unwrap();
    let words: Vec<(&str, bool, bool)> =
        input.words().map(|word| (word.text.as_str(), word.is_mark, word.is_shouted)).collect();
    let expected = [
        ("this", false, false),
        ("was", false, false),
        ("not", false, true),
        ("good", false, false),
        ("!!", true, false),
    ];
    assert_eq!(words, expected);
    assert!(input.lexicon < 0.0, "{}", input.lexicon);
}

#[test]
fn how_a_word_is_spelled_in_bytes_does_not_matter() {
    let [plain, hidden] =
        ["this is so good", "th\u{200B}is is sooooo ｇｏｏｄ"].map(|text| input(&[("body", text)]).unwrap());
    assert_eq!(plain.protagonist, hidden.protagonist);
    assert_eq!((plain.ngrams, plain.lexicon), (hidden.ngrams, hidden.lexicon));
}

#[test]
fn a_front_end_reads_what_its_network_asks_for() {
    let parts = [("body", "the sea was calm")];
    let stand_in = TextFrontEnd::without_pieces().input(&parts).unwrap().unwrap();
    assert_eq!((stand_in.word_count(), stand_in.piece_count()), (4, 0));
    assert_eq!(stand_in.ngrams, Ngrams::default());
    let counted = TextFrontEnd::of_ngrams().input(&parts).unwrap().unwrap();
    assert_eq!((counted.piece_count(), counted.ngrams.words.len()), (0, 4 + 3));
    let whole = input(&parts).unwrap();
    assert_eq!((whole.piece_count(), &whole.ngrams), (6, &counted.ngrams));
}

#[test]
fn a_long_post_is_read_in_bounded_time() {
    for shape in [
        "x",
        "字",
        "a\u{301}\u{316}",
        "👨\u{200D}",
        "#ihateyou",
        "http://a.b/ ",
        "zq😀 ",
        "antidisestablishmentarianism ",
    ] {
        let text = shape.repeat((1 << 20) / shape.len());
        let started = std::time::Instant::now();
        let input = input(&[("body", &text), ("caption", &text)]);
        assert!(started.elapsed().as_secs() < 3, "{shape:?}: {:?}", started.elapsed());
        assert!(input.is_none_or(|input| input.is_truncated), "{shape:?}");
    }
}

proptest! {
    #[test]
    fn no_post_makes_it_fail_or_is_read_beyond_the_bounds(texts in prop::collection::vec("\\PC{0,200}|[a-z .!😀]{0,600}", 0..4)) {
        let parts: Vec<(&str, &String)> = texts.iter().map(|text| ("part", text)).collect();
        if let Some(input) = front_end().input(&parts).unwrap() {
            let supporting = input.supporting.as_ref().map_or(0, |text| text.words.len());
            prop_assert!((1..=MAX_PROTAGONIST_WORDS).contains(&input.protagonist.words.len()));
            prop_assert!(supporting <= MAX_SUPPORTING_WORDS);
            prop_assert!(input.protagonist.words.iter().any(|word| !word.is_mark));
            prop_assert!(input.words().all(|word| !word.text.is_empty()));
            prop_assert!(input.piece_count() <= 2 * MAX_PIECES && (-1.0..=1.0).contains(&input.lexicon));
            let words = input.word_count();
            prop_assert!(input.ngrams.words.iter().flat_map(|ngram| ngram.words).all(|at| usize::from(at) < words));
        }
    }

    #[test]
    fn pieces_of_what_stays_are_those_of_a_text_that_never_had_the_words(
        first in prop::collection::vec(("[a-zé😀字]{1,8}|[!,.]", any::<bool>()), 1..24),
        second in prop::collection::vec(("[a-zé]{1,8}|[!,.]", any::<bool>()), 0..12),
    ) {
        let read = |words: Vec<&String>| front_end().read(words.into_iter().map(|text| word(text)).collect()).unwrap();
        let all = |part: &[(String, bool)]| read(part.iter().map(|(word, _)| word).collect());
        let kept = |part: &[(String, bool)]| {
            let text = read(part.iter().filter(|(_, stays)| *stays).map(|(word, _)| word).collect());
            text.words.iter().any(|word| !word.is_mark).then_some(text)
        };
        prop_assume!(first.iter().any(|(text, _)| !word(text).is_mark));
        let supporting = (!second.is_empty()).then(|| all(&second));
        let whole = TextInput::new(all(&first), supporting, true);
        let parts: Vec<&(String, bool)> = first.iter().chain(&second).collect();
        let struck: Vec<usize> = (0..parts.len()).filter(|&at| !parts[at].1).collect();
        let expected = kept(&first).map(|protagonist| TextInput::new(protagonist, kept(&second), true));
        prop_assert_eq!(whole.without_words(&struck), expected);
    }
}
