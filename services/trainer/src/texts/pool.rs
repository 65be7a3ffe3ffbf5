//! All texts of a run, and which of them an epoch reads.

use std::ops::Range;

use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::augment::augmented;
use super::compose::{Pair, emoji_only, joins, pairs};
use super::item::{Origin, TrainingText};
use super::rated::{RatedText, is_sealed};
use super::templates::{Set, sentences};

/// Of the rated texts, this many are read as their changed copy in an epoch.
const AUGMENTED_SHARE: f64 = 0.5;
/// Templates trade some of the ratings' accuracy for negation, so an epoch reads only a part of them, another each time.
const SHORT_SHARE: f64 = 0.7;
const FULL_SHARE: f64 = 0.5;

/// How many texts of each made kind a pool has at most: fewer where too few rated texts are fit for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    pub joins: usize,
    pub pairs: usize,
    pub emoji_only: usize,
    /// Templates of one clause.
    pub short_templates: usize,
    /// Templates of a full sentence, and negations that are facts.
    pub full_templates: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { joins: 2_000, pairs: 3_000, emoji_only: 800, short_templates: 1_500, full_templates: 3_561 }
    }
}

impl Sizes {
    /// A little of each kind, for a trial run.
    pub const FEW: Self = Self { joins: 64, pairs: 64, emoji_only: 16, short_templates: 64, full_templates: 64 };
}

/// Streams of random numbers that do not depend on each other: more joins leave the templates as they are.
#[derive(Debug, Clone, Copy)]
enum Stream {
    Augmented,
    Joins,
    Pairs,
    EmojiOnly,
    ShortTemplates,
    FullTemplates,
    Epoch(usize),
}

impl Stream {
    fn seed(self, seed: u64) -> u64 {
        let number = match self {
            Self::Augmented => 1,
            Self::Joins => 2,
            Self::Pairs => 3,
            Self::EmojiOnly => 4,
            Self::ShortTemplates => 5,
            Self::FullTemplates => 6,
            Self::Epoch(epoch) => (epoch as u64).wrapping_add(16),
        };
        // Far apart, as seeds of neighbouring runs are near each other (the odd constant of splitmix64).
        seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number))
    }

    fn random(self, seed: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed(seed))
    }
}

/// All texts of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// First the rated texts, then as many changed copies in the same order, then what `drawn` names.
    texts: Vec<TrainingText>,
    rated: usize,
    /// Ranges of the texts, and the share of each that an epoch reads.
    drawn: Vec<(Range<usize>, f64)>,
}

impl Pool {
    /// The pool of these texts, of the usual [`Sizes`]. Texts of the sealed tenth are left out, should some be among them.
    pub fn new(rated: &[RatedText], seed: u64) -> Self {
        Self::with_sizes(rated, Sizes::default(), seed)
    }

    /// As [`new`](Self::new), with other sizes.
    pub fn with_sizes(rated: &[RatedText], sizes: Sizes, seed: u64) -> Self {
        let rated: Vec<RatedText> = rated.iter().filter(|text| !is_sealed(&text.group)).cloned().collect();
        let mut random = Stream::Augmented.random(seed);
        let one = |text: String, of: &RatedText, origin| TrainingText::new(text, &of.rating(), origin, Some(of.fold));
        let texts = rated.iter().map(|of| one(of.text.clone(), of, Origin::Rated));
        let copies = rated.iter().map(|of| one(augmented(&of.text, &of.rating(), &mut random), of, Origin::Augmented));
        let mut pool = Self { texts: texts.chain(copies).collect(), rated: rated.len(), drawn: Vec::new() };
        pool.add(joins(&rated, sizes.joins, &mut Stream::Joins.random(seed)), 1.0);
        pool.add(emoji_only(&rated, sizes.emoji_only, &mut Stream::EmojiOnly.random(seed)), 1.0);
        let pairs = pairs(&rated, Stream::Pairs.seed(seed), sizes.pairs);
        pool.add(pairs.into_iter().map(Pair::into_text), 1.0);
        for (set, stream, size, share) in [
            (Set::Short, Stream::ShortTemplates, sizes.short_templates, SHORT_SHARE),
            (Set::Full, Stream::FullTemplates, sizes.full_templates, FULL_SHARE),
        ] {
            let made = sentences(set, size, &mut stream.random(seed)).into_iter();
            pool.add(made.map(|(text, rating)| TrainingText::new(text, &rating, Origin::Template, None)), share);
        }
        pool
    }

    fn add(&mut self, texts: impl IntoIterator<Item = TrainingText>, share: f64) {
        let first = self.texts.len();
        self.texts.extend(texts);
        self.drawn.push((first..self.texts.len(), share));
    }

    /// The texts; [`epoch`](Self::epoch) gives positions in them.
    pub fn texts(&self) -> &[TrainingText] {
        &self.texts
    }

    /// What an epoch (from 0) reads, as positions in [`texts`](Self::texts) in ascending order; batches and their order are
    /// the caller's. Each rated text comes once, by an even chance as its changed copy; then joins, pairs and texts whose
    /// feeling is an emoji, and a share of the templates. Nothing that a text of the held-out fold has a part in is among
    /// them.
    pub fn epoch(&self, epoch: usize, seed: u64, held_out_fold: Option<u8>) -> Vec<usize> {
        let mut random = Stream::Epoch(epoch).random(seed);
        let is_read =
            |&at: &usize| self.texts.get(at).is_some_and(|text| text.fold.is_none() || text.fold != held_out_fold);
        let rated = 0..self.rated;
        let drawn = rated.map(|at| if random.random_bool(AUGMENTED_SHARE) { at + self.rated } else { at });
        let mut read: Vec<usize> = drawn.filter(is_read).collect();
        for (range, share) in &self.drawn {
            let kept: Vec<usize> = range.clone().filter(is_read).collect();
            let amount = (share * kept.len() as f64) as usize;
            read.extend(rand::seq::index::sample(&mut random, kept.len(), amount).into_iter().map(|at| kept[at]));
        }
        read.sort_unstable();
        read
    }
}
