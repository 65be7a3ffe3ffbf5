use super::*;
use proptest::prelude::*;
use serde_json::Value;

const PRUNED: &[u8] = include_bytes!("../../tests/fixtures/toy_pruned.ftz");
const WHOLE: &[u8] = include_bytes!("../../tests/fixtures/toy_whole.ftz");

/// (text, what fastText says of it with the toy)
fn toy_cases(toy: &str) -> Vec<(String, String, f32)> {
    let cases: Value = serde_json::from_str(include_str!("../../tests/fixtures/toy.json")).unwrap();
    let cases = cases.as_array().unwrap().iter().map(|case| {
        let text = case["text"].as_str().unwrap().to_owned();
        (text, case[toy][0].as_str().unwrap().to_owned(), case[toy][1].as_f64().unwrap() as f32)
    });
    cases.collect()
}

#[test]
fn toy_models_say_what_fasttext_says_with_them() {
    for (name, bytes) in [("pruned", PRUNED), ("whole", WHOLE)] {
        let model = Languages::from_bytes(bytes).unwrap();
        assert_eq!(model.languages().collect::<Vec<_>>(), ["en", "de", "es"]);
        for (text, language, probability) in toy_cases(name) {
            let found = model.identify(&text);
            assert_eq!(found.language, language, "{name}, {text:?}");
            assert!((found.probability - probability).abs() < 1e-4, "{name}, {text:?}: {found:?}, {probability}");
        }
    }
}

#[test]
fn capitals_newlines_and_the_mark_of_the_end_change_nothing() {
    let model = Languages::from_bytes(PRUNED).unwrap();
    let plain = model.identify("der die und el gobierno");
    for text in
        ["DER DIE UND EL GOBIERNO", "der\ndie\r\nund\tel\u{0}gobierno\n", "</s> der die </s> und el gobierno </S>"]
    {
        assert_eq!(model.identify(text), plain, "{text:?}");
    }
}

#[test]
fn a_text_without_anything_known_says_so() {
    let model = Languages::from_bytes(PRUNED).unwrap();
    for text in ["", " \n", "__label__de", "</s>"] {
        assert_eq!(model.identify(text).known, 0, "{text:?}");
    }
    assert!(model.identify("the").known > 0);
}

#[test]
fn what_comes_after_the_limit_does_not_count() {
    let model = Languages::from_bytes(WHOLE).unwrap();
    let text = "und ".repeat(MAX_CHARACTERS / 4);
    assert_eq!(model.identify(&format!("{text}{}", "the ".repeat(10_000))), model.identify(&text));
}

#[test]
fn other_files_are_refused_by_what_they_are() {
    assert_eq!(Languages::from_bytes(b"").unwrap_err(), LanguageError::NotAModel);
    assert_eq!(Languages::from_bytes(&[7; 4_000]).unwrap_err(), LanguageError::NotAModel);
    for (at, value) in [(8 + 4 * 5, 2), (8 + 4 * 6, 3), (8 + 4 * 7, 1)] {
        let mut other = PRUNED.to_vec();
        other[at] = value;
        assert!(matches!(Languages::from_bytes(&other), Err(LanguageError::Unsupported(_))), "{at}");
    }
}

#[test]
fn a_model_cut_anywhere_is_refused() {
    for bytes in [PRUNED, WHOLE] {
        for end in 0..bytes.len() {
            assert!(Languages::from_bytes(&bytes[..end]).is_err(), "{end}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_gets_a_probability(text in "\\PC{0,120}") {
        let model = Languages::from_bytes(PRUNED).unwrap();
        let found = model.identify(&text);
        prop_assert!((0.0..=1.0).contains(&found.probability));
        prop_assert!(["en", "de", "es"].contains(&found.language));
    }
}
