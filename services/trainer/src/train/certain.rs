//! From which confidence on labels are certain, measured on items that no network had seen.
//!
//! Texts, clips and pictures were judged out of fold one by one; posts of several parts are put together from them, parts of
//! one polarity, as the parts of a post are independent given what it says. A neutral text takes any clip and any picture.
//! Nothing is promised of posts without a text: no data has neutral pictures or sounds, so how often such a post is neutral
//! is a rule ([`Middle::media_only_neutral`]) and cannot be measured.

use std::collections::BTreeMap;

use jtav_model::{Calibration, Middle, Modality, ModalitySet};
use jtav_training::{Evidence, Parts, certain_threshold};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::outcome::HeldOutItem;
use crate::report::Certain;

/// Posts that are put together for each subset of several modalities.
const POSTS: usize = 8_000;
/// Class of a neutral text.
const NEUTRAL: usize = 1;

/// The thresholds of all seven subsets. `items` are those of text, audio and image.
pub(super) fn certain(
    items: [&[HeldOutItem]; 3],
    parts: &Parts,
    calibration: &Calibration,
    middle: &Middle,
    seed: u64,
) -> BTreeMap<String, Certain> {
    let mut found = BTreeMap::new();
    for subset in ModalitySet::all_non_empty() {
        if !subset.contains(Modality::Text) {
            found.insert(subset.to_string(), Certain { from: 1.0, coverage: 0.0, items: 0 });
            continue;
        }
        let mut rng = StdRng::seed_from_u64(seed);
        let posts = posts(items, subset, &mut rng);
        let row = |(post, truth): &(Evidence, usize)| (parts.judge(post, calibration, middle).probabilities, *truth);
        let rows: Vec<([f32; 3], usize)> = posts.iter().map(row).collect();
        let (from, coverage) = certain_threshold(&rows, f64::from(middle.promised_accuracy));
        found.insert(subset.to_string(), Certain { from, coverage, items: rows.len() });
    }
    found
}

/// Posts of a subset with their classes: every item of a single modality, else some that are drawn.
fn posts(items: [&[HeldOutItem]; 3], subset: ModalitySet, rng: &mut StdRng) -> Vec<(Evidence, usize)> {
    let present: Vec<usize> =
        (0..3).filter(|&at| subset.contains(Modality::ALL[at]) && !items[at].is_empty()).collect();
    let [first, others @ ..] = present.as_slice() else { return Vec::new() };
    if present.len() < subset_size(subset) {
        return Vec::new();
    }
    let of_class = |at: usize, class: usize| -> Vec<&HeldOutItem> {
        items[at].iter().filter(|item| class == NEUTRAL || class_of(&item.votes) == class).collect()
    };
    let fitting: Vec<[Vec<&HeldOutItem>; 3]> =
        others.iter().map(|&at| std::array::from_fn(|class| of_class(at, class))).collect();
    let count = if others.is_empty() { items[*first].len() } else { POSTS };
    let mut posts = Vec::with_capacity(count);
    for number in 0..count {
        let at = if others.is_empty() { number } else { rng.random_range(0..items[*first].len()) };
        let item = &items[*first][at];
        let class = class_of(&item.votes);
        let mut post = Evidence { logits: [None; 3], neutral: item.neutral, votes: item.votes };
        post.logits[*first] = Some(item.logit);
        let mut is_whole = true;
        for (&other, fitting) in others.iter().zip(&fitting) {
            match fitting[class].len() {
                0 => is_whole = false,
                len => post.logits[other] = Some(fitting[class][rng.random_range(0..len)].logit),
            }
        }
        if is_whole {
            posts.push((post, class));
        }
    }
    posts
}

fn subset_size(subset: ModalitySet) -> usize {
    Modality::ALL.into_iter().filter(|&modality| subset.contains(modality)).count()
}

/// What most raters said; of equal ones neutral first, then negative.
fn class_of(votes: &[f32; 3]) -> usize {
    if votes[1] >= votes[0] && votes[1] >= votes[2] { NEUTRAL } else { 2 * usize::from(votes[2] > votes[0]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(logit: f32, class: usize, neutral: Option<f32>) -> HeldOutItem {
        HeldOutItem { logit, neutral, votes: std::array::from_fn(|of| f32::from(u8::from(of == class))) }
    }

    #[test]
    fn the_parts_of_a_post_are_of_one_polarity_and_a_neutral_text_takes_any() {
        let texts: Vec<HeldOutItem> = (0..30).map(|at| item(at as f32, at % 3, Some(at as f32))).collect();
        let clips = [item(-100.0, 0, None), item(100.0, 2, None)];
        let subset = ModalitySet::from_presence(true, true, false);
        let posts = posts([&texts, &clips, &[]], subset, &mut StdRng::seed_from_u64(1));
        assert_eq!(posts.len(), POSTS);
        let mut of_neutral = [0, 0];
        for (post, class) in &posts {
            let clip = post.logits[1].unwrap();
            match class {
                1 => of_neutral[usize::from(clip > 0.0)] += 1,
                _ => assert_eq!(clip > 0.0, *class == 2),
            }
            assert_eq!((post.logits[0], post.logits[2]), (post.neutral, None));
        }
        assert!(of_neutral[0] > 800 && of_neutral[1] > 800, "{of_neutral:?}");
    }

    #[test]
    fn a_single_modality_is_measured_on_each_item_once_and_a_missing_one_not_at_all() {
        let texts: Vec<HeldOutItem> = (0..30).map(|at| item(at as f32, at % 3, None)).collect();
        let rng = &mut StdRng::seed_from_u64(1);
        assert_eq!(posts([&texts, &[], &[]], ModalitySet::from_presence(true, false, false), rng).len(), 30);
        assert!(posts([&texts, &[], &[]], ModalitySet::from_presence(true, false, true), rng).is_empty());
        assert!(posts([&texts, &[], &[]], ModalitySet::from_presence(false, true, false), rng).is_empty());
    }
}
