//! `tests/fixtures/make_logistic.py` says how the expected figures were made.

use jtav_research::classical::LogisticRegression;
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    rows: Vec<Vec<f32>>,
    labels: Vec<bool>,
    c: f64,
    coefficients: Vec<f64>,
    intercept: f64,
    logits: Vec<f64>,
}

fn assert_near(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{what}: {found} against {expected}");
    }
}

#[test]
fn coefficients_and_logits_are_scikit_learns_to_a_millionth() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/logistic.json")).unwrap();
    assert_eq!(fixture.cases.len(), 5);
    for (index, case) in fixture.cases.iter().enumerate() {
        let fitted = LogisticRegression::fit(&case.rows, &case.labels, case.c).unwrap();
        assert_near(fitted.coefficients(), &case.coefficients, &format!("case {index}, coefficients"));
        assert_near(&[fitted.intercept()], &[case.intercept], &format!("case {index}, intercept"));
        assert_near(&fitted.logits(&case.rows), &case.logits, &format!("case {index}, logits"));
    }
}
