use proptest::prelude::*;

use super::*;

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

fn subsets() -> impl Strategy<Value = ModalitySet> {
    (0..7_usize).prop_map(|at| ModalitySet::all_non_empty().nth(at).unwrap())
}

/// Parts of a post with these modalities, 0 where one is absent.
fn parts_of(subset: ModalitySet, parts: [f32; 4]) -> [f32; 4] {
    std::array::from_fn(|part| match Modality::ALL.get(part) {
        Some(&modality) if !subset.contains(modality) => 0.0,
        _ => parts[part],
    })
}

fn with_prior(prior_log_odds: f32) -> Calibration {
    Calibration { prior_log_odds, ..Calibration::default() }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6 * (1.0 + a.abs())
}

#[test]
fn a_logit_beyond_any_is_a_probability_all_the_same() {
    for (s, n) in [(1e30, -1e30), (-1e30, 0.0), (0.0, 1e30), (f32::MAX, f32::MAX), (-f32::MAX, -f32::MAX)] {
        let judgement = Judgement::of_logits(s, n, 1.0);
        assert!(judgement.probabilities.iter().all(|p| (0.0..=1.0).contains(p)), "{s} {n}: {judgement:?}");
        assert!((judgement.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}

#[test]
fn of_equal_probabilities_neutral_comes_first_and_then_negative() {
    let label = |probabilities| Judgement { probabilities, ..Judgement::of_logits(0.0, 0.0, 1.0) }.label();
    let third = 1.0 / 3.0;
    assert_eq!(
        [label([third; 3]), label([0.4, 0.2, 0.4]), label([0.2, 0.4, 0.4]), label([0.4, 0.4, 0.2])],
        [1, 0, 1, 1]
    );
    assert_eq!([label([0.5, 0.3, 0.2]), label([0.2, 0.3, 0.5])], [0, 2]);
}

#[test]
fn the_logarithm_of_cosh_keeps_its_digits_from_the_smallest_to_the_largest() {
    for x in [0.0, 1e-160, 1e-5, 9.9e-5, 1.01e-4, 0.01, 0.5, 3.0, 20.0_f64] {
        // ln cosh x = ln_1p(2 sinh²(x / 2)), another way to the same.
        let expected = (2.0 * (x / 2.0).sinh().powi(2)).ln_1p();
        assert!((log_cosh(x) - expected).abs() <= 1e-7 * expected + 1e-300, "{x}: {} {expected}", log_cosh(x));
        assert_eq!(log_cosh(x), log_cosh(-x));
    }
    assert!(near(log_cosh(1e300), 1e300));
}

/// The constant is the logit of 2/3 over 2: a post of media alone is neutral as long as neither pole reaches 2/3.
#[test]
fn media_alone_are_neutral_until_they_make_one_pole_twice_as_likely_as_the_other() {
    let image = ModalitySet::from_presence(false, false, true);
    let label =
        |part| Judgement::of_parts(&with_prior(0.0), &Middle::default(), image, &[0.0, 0.0, part, 0.0], 9.0).label();
    let edge = 2.0_f32.ln();
    assert_eq!([-edge - 1e-3, -edge + 1e-3, 0.0, edge - 1e-3, edge + 1e-3].map(label), [0, 1, 1, 1, 2]);
}

#[test]
fn the_temperature_of_the_middle_acts_on_the_text_alone() {
    let cool = Middle { temperature: 4.0, ..Middle::default() };
    for subset in ModalitySet::all_non_empty() {
        let parts = parts_of(subset, [1.0, -0.5, 2.0, 0.25]);
        let of = |middle| Judgement::of_parts(&with_prior(0.0), middle, subset, &parts, 1.0);
        let (one, other) = (of(&Middle::default()), of(&cool));
        assert_eq!(one.polarity, other.polarity);
        assert_eq!(one.probabilities[1] > other.probabilities[1], subset.contains(Modality::Text), "{subset}");
    }
}

proptest! {
    #[test]
    fn the_middle_never_changes_which_pole_is_nearer(s in -30f32..30.0, n in -30f32..30.0) {
        let judgement = Judgement::of_logits(s, n, 1.0);
        let [negative, neutral, positive] = judgement.probabilities.map(f64::from);
        prop_assert!((negative + neutral + positive - 1.0).abs() < 1e-6);
        prop_assert!((f64::from(judgement.polarity) - sigmoid(f64::from(s))).abs() < 1e-6);
        // What f32 can still tell of the poles.
        if negative + positive > 1e-6 {
            prop_assert!((positive / (negative + positive) - sigmoid(f64::from(s))).abs() < 1e-5);
        }
        prop_assert!((f64::from(judgement.valence) - (positive - negative)).abs() < 1e-6);
        prop_assert!((-1.0..=1.0).contains(&judgement.valence));
    }

    #[test]
    fn a_higher_neutral_logit_makes_a_post_more_neutral(s in -5f32..5.0, n in -5f32..5.0, more in 0.1f32..3.0) {
        let at = |n| Judgement::of_logits(s, n, 1.0).probabilities[1];
        prop_assert!(at(n + more) > at(n));
    }

    #[test]
    fn a_part_that_says_nothing_changes_nothing(
        subset in subsets(), parts in prop::array::uniform4(-8f32..8.0), n in -9f32..9.0, prior in -2f32..2.0,
    ) {
        // What the modalities of `subset` say, once by themselves and once beside others whose ratio is 0. A post whose
        // media say nothing is one without them; one whose text says nothing is not, its neutral logit is still heard.
        let parts = parts_of(subset, parts);
        let of = |subset| Fused::of_parts(&with_prior(prior), &Middle::default(), subset, &parts, n);
        for larger in ModalitySet::all_non_empty() {
            let grows = Modality::ALL.iter().all(|&m| larger.contains(m) || !subset.contains(m));
            if grows && larger.contains(Modality::Text) == subset.contains(Modality::Text) {
                prop_assert_eq!(of(subset), of(larger));
            }
        }
    }

    #[test]
    fn media_never_move_the_neutral_logit_of_a_post_without_a_text(
        subset in subsets(), parts in prop::array::uniform4(-8f32..8.0), n in -9f32..9.0, prior in -2f32..2.0,
    ) {
        prop_assume!(!subset.contains(Modality::Text));
        let (parts, middle) = (parts_of(subset, parts), Middle::default());
        let fused = Fused::of_parts(&with_prior(0.0), &middle, subset, &parts, n);
        prop_assert!(near(fused.neutral, f64::from(middle.media_only_neutral)));
        // A prior tilts the poles and leaves what is neutral as it was.
        let of = |prior| Judgement::of_parts(&with_prior(prior), &middle, subset, &parts, n).probabilities[1];
        prop_assert!((of(prior) - of(0.0)).abs() < 1e-5, "{} {}", of(prior), of(0.0));
    }

    #[test]
    fn media_that_speak_take_nothing_from_the_neutral_of_the_text_on_average(
        text in -6f32..6.0, n in -6f32..6.0, medium in -8f32..8.0,
    ) {
        // Neutral posts' media are as often pleasant as unpleasant: over both, weighted by how likely such a medium is for
        // this post, P(neutral) is that of the text alone.
        let subset = ModalitySet::from_presence(true, true, false);
        let of = |medium| Judgement::of_parts(&with_prior(0.0), &Middle::default(), subset, &[text, medium, 0.0, 0.0], n);
        let alone = of(0.0).probabilities.map(f64::from);
        let chance = |medium: f64| {
            let pleasant = sigmoid(medium);
            alone[0] * (1.0 - pleasant) + alone[1] / 2.0 + alone[2] * pleasant
        };
        let medium_64 = f64::from(medium);
        let expected = chance(medium_64) * f64::from(of(medium).probabilities[1])
            + chance(-medium_64) * f64::from(of(-medium).probabilities[1]);
        prop_assert!((expected - alone[1]).abs() < 1e-5, "{expected} {}", alone[1]);
    }

    #[test]
    fn mirrored_parts_give_mirrored_probabilities(
        subset in subsets(), parts in prop::array::uniform4(-8f32..8.0), n in -9f32..9.0, prior in -2f32..2.0,
    ) {
        let parts = parts_of(subset, parts);
        let of = |prior, parts| Judgement::of_parts(&with_prior(prior), &Middle::default(), subset, &parts, n);
        let (one, other) = (of(prior, parts), of(-prior, parts.map(|part| -part)));
        for (a, b) in one.probabilities.iter().zip(other.probabilities.iter().rev()) {
            prop_assert!((a - b).abs() < 1e-6, "{one:?} {other:?}");
        }
        prop_assert!((one.valence + other.valence).abs() < 1e-6);
    }

    #[test]
    fn more_evidence_for_a_pole_never_lowers_its_odds(
        subset in subsets(), parts in prop::array::uniform4(-8f32..8.0), at in 0..4_usize, more in 0f32..4.0, n in -9f32..9.0,
    ) {
        let before = parts_of(subset, parts);
        let mut after = parts;
        after[at] += more;
        let of = |parts: &[f32; 4]| Judgement::of_parts(&with_prior(0.3), &Middle::default(), subset, parts, n).polarity;
        prop_assert!(of(&parts_of(subset, after)) >= of(&before));
    }
}
