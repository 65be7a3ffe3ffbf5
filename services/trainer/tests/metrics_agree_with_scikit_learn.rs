//! `tests/fixtures/make_metrics.py` says how the expected figures were made.

use jtav_trainer::metrics::Metrics;
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    scores: Vec<f64>,
    labels: Vec<bool>,
    threshold: f64,
    expected: Metrics,
}

#[test]
fn every_figure_is_scikit_learns_to_a_billionth() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/metrics.json")).unwrap();
    assert_eq!(fixture.cases.len(), 18);
    for (index, case) in fixture.cases.iter().enumerate() {
        let found = Metrics::at_threshold(&case.scores, &case.labels, case.threshold).unwrap();
        let expected = &case.expected;
        assert_eq!(found.n, expected.n);
        assert_eq!(found.auc.is_some(), expected.auc.is_some(), "case {index}");
        for (name, found, expected) in [
            ("auc", found.auc.unwrap_or(0.0), expected.auc.unwrap_or(0.0)),
            ("auc_hard", found.auc_hard.unwrap_or(0.0), expected.auc_hard.unwrap_or(0.0)),
            ("f1_weighted", found.f1_weighted, expected.f1_weighted),
            ("precision_weighted", found.precision_weighted, expected.precision_weighted),
            ("accuracy", found.accuracy, expected.accuracy),
            ("majority", found.majority, expected.majority),
            ("brier", found.brier, expected.brier),
            ("ece", found.ece, expected.ece),
        ] {
            assert!((found - expected).abs() < 1e-9, "case {index}, {name}: {found} against {expected}");
        }
    }
}
