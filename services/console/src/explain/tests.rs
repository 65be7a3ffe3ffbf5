use jtav_schemas::{Contributions, MoodTag, SentimentV1, TextPart, UncertainBecause};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ink::painted;
use crate::wrap::columns;

fn record() -> SentimentV1 {
    serde_json::from_value(json!({
        "event_id": "e", "post_id": "pp-1", "revision": 2, "label": "positive",
        "probabilities": {"negative": 0.02, "neutral": 0.07, "positive": 0.91}, "valence": 0.89, "probability": 0.97,
        "confidence": 0.91, "threshold": 0.8, "certain": true, "lang": "en",
        "moods": [{"tag": "Q1", "probability": 0.75}],
        "modalities": {"text": "present", "audio": "present", "image": "fetch_denied"},
        "truncated": ["audio"],
        "attention": {
            "words": [{"word": "lovely", "position": 2, "weight": 0.4}, {"word": "sea", "position": 6, "weight": 0.1}],
            "audio_spans": [{"start_seconds": 5.0, "end_seconds": 10.0, "weight": 0.5}],
        },
        "contributions": {"text": 1.5, "audio": -0.5, "image": 0.0, "interaction": 0.5},
        "model_version": "jtav-modern-1", "event_time_ms": 1_764_405_383_000_i64,
        "received_at_ms": 1_764_405_383_100_i64, "labelled_at_ms": 1_764_405_383_200_i64,
    }))
    .unwrap()
}

fn texts(text: &str) -> Texts {
    Texts::Known(vec![TextPart { role: "body".to_owned(), text: text.to_owned() }])
}

fn told(shown: &Shown, width: usize) -> String {
    painted(&lines(shown, width, Ink::Plain), Ink::Plain)
}

#[test]
fn a_post_is_told_as_on_its_page() {
    let mut shown = Shown::of(&record(), texts("what a lovely day at the sea"));
    shown.source = Some((3, 17));
    let text = told(&shown, 80);
    let expected = [
        "Post pp-1",
        "+ positive 91 %, certain: the model keeps its promised accuracy on labels like",
        "  + positive ███████████████████████████████████████████▋       91 %",
        "  − negative █                                                   2 %",
        "  · The post is positive, with a probability of 91 %; certain.",
        "  what a [lovely] day at the [sea]",
        "  weighed most: lovely 40 %, sea 10 %",
        "             share         − negative positive +",
        "  text        60 %  +1.50            │██████████  read",
        "  sound       20 %  −0.50         ███│            read in part",
        "  together    20 %  +0.50            │███",
        "  The sound was read in part: it is longer than is read.",
        "  The picture lies at an address that may not be fetched from.",
        "  lively, happy    ███████████████        75 %",
        "Language  en",
        "Posted    2025-11-29 08:36:23 UTC",
        "Source    partition 3, offset 17",
    ];
    for line in expected {
        assert!(text.lines().any(|told| told == line), "`{line}` is not in:\n{text}");
    }
    assert!(!text.contains("Picture\n"), "there is none to show:\n{text}");
}

#[test]
fn an_uncertain_label_says_why_and_missing_texts_do_too() {
    let mut record = record();
    (record.certain, record.uncertain_because) = (false, Some(UncertainBecause::LanguageNotCovered));
    record.lang = Some("de".to_owned());
    let text = told(&Shown::of(&record, Texts::Missing("past the retention of the topic".to_owned())), 80);
    assert!(text.contains("uncertain because the model was not measured on this language\n(de)."), "{text}");
    assert!(text.contains("  past the retention of the topic\n  weighed most: lovely 40 %"), "{text}");
}

#[test]
fn a_record_without_contributions_says_so_and_shows_what_became_of_the_parts() {
    let text = told(&Shown::of(&SentimentV1 { contributions: None, ..record() }, texts("a")), 80);
    assert!(text.contains("  picture   fetch denied\n  This model does not say"), "{text}");
}

#[test]
fn neighbours_stand_with_their_labels_and_a_reason_where_there_are_none() {
    let mut shown = Shown::of(&record(), texts("a"));
    let near = Near {
        post_id: "pp-2".to_owned(),
        similarity: 0.834,
        label: Label::Negative,
        is_certain: false,
        excerpt: Some("we\n went\u{202e} away".to_owned()),
    };
    let by = "what the text is about";
    shown.nearby = Nearby::Found { by, posts: vec![near], searched: 64, reaches_back_to_ms: None };
    let text = told(&shown, 80);
    assert!(text.contains("Posts like this one, by what the text is about\n   0.83 −? pp-2               we went\\u{202e} away\n  64 searched.\n"), "{text}");
    shown.nearby = Nearby::Missing("the index is away".to_owned());
    assert!(told(&shown, 80).contains("Posts like this one\n  the index is away\n"));
}

/// All that a stranger, or another program under the server's address, can put into what is shown.
fn hostile(text: &str) -> Shown {
    let mut record = record();
    record.post_id = text.to_owned();
    record.model_version = text.to_owned();
    record.lang = Some(text.to_owned());
    record.moods = vec![MoodTag { tag: text.to_owned(), probability: f32::NAN }];
    record.attention.words[0].word = text.to_owned();
    record.contributions =
        Some(Contributions { text: f32::INFINITY, audio: f32::NAN, image: -0.0, interaction: -1e30 });
    let part = TextPart { role: text.to_owned(), text: text.to_owned() };
    let mut shown = Shown::of(&record, Texts::Known(vec![part.clone(), part]));
    shown.explanation.parts[2].status = text.to_owned();
    shown.explanation.sentences.push(text.to_owned());
    let near = Near {
        post_id: text.to_owned(),
        similarity: f32::NAN,
        label: Label::Neutral,
        is_certain: true,
        excerpt: Some(text.to_owned()),
    };
    shown.nearby = Nearby::Found { by: "", posts: vec![near], searched: 1, reaches_back_to_ms: Some(i64::MIN) };
    shown
}

proptest! {
    #[test]
    fn nothing_of_a_stranger_reaches_a_terminal_raw_or_leaves_its_width(
        text in prop_oneof![any::<String>(), "[\u{1b}\u{9b}\u{202a}-\u{202e}\u{2066}-\u{2069}\n\r\ta-c ]{0,80}"],
        width in 0usize..200,
    ) {
        let lines = lines(&hostile(&text), width, Ink::Plain);
        for line in &lines {
            let line = line.to_string();
            prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
            prop_assert!(!line.contains(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')), "{:?}", line);
            prop_assert!(columns(&line) <= width.clamp(MIN_WIDTH, MAX_WIDTH), "{} columns: {:?}", columns(&line), line);
        }
    }
}
