//! What examples have in common, and so what must be drawn again together when one asks how far a figure would move.

use std::collections::{BTreeMap, HashMap};

use jtav_model::{Modality, ModalitySet};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::dataset::{Post, comparable};

/// The items that some examples are made of. Examples of one part each belong to one item: copies of a text, say. Posts of
/// several parts belong to one item of each (a text, a clip, a picture), and each kind is drawn by itself: a post then
/// counts as often as the product says (Owen 2007, "The pigeonhole bootstrap"). Groups of posts that share anything would
/// be no substitute: by way of others, nearly all posts of a pack share something with one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    examples: usize,
    /// For each kind the item of each example, numbered from 0 without a gap.
    kinds: Vec<Vec<usize>>,
    /// Items of each kind.
    counts: Vec<usize>,
}

impl Items {
    /// Every example is an item of its own.
    pub fn apart(examples: usize) -> Self {
        Self { examples, kinds: vec![(0..examples).collect()], counts: vec![examples] }
    }

    /// Of one kind, by the name of each example's item.
    pub fn of_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::of_kinds(vec![names.into_iter().map(|name| Some(name.to_owned())).collect()])
    }

    /// Of several kinds, by the name of each example's item; one that has none of a kind is an item of it by itself. The
    /// lists are of equal length; of none at all there is no example.
    pub fn of_kinds(kinds: Vec<Vec<Option<String>>>) -> Self {
        let examples = kinds.iter().map(Vec::len).min().unwrap_or(0);
        let (kinds, counts) = kinds.iter().map(|names| numbered(&names[..examples])).unzip();
        Self { examples, kinds, counts }
    }

    /// Examples.
    pub fn examples(&self) -> usize {
        self.examples
    }

    /// Items, of the kind of which there are fewest: what a figure rests on.
    pub fn fewest(&self) -> usize {
        self.counts.iter().copied().min().unwrap_or(0)
    }

    /// Those of some of the examples, by position.
    #[must_use]
    pub fn of(&self, examples: &[usize]) -> Self {
        let (kinds, counts) = self.kinds.iter().map(|items| renumbered(examples, items)).unzip();
        Self { examples: examples.len(), kinds, counts }
    }

    /// Draws as many items of each kind as there are, with replacement: how often each example is counted.
    pub fn draw(&self, random: &mut StdRng, times: &mut Vec<usize>) {
        times.clear();
        times.resize(self.examples, 1);
        for (items, &count) in self.kinds.iter().zip(&self.counts) {
            let mut of_item = vec![0_usize; count];
            for _ in 0..count {
                of_item[random.random_range(0..count)] += 1;
            }
            for (times, &item) in times.iter_mut().zip(items) {
                *times *= of_item[item];
            }
        }
    }

    /// A number between 0 and 1 for each example, all equally likely; examples that share an item have numbers that go
    /// together, the more so the fewer kinds there are, and the same one where they share all. The normal quantile of each
    /// is the sum of one normal number for each item, over the root of the kinds.
    pub(crate) fn luck(&self, random: &mut StdRng) -> Vec<f64> {
        let mut sums = vec![0.0; self.examples];
        for (items, &count) in self.kinds.iter().zip(&self.counts) {
            let of_item: Vec<f64> = (0..count).map(|_| normal(random)).collect();
            for (sum, &item) in sums.iter_mut().zip(items) {
                *sum += of_item[item];
            }
        }
        let root = (self.kinds.len() as f64).sqrt();
        sums.into_iter().map(|sum| share_below(sum / root)).collect()
    }
}

/// The items of posts, by what a subset of modalities leaves of them: texts by what they say, media by their files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostItems {
    posts: usize,
    /// Text, audio, image.
    names: [Vec<Option<String>>; 3],
}

