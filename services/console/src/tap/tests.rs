use proptest::prelude::*;
use serde_json::{Value, json};

use super::line::*;
use super::*;
use crate::wrap::columns;

fn record() -> SentimentV1 {
    serde_json::from_value(json!({
        "event_id": "e", "post_id": "pp-1", "revision": 2, "label": "negative",
        "probabilities": {"negative": 0.62, "neutral": 0.2, "positive": 0.18}, "valence": -0.44, "probability": 0.2,
        "confidence": 0.62, "threshold": 0.8, "certain": false, "uncertain_because": "low_probability", "lang": "en",
        "moods": [{"tag": "Q3", "probability": 0.75}],
        "modalities": {"text": "present", "audio": "present", "image": "not_found"},
        "attention": {"words": [{"word": "rain", "position": 2, "weight": 0.4}, {"word": "cold", "position": 6, "weight": 0.1}]},
        "model_version": "m", "received_at_ms": 0, "labelled_at_ms": 1_764_405_383_200_i64,
    }))
    .unwrap()
}

fn options(json: bool) -> TapOptions {
    TapOptions { filters: Vec::new(), recent: 0, from: None, limit: None, json, ink: Ink::Plain, width: None }
}

/// What is written and said of `text` as a stream, and where it then stands.
fn read(options: &TapOptions, text: &str) -> (String, Vec<String>, Option<String>, bool) {
    let server = Server::new("http://127.0.0.1:1", None).unwrap();
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let mut note = |text: &str| notes.push(text.to_owned());
    let mut reader = Reader {
        server: &server,
        options,
        out: &mut out,
        note: &mut note,
        position: None,
        labels: 0,
        patience: Patience::default(),
    };
    let mut has_paused = false;
    for item in SseParser::default().push(text.as_bytes()) {
        if reader.take(item).unwrap().is_some() {
            has_paused = true;
            break;
        }
    }
    let position = reader.position.clone();
    (String::from_utf8(out).unwrap(), notes, position, has_paused)
}

fn event(name: &str, id: &str, data: &Value) -> String {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n")
}

#[test]
fn a_label_is_a_line_with_what_matters() {
    let line = label_line(&record()).to_string();
    assert_eq!(line, "08:36:23 − negative   62 %? pp-1            rain, cold  ♪ sad, low  picture: not found");
    assert_eq!(erasure_line("pp-1").to_string().trim_end(), "         × erased           pp-1");
}

#[test]
fn events_are_written_and_passed_one_after_the_other() {
    let label = json!({"partition": 0, "offset": 3, "sentiment": record()});
    let text = [
        event("label", "0:4", &label),
        event("erasure", "0:5", &json!({"partition": 0, "offset": 4, "post_id": "a\u{9b}2J"})),
    ]
    .concat();
    let (out, notes, position, _) = read(&options(false), &text);
    assert_eq!((out.lines().count(), notes.len(), position.as_deref()), (2, 0, Some("0:5")));
    assert!(out.lines().last().unwrap().contains("a\\u{9b}2J"), "{out}");
    let (out, ..) = read(&options(true), &text);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (lines[0]["sentiment"]["post_id"].as_str(), lines[1]["post_id"].as_str()),
        (Some("pp-1"), Some("a\u{9b}2J"))
    );
    assert!(!out.contains('\u{9b}'), "{out}");
    let (out, _, position, _) = read(&options(false), &event("label", "0:9", &json!({"of": "later"})));
    assert!(out.contains("cannot read") && position.as_deref() == Some("0:9"), "{out}");
}

#[test]
fn it_ends_after_as_many_labels_as_were_asked_for_and_erasures_do_not_count() {
    let label = json!({"partition": 0, "offset": 3, "sentiment": record()});
    let erasure = json!({"partition": 0, "offset": 4, "post_id": "a"});
    let events = [
        event("erasure", "0:1", &erasure),
        event("label", "0:2", &label),
        event("label", "0:3", &label),
        event("label", "0:4", &label),
    ];
    let (out, _, position, has_paused) = read(&TapOptions { limit: Some(2), ..options(false) }, &events.concat());
    assert_eq!((out.lines().count(), position.as_deref(), has_paused), (3, Some("0:3"), true));
}

#[test]
fn gaps_and_goodbyes_are_said_and_the_stream_goes_on_where_the_server_says() {
    let gap = event("gap", "0:9", &json!({"reason": "past_retention", "partition": 0, "from": 3, "to": 9}));
    let dropped = event("dropped", "0:9", &json!({"reason": "too_slow", "resume_from": "0:7"}));
    let text = format!("{gap}: alive\nid: 0:10\n\n{dropped}");
    let (out, notes, position, has_paused) = read(&options(true), &text);
    assert_eq!((out.as_str(), has_paused), ("", true));
    assert_eq!(notes, ["6 records of partition 0 are missed, 3 to 9: past retention"]);
    assert_eq!(position.as_deref(), Some("0:9"), "the event's own id is the newer word");
    assert_eq!(read(&options(true), &format!("{gap}: alive\nid: 0:10\n\n")).2.as_deref(), Some("0:10"));
}

#[test]
fn what_came_before_is_asked_for_once() {
    let filters = vec![("label", "negative,neutral".to_owned()), ("certain", "true".to_owned())];
    let options = TapOptions { recent: 5, filters, ..options(false) };
    assert_eq!(query(&options, true), "?label=negative%2Cneutral&certain=true&recent=5");
    assert_eq!(query(&options, false), "?label=negative%2Cneutral&certain=true");
}

#[test]
fn a_position_is_what_the_id_of_an_event_looks_like() {
    for text in ["0:13", "0:13,1:40", "12:0"] {
        assert!(is_position(text), "{text}");
    }
    for text in ["", "0", "0:", ":1", "0:1,", "-1:0", "0:1 ,1:2", "0:1\n", "a:1", "0:99999999999999999999"] {
        assert!(!is_position(text), "{text:?}");
    }
}

proptest! {
    #[test]
    fn nothing_of_a_stranger_reaches_a_terminal_raw(
        text in prop_oneof![any::<String>(), "[\u{1b}\u{9b}\u{202a}-\u{202e}\u{2066}-\u{2069}\n\r\ta-c]{0,80}"],
        width in 10usize..120,
    ) {
        let mut record = record();
        record.post_id = text.clone();
        record.attention.words[0].word = text.clone();
        record.moods[0].tag = text.clone();
        let data = json!({"partition": 0, "offset": 3, "sentiment": record});
        let notice = json!({"reason": text, "partition": 0, "from": 3, "to": 9, "resume_from": text});
        let erasure = json!({"partition": 0, "offset": 4, "post_id": text});
        let stream = [event("label", "0:4", &data), event("erasure", "0:5", &erasure), event("gap", "0:6", &notice)].concat();
        for json in [false, true] {
            let (out, notes, ..) = read(&TapOptions { width: Some(width), ..options(json) }, &stream);
            prop_assert_eq!(out.lines().count(), 2);
            for line in out.lines().chain(notes.iter().map(String::as_str)) {
                prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
                prop_assert!(!line.contains(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')), "{:?}", line);
                prop_assert!(json || notes.contains(&line.to_owned()) || columns(line) <= width, "{:?}", line);
            }
        }
    }
}
