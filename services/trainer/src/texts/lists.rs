//! The lists in `data/` (its README says what they are).

use std::collections::HashMap;
use std::sync::LazyLock;

use super::item::Rating;

pub(super) const AUGMENTATION: &str = include_str!("../../data/augmentation.tsv");
pub(super) const RATINGS: &str = include_str!("../../data/ratings.tsv");
pub(super) const SLOTS: &str = include_str!("../../data/slots.tsv");
pub(super) const TEMPLATES: &str = include_str!("../../data/templates.tsv");

type Members = HashMap<&'static str, Vec<&'static str>>;

static LISTS: LazyLock<Members> = LazyLock::new(|| members(AUGMENTATION));
static SLOT_LISTS: LazyLock<Members> = LazyLock::new(|| members(SLOTS));
static RATING_LIST: LazyLock<HashMap<&'static str, Rating>> =
    LazyLock::new(|| lines(RATINGS).filter_map(|line| rating_of(&line)).collect());

/// Columns of each line that is no comment.
pub(super) fn lines(file: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    file.lines().filter(|line| !line.starts_with("# ")).map(|line| line.split('\t').collect())
}

fn members(file: &'static str) -> Members {
    let named = lines(file).filter_map(|line| match line[..] {
        [name, members] => Some((name, members.split('|').collect())),
        _ => None,
    });
    named.collect()
}

fn rating_of(line: &[&'static str]) -> Option<(&'static str, Rating)> {
    let &[name, negative, neutral, positive, mean] = line else { return None };
    let votes = [negative.parse().ok()?, neutral.parse().ok()?, positive.parse().ok()?];
    Some((name, Rating { votes, mean: mean.parse().ok()? }))
}

/// A list of the augmentation; none of that name is an empty one.
pub(super) fn list(name: &str) -> &'static [&'static str] {
    LISTS.get(name).map_or(&[], Vec::as_slice)
}

/// What may stand in a slot of a template.
pub(super) fn slot(name: &str) -> &'static [&'static str] {
    SLOT_LISTS.get(name).map_or(&[], Vec::as_slice)
}

/// A rating by its name; an unknown one has no feeling. A test holds that none is unknown.
pub(super) fn rating(name: &str) -> Rating {
    RATING_LIST.get(name).copied().unwrap_or(Rating { votes: [0.0, 1.0, 0.0], mean: 0.0 })
}