impl PostItems {
    pub fn of_posts(posts: &[&Post]) -> Self {
        let text = |post: &&Post| {
            let said: Vec<String> = post.texts.iter().map(|part| comparable(&part.text)).collect();
            (!said.is_empty()).then(|| said.join("\n"))
        };
        let path = |file: &crate::dataset::MediaFile| file.path.to_string_lossy().into_owned();
        let names = [
            posts.iter().map(text).collect(),
            posts.iter().map(|post| post.audio.as_deref().map(path)).collect(),
            posts.iter().map(|post| post.image.as_deref().map(path)).collect(),
        ];
        Self { posts: posts.len(), names }
    }

    /// Posts that share nothing.
    pub fn apart(posts: usize) -> Self {
        Self { posts, names: std::array::from_fn(|_| vec![None; posts]) }
    }

    /// By the names of each post's text, clip and picture; an empty list is a kind that no post has.
    #[cfg(test)]
    pub(crate) fn of_names(names: [Vec<String>; 3]) -> Self {
        let posts = names.iter().map(Vec::len).max().unwrap_or(0);
        let padded = |names: Vec<String>| {
            let mut names: Vec<Option<String>> = names.into_iter().map(Some).collect();
            names.resize(posts, None);
            names
        };
        Self { posts, names: names.map(padded) }
    }

    /// How many posts.
    pub fn posts(&self) -> usize {
        self.posts
    }

    pub fn of_subset(&self, subset: ModalitySet) -> Items {
        let kept = Modality::ALL.into_iter().zip(&self.names).filter(|(modality, _)| subset.contains(*modality));
        // A kind of which no post has any would draw the posts a second time.
        let kinds: Vec<_> =
            kept.filter(|(_, names)| names.iter().any(Option::is_some)).map(|(_, n)| n.clone()).collect();
        if kinds.is_empty() { Items::apart(self.posts) } else { Items::of_kinds(kinds) }
    }
}

/// In the order of the names, so that the order of the examples decides nothing; those without one come last.
fn numbered(names: &[Option<String>]) -> (Vec<usize>, usize) {
    let mut numbers: BTreeMap<&str, usize> = names.iter().flatten().map(|name| (name.as_str(), 0)).collect();
    for (number, place) in numbers.values_mut().enumerate() {
        *place = number;
    }
    let mut next = numbers.len();
    let items = names
        .iter()
        .map(|name| {
            name.as_deref().and_then(|name| numbers.get(name).copied()).unwrap_or_else(|| {
                next += 1;
                next - 1
            })
        })
        .collect();
    (items, next)
}

fn renumbered(examples: &[usize], items: &[usize]) -> (Vec<usize>, usize) {
    let kept: Vec<usize> = examples.iter().map(|&at| items[at]).collect();
    let mut sorted = kept.clone();
    sorted.sort_unstable();
    sorted.dedup();
    let numbers: HashMap<usize, usize> = sorted.iter().enumerate().map(|(number, &item)| (item, number)).collect();
    (kept.iter().map(|item| numbers[item]).collect(), sorted.len())
}

/// Of the standard normal distribution (Box and Muller 1958).
fn normal(random: &mut StdRng) -> f64 {
    let (size, angle): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - size).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// Share of the standard normal distribution below `x`, within 1e-7 (Abramowitz and Stegun 1964, 7.1.26).
