use proptest::prelude::*;

use super::*;

fn row(probabilities: [f64; 3], truth: usize) -> Row<'static> {
    Row { probabilities, certain: false, truth, kind: "negation", language: "en", item: "" }
}

fn of(values: [Option<f64>; 8], figures: &Figures) -> bool {
    let found = [
        figures.accuracy,
        figures.macro_f1,
        figures.log_loss,
        figures.certain.coverage,
        figures.certain.accuracy,
        figures.recall[0],
        figures.recall[1],
        figures.recall[2],
    ];
    found.map(|figure| figure.value) == values
}

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    probabilities: Vec<[f64; 3]>,
    truths: Vec<usize>,
    accuracy: f64,
    macro_f1: f64,
    log_loss: f64,
    recall: [Option<f64>; 3],
}

/// `tests/fixtures/make_three_way.py` says how the expected figures were made.
#[test]
fn every_figure_is_scikit_learns_to_a_billionth() {
    let fixture: Fixture = serde_json::from_str(include_str!("../tests/fixtures/three_way.json")).unwrap();
    for (at, case) in fixture.cases.iter().enumerate() {
        let rows: Vec<Row> = case.probabilities.iter().zip(&case.truths).map(|(p, &truth)| row(*p, truth)).collect();
        let found = three_way(&rows, 0, 0).unwrap().overall;
        for (name, found, expected) in [
            ("accuracy", found.accuracy.value, Some(case.accuracy)),
            ("macro F1", found.macro_f1.value, Some(case.macro_f1)),
            ("log loss", found.log_loss.value, Some(case.log_loss)),
            ("recall of negative", found.recall[0].value, case.recall[0]),
            ("recall of neutral", found.recall[1].value, case.recall[1]),
            ("recall of positive", found.recall[2].value, case.recall[2]),
        ] {
            let is_near = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
                (found, expected) => found == expected,
            };
            assert!(is_near, "case {at}, {name}: {found:?} against {expected:?}");
        }
    }
}

#[test]
fn kinds_languages_and_certain_labels_are_counted_by_themselves() {
    let rows = [
        Row { certain: true, kind: "emoji", item: "a", ..row([0.8, 0.1, 0.1], 0) },
        Row { certain: true, kind: "emoji", item: "b", ..row([0.1, 0.1, 0.8], 0) },
        Row { certain: false, language: "tr", item: "c", ..row([0.2, 0.6, 0.2], 1) },
        Row { certain: true, language: "tr", item: "d", ..row([0.1, 0.2, 0.7], 2) },
    ];
    let found = three_way(&rows, 200, 1).unwrap();
    assert_eq!((found.overall.n, found.overall.items), (4, 4));
    assert_eq!(found.overall.accuracy.value, Some(0.75));
    assert_eq!(
        (found.overall.certain.coverage.value, found.overall.certain.accuracy.value),
        (Some(0.75), Some(2.0 / 3.0))
    );
    assert_eq!(found.kinds.keys().collect::<Vec<_>>(), ["emoji", "negation"]);
    assert_eq!(found.languages.keys().collect::<Vec<_>>(), ["en", "tr"]);
    // Half of the negatives found; none of the others there. Positive was said and is not there, so its F1 is 0.
    let emoji = &found.kinds["emoji"];
    let loss = -(0.8_f64.ln() + 0.1_f64.ln()) / 2.0;
    assert!(
        of([Some(0.5), Some(1.0 / 3.0), Some(loss), Some(1.0), Some(0.5), Some(0.5), None, None], emoji),
        "{emoji:?}"
    );
    assert_eq!(
        found.kinds["negation"].accuracy,
        Figure { value: Some(1.0), interval: Some(Interval { low: 1.0, high: 1.0 }) }
    );
    assert_eq!(found.languages["tr"].certain.accuracy.value, Some(1.0));
}

