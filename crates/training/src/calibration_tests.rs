use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// `tests/fixtures/platt.py` says how these were made.
#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
    /// Polarity and neutral logit, then votes.
    texts: Vec<[f32; 5]>,
    neutral_temperature: f64,
}

#[derive(Deserialize)]
struct Case {
    /// Logit, label and weight.
    items: Vec<[f64; 3]>,
    log_odds: f64,
    plain: [f64; 2],
    drawn: [f64; 2],
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../tests/fixtures/platt.json")).unwrap()
}

fn of_items(items: &[[f64; 3]]) -> Vec<Rated> {
    items.iter().map(|&[logit, positive, weight]| Rated { logit, positive, weight }).collect()
}

#[test]
fn platt_scaling_agrees_with_scikit_learn_and_with_scipy_where_the_slope_is_drawn_to_one() {
    for case in fixture().cases {
        let items = of_items(&case.items);
        for (ridge, [slope, constant]) in [(0.0, case.plain), (SLOPE_RIDGE, case.drawn)] {
            let found = Platt::fit_with(&items, ridge).unwrap();
            assert!((found.log_odds - case.log_odds).abs() < 1e-9, "{found:?}");
            let is_near = (found.slope - slope).abs() < 1e-5 && (found.constant - constant).abs() < 1e-5;
            assert!(is_near, "{found:?} for {slope} {constant}, ridge {ridge}");
        }
    }
}

#[test]
fn the_neutral_temperature_agrees_with_scipy() {
    let fixture = fixture();
    let item = |&[polarity, neutral, a, b, c]: &[f32; 5]| Evidence {
        logits: [Some(polarity), None, None],
        neutral: Some(neutral),
        votes: [a, b, c],
    };
    let items: Vec<Evidence> = fixture.texts.iter().map(item).collect();
    let parts = Parts::fit(&items).unwrap();
    assert!((parts.neutral_temperature - fixture.neutral_temperature).abs() < 1e-4, "{}", parts.neutral_temperature);
    assert_eq!(parts.platt[1..], [Platt::default(); 2], "no clip, no picture");
}

#[test]
fn a_part_that_argues_against_itself_is_not_listened_to() {
    let items: Vec<Rated> = (0..60)
        .map(|i| Rated {
            logit: if i % 3 == 0 { 2.0 } else { -2.0 },
            positive: f64::from(u8::from(i % 3 != 0)),
            weight: 1.0,
        })
        .collect();
    let found = Platt::fit(&items).unwrap();
    assert_eq!((found.slope, found.constant), (0.0, 0.0));
    assert_eq!(found.ratio(100.0), 0.0);
}

#[test]
fn a_ratio_knows_no_base_rate() {
    // Logits of a calibrated head on items of which 4 in 5 are positive: log 16 and 0 for the two kinds of item.
    let kind = |logit: f64, positive: usize| {
        (0..170).map(move |i| Rated { logit, positive: f64::from(u8::from(i < positive)), weight: 1.0 })
    };
    let items: Vec<Rated> = kind(16.0_f64.ln(), 160).chain(kind(0.0, 85)).collect();
    let found = Platt::fit(&items).unwrap();
    assert!((found.slope - 1.0).abs() < 0.02, "{found:?}");
    let base = (245.0_f64 / 95.0).ln();
    assert!((f64::from(found.ratio(0.0)) + base).abs() < 0.05, "half of them positive is less than the base rate");
}

#[test]
fn what_cannot_be_calibrated_is_an_error() {
    let item = |logit, positive, weight| Rated { logit, positive, weight };
    for items in [
        vec![],
        vec![item(1.0, 1.0, 1.0), item(2.0, 1.0, 1.0)],
        vec![item(f64::NAN, 1.0, 1.0), item(2.0, 0.0, 1.0)],
        vec![item(1.0, 1.0, 0.0), item(2.0, 0.0, 1.0)],
        vec![item(1.0, f64::NAN, 1.0), item(2.0, 0.0, 1.0)],
    ] {
        assert!(matches!(Platt::fit(&items), Err(ModelError::Input(_))), "{items:?}");
    }
    let neutral = Evidence { logits: [Some(1.0), None, None], neutral: Some(0.3), votes: [0.0, 1.0, 0.0] };
    assert!(matches!(Parts::fit(&[neutral]), Err(ModelError::Input(_))), "a neutral text says nothing of polarity");
    assert!(matches!(Parts::fit(&[]), Err(ModelError::Input(_))));
}

#[test]
fn a_judgement_of_an_item_is_that_of_its_ratios() {
    let platt = |slope| Platt { slope, constant: 0.1, log_odds: 5.0 };
    let parts = Parts { platt: [platt(1.0), platt(0.5), platt(2.0)], neutral_temperature: 2.0 };
    let item = Evidence { logits: [Some(1.0), None, Some(-100.0)], neutral: Some(0.4), votes: [0.0, 0.0, 1.0] };
    assert_eq!(parts.ratios(&item.logits), [1.1, 0.0, -PART_BOUND, 0.0]);
    let (calibration, middle) = (Calibration::default(), Middle::default());
    let found = parts.judge(&item, &calibration, &middle);
    let subset = ModalitySet::from_presence(true, false, true);
    assert_eq!(found, Judgement::of_parts(&calibration, &middle, subset, &[1.1, 0.0, -PART_BOUND, 0.0], 0.4));
}

proptest! {
    #[test]
    fn whatever_is_fitted_is_a_number_and_a_minimum(
        drawn in prop::collection::vec((-30.0..30.0_f64, 0.0..=1.0_f64, 0.01..=1.0_f64), 1..60),
    ) {
        let items: Vec<Rated> = drawn.iter().map(|&(logit, positive, weight)| Rated { logit, positive, weight }).collect();
        let Ok(found) = Platt::fit(&items) else { return Ok(()) };
        prop_assert!(found.slope.is_finite() && found.constant.is_finite() && found.slope >= 0.0);
        prop_assume!(found.slope > 0.0);
        let at = [found.slope, found.constant + found.log_odds];
        let best = objective(&items, at, SLOPE_RIDGE);
        for (column, by) in [(0, 1e-3), (0, -1e-3), (1, 1e-3), (1, -1e-3)] {
            let mut moved = at;
            moved[column] += by;
            prop_assert!(objective(&items, moved, SLOPE_RIDGE) >= best - 1e-9 * best.abs().max(1.0));
        }
    }
}
