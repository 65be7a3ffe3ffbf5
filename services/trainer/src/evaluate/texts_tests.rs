use super::*;

fn parsed(content: &str) -> Result<LabelledTexts, String> {
    LabelledTexts::parse(Path::new("made/up.jsonl"), content.as_bytes()).map_err(|error| error.to_string())
}

fn said(s: f32, n: f32, certain: bool) -> Said {
    let language = Some(Language { code: "en".to_owned(), probability: 0.9 });
    Said { judgement: Some(Judgement::of_logits(s, n, 0.7)), language, certain }
}

const FILE: &str = r#"{"id": "a", "text": "not bad at all", "label": "positive", "kind": "negation", "lang": "en"}
{"text": "the bus leaves at nine", "label": "neutral", "kind": "factual"}

{"id": "c", "text": "berbat", "label": "negative", "lang": "tr", "group": "g", "mixed": true}
{"text": "nothing works", "label": "negative", "kind": "negation"}
"#;

#[test]
fn what_a_line_leaves_out_has_a_name_of_its_own() {
    let texts = parsed(FILE).unwrap();
    assert_eq!((texts.name.as_str(), texts.sha256.len()), ("up.jsonl", 64));
    let ids: Vec<&str> = texts.texts.iter().map(|text| text.id.as_str()).collect();
    assert_eq!(ids, ["a", "line 2", "c", "line 5"]);
    let [first, second, third, _] = texts.texts.as_slice() else { panic!("{texts:?}") };
    assert_eq!((first.label, first.kind.as_str(), first.lang.as_deref()), (2, "negation", Some("en")));
    assert_eq!((second.label, second.lang.as_deref(), second.group.as_str()), (1, None, "line 2"));
    assert_eq!((third.kind.as_str(), third.group.as_str()), (NO_KIND, "group g"));
}

#[test]
fn a_line_that_cannot_be_scored_is_named() {
    for (content, expected) in [
        ("", "made/up.jsonl: holds no text"),
        ("{}", "made/up.jsonl:1: missing field `text`"),
        (r#"{"text": "x", "label": "good"}"#, "label `good`: use negative, neutral or positive"),
        (r#"{"text": "x", "label": 1}"#, "made/up.jsonl:1: invalid type"),
        (
            "\n{\"id\": \"a\", \"text\": \"x\", \"label\": \"neutral\"}\n{\"id\": \"a\", \"text\": \"y\", \"label\": \"neutral\"}",
            "made/up.jsonl:3: id `a` stands on line 2 already",
        ),
    ] {
        let message = parsed(content).unwrap_err();
        assert!(message.contains(expected), "{content}: {message}");
    }
    let latin = LabelledTexts::parse(Path::new("x"), b"\xe9").unwrap_err();
    assert!(latin.to_string().starts_with("x:1: ") && !latin.is_retryable());
    assert!(LabelledTexts::read(Path::new("no-such-file.jsonl")).is_err());
}

#[test]
fn three_labels_are_scored_by_kind_and_language_and_the_poles_without_neutral_texts() {
    let texts = parsed(FILE).unwrap();
    let answers = [
        said(4.0, 0.0, true),
        said(0.5, 2.0, false),
        Said { judgement: None, language: None, certain: false },
        said(-3.0, 0.0, true),
    ];
    let found = report(&texts, &answers, "m".to_owned(), 1).unwrap();
    // The text without a word is called neutral, and wrongly.
    assert_eq!((found.n_unread, found.three_way.overall.accuracy.value), (1, Some(0.75)));
    assert_eq!(found.three_way.overall.certain.accuracy.value, Some(1.0));
    assert_eq!(found.three_way.kinds.keys().collect::<Vec<_>>(), ["factual", "negation", "text"]);
    assert_eq!(found.three_way.languages.keys().collect::<Vec<_>>(), ["en", "tr"]);
    let polarity = found.polarity.as_ref().unwrap();
    assert_eq!((polarity.metrics.n, polarity.metrics.auc), (3, Some(1.0)));
    assert!(polarity.ece_quantile.is_some());
    let names: Vec<&str> = found.auc_of.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["all", "en", "negation"]);
    assert_eq!((found.auc_of[0].1.n, found.auc_of[1].1.n), (3, 2));

    let json = serde_json::to_value(&found).unwrap();
    for key in ["auc", "auc_hard", "f1_weighted", "precision_weighted", "accuracy", "majority", "brier", "ece", "n"] {
        assert!(json[key].is_number(), "{key}: {json}");
    }
    assert_eq!(json["auc_of"]["all"]["value"], 1.0);
    let table = found.table();
    for part in ["up.jsonl: 4 texts, 4 items", "negation ", "factual ", "tr ", "certain"] {
        assert!(table.contains(part), "{part} is missing in {table}");
    }
    assert!(found.diagram().unwrap().is_some());
}

#[test]
fn of_neutral_texts_alone_there_are_three_labels_and_no_poles() {
    let texts = parsed(r#"{"text": "the bus leaves at nine", "label": "neutral"}"#).unwrap();
    let found = report(&texts, &[said(0.0, 3.0, false)], "m".to_owned(), 1).unwrap();
    assert!(found.polarity.is_none() && found.auc_of.is_empty() && found.diagram().unwrap().is_none());
    assert_eq!(found.three_way.overall.accuracy.value, Some(1.0));
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!((json.get("auc"), &json["three_way"]["overall"]["n"]), (None, &serde_json::json!(1)));
}

#[test]
fn texts_of_one_group_are_one_item() {
    let line = |at: usize| {
        let label = if at.is_multiple_of(2) { "positive" } else { "negative" };
        format!("{{\"text\": \"text {at}\", \"label\": \"{label}\", \"group\": \"{}\"}}\n", at / 4)
    };
    let texts = parsed(&(0..40).map(line).collect::<String>()).unwrap();
    let answers: Vec<Said> = (0..40).map(|at| said(if at % 3 == 0 { 2.0 } else { -2.0 }, -4.0, false)).collect();
    let found = report(&texts, &answers, "m".to_owned(), 1).unwrap();
    assert_eq!((found.three_way.overall.n, found.three_way.overall.items), (40, 10));
}
