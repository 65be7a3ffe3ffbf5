//! VADER against the original (`fixtures/vader.py`), and what a long text costs.

use jtav_text::vader::Vader;

/// (text, compound rounded to four decimals)
fn reference() -> Vec<(String, f32)> {
    let lines = include_str!("fixtures/vader.jsonl").lines();
    let cases = lines.map(|line| {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        (case["text"].as_str().unwrap().to_owned(), case["compound"].as_f64().unwrap() as f32)
    });
    cases.collect()
}

#[test]
fn scores_are_those_of_the_original() {
    let vader = Vader::new();
    let cases = reference();
    assert!(cases.len() > 1_100);
    for (text, expected) in cases {
        let found = vader.compound(&text);
        // Half of its last decimal, and f32's own rounding.
        assert!((found - expected).abs() < 5.1e-5, "{text:?}: {found}, expected {expected}");
    }
}
