//! Splits for a pack that names none.
//!
//! Posts that share a song, a picture, a text or a declared group must not be parted, so whole groups are dealt: the
//! largest first, equally large ones in the order of a hash, each to the split that it brings nearest to 80, 10 and
//! 10 % of the positive and of the negative posts. The outcome depends on the posts alone.

use std::collections::HashMap;

use super::bytes::sha256_hex;
use super::error::DatasetError;
use super::leaks::comparable;
use super::post::{Candidate, Post, Split};

/// Shares of train, validation and test.
const SHARES: [(Split, f64); 3] = [(Split::Train, 0.8), (Split::Validation, 0.1), (Split::Test, 0.1)];

/// Gives every candidate its split: the one it names, or one that is dealt when none of them names any.
pub(super) fn assign(candidates: Vec<Candidate>, path: &std::path::Path) -> Result<Vec<Post>, DatasetError> {
    let named = candidates.iter().find(|candidate| candidate.split.is_some());
    let unnamed = candidates.iter().find(|candidate| candidate.split.is_none());
    if let (Some(named), Some(unnamed)) = (named, unnamed) {
        return Err(DatasetError::Line {
            path: path.to_owned(),
            line: unnamed.line,
            reason: format!("no split, though line {} names one; name all or none", named.line),
        });
    }
    let splits = if named.is_some() { None } else { Some(deal(&candidates)) };
    if let Some(splits) = &splits {
        let count = |split| splits.iter().filter(|&&of| of == split).count();
        tracing::info!(
            path = %path.display(),
            train = count(Split::Train),
            validation = count(Split::Validation),
            test = count(Split::Test),
            "no split is named: posts were dealt 80/10/10 by groups that share a song, a picture or a text"
        );
    }
    let split = |at: usize, candidate: &Candidate| {
        candidate.split.or_else(|| splits.as_ref()?.get(at).copied()).unwrap_or(Split::Train)
    };
    let post = |(at, candidate): (usize, Candidate)| {
        let split = split(at, &candidate);
        candidate.in_split(split)
    };
    Ok(candidates.into_iter().enumerate().map(post).collect())
}

/// A split per candidate.
fn deal(candidates: &[Candidate]) -> Vec<Split> {
    let group = groups(candidates);
    let mut counts: HashMap<usize, [usize; 2]> = HashMap::new();
    for (candidate, &group) in candidates.iter().zip(&group) {
        counts.entry(group).or_default()[usize::from(candidate.positive)] += 1;
    }
    let mut order: Vec<(usize, [usize; 2])> = counts.into_iter().collect();
    // The group's first post names it.
    let hash = |group: usize| sha256_hex(candidates[group].id.as_bytes());
    order.sort_by_cached_key(|&(group, counts)| (std::cmp::Reverse(counts[0] + counts[1]), hash(group)));

    let positive = candidates.iter().filter(|candidate| candidate.positive).count();
    let wanted = SHARES.map(|(_, share)| [candidates.len() - positive, positive].map(|all| share * all as f64));
    let mut dealt = [[0_usize; 2]; 3];
    let mut split_of: HashMap<usize, usize> = HashMap::new();
    for (group, counts) in order {
        let gain = |split: usize| gain(wanted[split], dealt[split], counts);
        let best = (0..3).reduce(|best, split| if gain(split) > gain(best) { split } else { best }).unwrap_or(0);
        for (sum, count) in dealt[best].iter_mut().zip(counts) {
            *sum += count;
        }
        split_of.insert(group, best);
    }
    group.iter().map(|group| SHARES[split_of.get(group).copied().unwrap_or(0)].0).collect()
}

/// By how much the squared distance from what is wanted falls, in units of it, when a group joins a split.
fn gain(wanted: [f64; 2], dealt: [usize; 2], joins: [usize; 2]) -> f64 {
    let of_label = |label: usize| {
        let (wanted, dealt, joins) = (wanted[label], dealt[label] as f64, joins[label] as f64);
        let distance = |dealt: f64| (dealt - wanted).powi(2);
        if wanted > 0.0 { (distance(dealt) - distance(dealt + joins)) / wanted } else { 0.0 }
    };
    of_label(0) + of_label(1)
}