fn share_below(x: f64) -> f64 {
    const FACTORS: [f64; 5] = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let size = x.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * size);
    let tail = FACTORS.iter().fold(0.0, |sum, factor| (sum + factor) * t) * (-size * size).exp() / 2.0;
    if x > 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    fn times(items: &Items, seed: u64) -> Vec<usize> {
        let mut times = Vec::new();
        items.draw(&mut StdRng::seed_from_u64(seed), &mut times);
        times
    }

    fn named(names: &str) -> Vec<Option<String>> {
        names.chars().map(|name| (name != '-').then(|| name.to_string())).collect()
    }

    #[test]
    fn examples_of_one_item_are_drawn_together_and_one_without_is_an_item_by_itself() {
        let items = Items::of_kinds(vec![named("abab--")]);
        assert_eq!((items.examples(), items.fewest()), (6, 4));
        for seed in 0..20 {
            let times = times(&items, seed);
            assert_eq!((times[0], times[1]), (times[2], times[3]));
            assert_eq!(times[0] + times[1] + times[4] + times[5], 4);
        }
    }

    #[test]
    fn a_post_counts_as_often_as_its_text_times_its_picture() {
        let both = Items::of_kinds(vec![named("abcd"), named("xxyy")]);
        assert_eq!(both.fewest(), 2);
        for seed in 0..20 {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut texts, mut pictures) = (Vec::new(), Vec::new());
            Items::apart(4).draw(&mut random, &mut texts);
            Items::of_kinds(vec![named("xxyy")]).draw(&mut random, &mut pictures);
            let expected: Vec<usize> = texts.iter().zip(&pictures).map(|(text, picture)| text * picture).collect();
            assert_eq!(times(&both, seed), expected);
        }
    }

    #[test]
    fn some_of_the_examples_have_the_items_that_those_have() {
        let items = Items::of_kinds(vec![named("abcab-")]);
        assert_eq!(items.of(&[1, 4, 5]), Items { examples: 3, kinds: vec![vec![0, 0, 1]], counts: vec![2] });
        assert_eq!(items.of(&[]).fewest(), 0);
        assert_eq!(Items::of_kinds(Vec::new()).examples(), 0);
    }

    #[test]
    fn luck_is_even_and_shared_by_those_who_share_all() {
        let items = Items::of_kinds(vec![named("aabc"), named("xxxy")]);
        let mut random = StdRng::seed_from_u64(1);
        let drawn: Vec<Vec<f64>> = (0..4000).map(|_| items.luck(&mut random)).collect();
        assert!(drawn.iter().all(|luck| luck[0] == luck[1] && luck.iter().all(|l| (0.0..=1.0).contains(l))));
        for at in 0..4 {
            let below = drawn.iter().filter(|luck| luck[at] < 0.3).count() as f64 / 4000.0;
            assert!((below - 0.3).abs() < 0.03, "{at}: {below}");
        }
        let together = |a: usize, b: usize| {
            drawn.iter().map(|luck| (luck[a] - 0.5) * (luck[b] - 0.5) * 12.0).sum::<f64>() / 4000.0
        };
        // Uniform numbers of a correlation of one half between the normal ones: 6 / pi asin(1 / 4) = .483.
        assert!((together(0, 2) - 0.483).abs() < 0.05 && together(0, 3).abs() < 0.05, "{}", together(0, 2));
    }

    /// Table 26.1 of Abramowitz and Stegun.
    #[test]
    fn the_normal_distribution_is_that_of_the_tables() {
        for (x, share) in [(0.0, 0.5), (1.0, 0.841_344_746), (-1.0, 0.158_655_254), (1.96, 0.975_002_105), (9.0, 1.0)] {
            assert!((share_below(x) - share).abs() < 2e-7, "{x}: {}", share_below(x));
        }
    }

    proptest! {
        #[test]
        fn the_order_of_the_names_decides_the_numbers_and_every_number_is_there(
            names in prop::collection::vec(prop::option::of(0_u8..5), 0..30),
        ) {
            let names: Vec<Option<String>> = names.iter().map(|name| name.map(|n| n.to_string())).collect();
            let (items, count) = numbered(&names);
            let found: std::collections::BTreeSet<usize> = items.iter().copied().collect();
            prop_assert_eq!(found, (0..count).collect());
            for (a, b) in (0..names.len()).flat_map(|a| (0..names.len()).map(move |b| (a, b))) {
                let is_one = a == b || (names[a].is_some() && names[a] == names[b]);
                prop_assert_eq!(items[a] == items[b], is_one);
            }
        }
    }
}