#[test]
fn what_no_row_defines_has_no_value_and_no_interval() {
    let found = three_way(&[row([0.1, 0.8, 0.1], 1)], 50, 1).unwrap().overall;
    assert_eq!((found.certain.accuracy, found.recall[0]), (Figure::default(), Figure::default()));
    assert!(found.accuracy.interval.is_some());
    assert_eq!(three_way(&[row([0.1, 0.8, 0.1], 1)], 0, 1).unwrap().overall.accuracy.interval, None);
}

/// Copies of one text are no more texts: the interval is that of the items.
#[test]
fn an_interval_is_as_wide_as_the_items_are_few() {
    let names: Vec<String> = (0..400).map(|at| at.to_string()).collect();
    let rows = |items: usize| -> Vec<Row> {
        let of = |at: usize| {
            let item = at % items;
            Row { item: &names[item], ..row([0.1, 0.1, 0.8], if item.is_multiple_of(4) { 0 } else { 2 }) }
        };
        (0..400).map(of).collect()
    };
    for items in [400, 40] {
        let accuracy = three_way(&rows(items), 4000, 3).unwrap().overall.accuracy;
        let interval = accuracy.interval.unwrap();
        let expected = 2.0 * 1.96 * (0.75 * 0.25 / items as f64).sqrt();
        assert_eq!(accuracy.value, Some(0.75));
        assert!(((interval.high - interval.low) / expected - 1.0).abs() < 0.12, "{items}: {interval:?} {expected}");
    }
}

#[test]
fn what_is_no_distribution_or_no_class_is_refused() {
    assert_eq!(three_way(&[], 1, 1), Err(ThreeWayError::Empty));
    for wrong in [[0.5, 0.5, 0.5], [f64::NAN, 0.5, 0.5], [-0.5, 1.0, 0.5]] {
        let rows = [row([1.0, 0.0, 0.0], 0), row(wrong, 0)];
        assert_eq!(three_way(&rows, 1, 1), Err(ThreeWayError::NotProbabilities(1)));
    }
    assert_eq!(three_way(&[row([1.0, 0.0, 0.0], 3)], 1, 1), Err(ThreeWayError::NoClass { row: 0, truth: 3 }));
}

#[test]
fn of_equal_classes_neutral_is_the_label_and_then_negative() {
    let third = 1.0 / 3.0;
    assert_eq!([[third; 3], [0.4, 0.2, 0.4], [0.2, 0.4, 0.4], [0.1, 0.2, 0.7]].map(|p| label(&p)), [1, 0, 1, 2]);
}

proptest! {
    #[test]
    fn every_figure_is_a_share_and_the_order_of_the_rows_does_not_matter(
        drawn in prop::collection::vec((0.0..1.0_f64, 0.0..1.0_f64, any::<bool>(), 0..3_usize, 0..4_usize), 1..40),
    ) {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        let mut rows: Vec<Row> = drawn
            .iter()
            .map(|&(first, second, certain, truth, name)| {
                let negative = first * second;
                let probabilities = [negative, first - negative, 1.0 - first];
                Row { certain, kind: NAMES[name], item: NAMES[name], ..row(probabilities, truth) }
            })
            .collect();
        let found = three_way(&rows, 20, 5).unwrap();
        for figures in found.kinds.values().chain([&found.overall]) {
            let shares = [figures.accuracy, figures.macro_f1, figures.certain.coverage, figures.certain.accuracy];
            for figure in shares.iter().chain(&figures.recall) {
                prop_assert!(figure.value.is_none_or(|value| (0.0..=1.0).contains(&value)), "{figures:?}");
                prop_assert!(figure.interval.is_none_or(|i| i.low <= i.high && i.low >= 0.0 && i.high <= 1.0));
            }
        }
        rows.reverse();
        let reversed = three_way(&rows, 20, 5).unwrap();
        prop_assert_eq!(reversed.overall.accuracy, found.overall.accuracy);
        prop_assert_eq!(reversed.overall.macro_f1, found.overall.macro_f1);
    }
}