/// For each candidate the first one that it is tied to, directly or through others.
fn groups(candidates: &[Candidate]) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..candidates.len()).collect();
    let mut first_with: HashMap<(&str, String), usize> = HashMap::new();
    for (at, candidate) in candidates.iter().enumerate() {
        for tie in candidate.ties() {
            let other = *first_with.entry(tie).or_insert(at);
            let (a, b) = (root(&mut parent, at), root(&mut parent, other));
            parent[a.max(b)] = a.min(b);
        }
    }
    (0..candidates.len()).map(|at| root(&mut parent, at)).collect()
}

fn root(parent: &mut [usize], mut at: usize) -> usize {
    while parent[at] != at {
        parent[at] = parent[parent[at]];
        at = parent[at];
    }
    at
}

impl Candidate {
    /// What it may share with posts of its own split alone.
    fn ties(&self) -> Vec<(&'static str, String)> {
        let mut ties: Vec<(&str, String)> = self
            .texts
            .iter()
            .map(|part| ("text", comparable(&part.text)))
            .chain(self.group.clone().map(|group| ("group", group)))
            .collect();
        for (what, file) in [("audio", &self.audio), ("image", &self.image)] {
            ties.extend(file.as_ref().map(|file| (what, file.path.to_string_lossy().into_owned())));
        }
        ties.retain(|(_, value)| !value.is_empty());
        ties
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jtav_schemas::TextPart;
    use proptest::prelude::*;

    fn candidate(id: usize, positive: bool, group: Option<String>) -> Candidate {
        let texts = vec![TextPart { role: "body".to_owned(), text: format!("text {id}") }];
        Candidate {
            id: id.to_string(),
            line: id + 2,
            texts,
            audio: None,
            image: None,
            positive,
            mood: None,
            split: None,
            group,
        }
    }

    #[test]
    fn single_posts_are_dealt_eighty_ten_ten_within_each_label() {
        let candidates: Vec<Candidate> = (0..1000).map(|id| candidate(id, id % 10 < 7, None)).collect();
        let splits = deal(&candidates);
        for (label, all) in [(true, 700), (false, 300)] {
            for (split, share) in SHARES {
                let found = candidates.iter().zip(&splits).filter(|(c, s)| c.positive == label && **s == split).count();
                assert_eq!(found, (share * f64::from(all)).round() as usize, "{label} {split}");
            }
        }
        assert_eq!(splits, deal(&candidates));
    }

    #[test]
    fn ties_reach_through_other_posts() {
        let mut candidates: Vec<Candidate> = (0..4).map(|id| candidate(id, true, None)).collect();
        candidates[0].group = Some("song".to_owned());
        candidates[2].group = Some("song".to_owned());
        candidates[3].texts = vec![TextPart { role: "caption".to_owned(), text: " TEXT 2".to_owned() }];
        assert_eq!(groups(&candidates), [0, 1, 0, 0]);
    }

    proptest! {
        #[test]
        fn a_group_is_never_parted_and_no_split_is_far_from_its_share(
            drawn in prop::collection::vec((any::<bool>(), 0_usize..40), 60..200)
        ) {
            let candidates: Vec<Candidate> = drawn
                .iter()
                .enumerate()
                .map(|(id, &(positive, group))| candidate(id, positive, Some(group.to_string())))
                .collect();
            let splits = deal(&candidates);
            let mut of_group: HashMap<usize, Split> = HashMap::new();
            for (&(_, group), &split) in drawn.iter().zip(&splits) {
                prop_assert_eq!(*of_group.entry(group).or_insert(split), split);
            }
            let largest = (0..40).map(|g| drawn.iter().filter(|d| d.1 == g).count()).max().unwrap_or(0) as f64;
            for (split, share) in SHARES {
                let found = splits.iter().filter(|&&of| of == split).count() as f64;
                prop_assert!((found - share * drawn.len() as f64).abs() <= 2.0 * largest, "{split}: {found} of {}", drawn.len());
            }
        }
    }
}
