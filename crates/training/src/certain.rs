//! From which confidence on a label keeps a promise.

/// Fewest labels that a share of right ones is read from.
pub const LEAST_CERTAIN: usize = 50;

/// The least confidence from which labels are right as often as `promised`, and the share of the rows that reach it.
///
/// A row is the probabilities of negative, neutral and positive and the index of the truth; its label is the most probable
/// class (of equal ones neutral first, then negative) and its confidence that class's probability. The rows must be of
/// posts that took no part in training. The promise holds at the threshold and at every higher one that at least
/// [`LEAST_CERTAIN`] rows reach, so that more confidence is never worth less. `(1, 0)`, never, where no threshold keeps it
/// or fewer rows are given.
pub fn certain_threshold(rows: &[([f32; 3], usize)], promised: f64) -> (f32, f64) {
    const NEVER: (f32, f64) = (1.0, 0.0);
    let mut answers: Vec<(f32, bool)> = rows.iter().map(answer).filter(|answer| answer.0.is_finite()).collect();
    answers.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut right, mut found) = (0_usize, NEVER);
    for (at, &(confidence, is_right)) in answers.iter().enumerate() {
        right += usize::from(is_right);
        let reached = at + 1;
        // Equal confidences cannot be told apart, so no threshold lies between them.
        let is_last_of_its_kind = answers.get(reached).is_none_or(|next| next.0 < confidence);
        if !is_last_of_its_kind || reached < LEAST_CERTAIN {
            continue;
        }
        if (right as f64) < promised * reached as f64 {
            break;
        }
        found = (confidence, reached as f64 / rows.len() as f64);
    }
    // A confidence that rounds to 1 is taken for certain by nobody.
    if found.0 < 1.0 { found } else { NEVER }
}

fn answer(&(probabilities, truth): &([f32; 3], usize)) -> (f32, bool) {
    let order = [1, 0, 2];
    let label = order.into_iter().reduce(|best, next| {
        let is_better = probabilities[next] > probabilities[best];
        if is_better { next } else { best }
    });
    let label = label.unwrap_or(1);
    (probabilities[label], label == truth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A positive label of this confidence, right or not.
    fn row(confidence: f32, right: bool) -> ([f32; 3], usize) {
        let rest = (1.0 - confidence) / 2.0;
        ([rest, rest, confidence], if right { 2 } else { 0 })
    }

    /// Hundreds of rows of four confidences, so many of each right.
    fn rows(right_of_hundred: [(f32, usize); 4]) -> Vec<([f32; 3], usize)> {
        let of = |(confidence, right)| (0..100).map(move |at| row(confidence, at < right));
        right_of_hundred.into_iter().flat_map(of).collect()
    }

    #[test]
    fn the_threshold_is_the_least_confidence_above_which_the_promise_holds() {
        let found = certain_threshold(&rows([(0.9, 97), (0.8, 92), (0.7, 82), (0.6, 60)]), 0.9);
        // 97, 189 of 200, 271 of 300 and then 331 of 400.
        assert_eq!(found, (0.7, 0.75));
        let strict = certain_threshold(&rows([(0.9, 97), (0.8, 92), (0.7, 82), (0.6, 60)]), 0.95);
        assert_eq!(strict, (0.9, 0.25));
        let all = certain_threshold(&rows([(0.9, 97), (0.8, 92), (0.7, 91), (0.6, 90)]), 0.9);
        assert_eq!(all, (0.6, 1.0));
    }

    #[test]
    fn where_the_most_confident_labels_are_wrong_nothing_is_promised() {
        let found = certain_threshold(&rows([(0.9, 80), (0.8, 99), (0.7, 99), (0.6, 99)]), 0.9);
        assert_eq!(found, (1.0, 0.0), "0.6 would hold over all, and 0.9 would not");
    }

    #[test]
    fn too_few_labels_show_nothing_and_fifty_are_enough() {
        let few: Vec<_> = (0..49).map(|_| row(0.8, true)).collect();
        assert_eq!(certain_threshold(&few, 0.9), (1.0, 0.0));
        let enough: Vec<_> = (0..50).map(|_| row(0.8, true)).collect();
        assert_eq!(certain_threshold(&enough, 0.9), (0.8, 1.0));
        assert_eq!(certain_threshold(&[], 0.9), (1.0, 0.0));
    }

    #[test]
    fn a_confidence_of_one_is_not_a_threshold_and_no_number_is_no_answer() {
        let sure: Vec<_> = (0..60).map(|_| row(1.0, true)).collect();
        assert_eq!(certain_threshold(&sure, 0.9), (1.0, 0.0));
        let strange: Vec<_> = (0..60).map(|_| ([f32::NAN; 3], 1)).collect();
        assert_eq!(certain_threshold(&strange, 0.9), (1.0, 0.0));
        let wrong: Vec<_> = (0..60).map(|_| ([0.1, 0.1, 0.8], 7)).collect();
        assert_eq!(certain_threshold(&wrong, 0.9), (1.0, 0.0));
    }

    #[test]
    fn of_equal_classes_neutral_is_the_label() {
        let tied: Vec<_> = (0..60).map(|_| ([0.2, 0.4, 0.4], 1)).collect();
        assert_eq!(certain_threshold(&tied, 0.9), (0.4, 1.0));
        let poles: Vec<_> = (0..60).map(|_| ([0.4, 0.2, 0.4], 0)).collect();
        assert_eq!(certain_threshold(&poles, 0.9), (0.4, 1.0));
    }

    proptest! {
        #[test]
        fn what_reaches_the_threshold_is_right_as_often_as_promised(
            drawn in prop::collection::vec((34_u8..100, any::<bool>(), 0..3_u8), 0..300), promised in 0.5..1.0,
        ) {
            // Two of three are right, so that the promise is kept by some draws and not by others.
            let rows: Vec<_> =
                drawn.iter().map(|&(level, right, luck)| row(f32::from(level) / 100.0, right || luck > 0)).collect();
            let (threshold, coverage) = certain_threshold(&rows, promised);
            let reached: Vec<_> = rows.iter().filter(|row| row.0[2] >= threshold).collect();
            if threshold < 1.0 {
                let right = reached.iter().filter(|row| row.1 == 2).count() as f64;
                prop_assert!(right >= promised * reached.len() as f64 && reached.len() >= LEAST_CERTAIN);
                prop_assert!((coverage - reached.len() as f64 / rows.len() as f64).abs() < 1e-12);
            } else {
                prop_assert_eq!(coverage, 0.0);
            }
        }
    }
}
