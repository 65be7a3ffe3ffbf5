//! Known English words and how common they are: decides what a stretched word was and where joined words part.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

use super::steps::looked_at;

/// `word<TAB>count` in lines; data/known_words.py makes it.
const WORDS: &str = include_str!("../../data/known_words.tsv");

/// No word of the list is longer.
const LONGEST: usize = 20;
/// Joined words of more letters than this are left joined.
pub(super) const MAX_JOINED: usize = 40;

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| Lexicon::parse(WORDS));

/// The list, read once.
pub(super) fn lexicon() -> &'static Lexicon {
    &LEXICON
}

#[derive(Debug)]
pub(super) struct Lexicon {
    counts: HashMap<u128, u32, BuildHasherDefault<Multiply>>,
    total: f32,
}

impl Lexicon {
    fn parse(words: &str) -> Self {
        let entries = words.lines().filter_map(|line| {
            let (word, count) = line.split_once('\t')?;
            Some((packed(word.bytes())?, count.parse().ok()?))
        });
        let counts: HashMap<u128, u32, _> = entries.collect();
        let total = counts.values().map(|&count| count as f32).sum();
        Self { counts, total }
    }

    /// How often the lower-case `word` was seen; 0 for one that is not in the list.
    pub(super) fn count(&self, word: &str) -> u32 {
        looked_at(word.len().min(LONGEST));
        packed(word.bytes()).map_or(0, |key| self.of(key))
    }

    fn of(&self, key: u128) -> u32 {
        self.counts.get(&key).copied().unwrap_or(0)
    }

    /// Where words written together (`blacklivesmatter`) end, the last one's end included: the likeliest row of known
    /// words. `None` where there is none, for one word, and for rows that are no more than scraps.
    pub(super) fn ends_of_joined(&self, joined: &str) -> Option<Vec<usize>> {
        let letters = joined.as_bytes();
        if letters.len() > MAX_JOINED || self.count(joined) > 0 {
            return None;
        }
        // The cheapest way to each place: its cost, and where its last word begins.
        let mut best = vec![(f32::INFINITY, 0_usize); letters.len() + 1];
        best[0].0 = 0.0;
        for from in 0..letters.len() {
            if best[from].0.is_infinite() {
                continue;
            }
            let mut key = 0;
            for (to, letter) in letters.iter().enumerate().skip(from).take(LONGEST) {
                looked_at(1);
                key = key << 5 | code(*letter)?;
                let count = self.of(key);
                let cost = best[from].0 + (self.total / count as f32).ln();
                if count > 0 && cost < best[to + 1].0 {
                    best[to + 1] = (cost, from);
                }
            }
        }
        if best[letters.len()].0.is_infinite() {
            return None;
        }
        let mut ends = Vec::new();
        let (mut end, mut longest) = (letters.len(), 0);
        while end > 0 {
            ends.push(end);
            longest = longest.max(end - best[end].1);
            end = best[end].1;
        }
        ends.reverse();
        (longest >= 3 && 5 * ends.len() <= 2 * letters.len()).then_some(ends)
    }
}

/// Five bits a letter: as many as 25 letters fit.
fn packed(word: impl ExactSizeIterator<Item = u8>) -> Option<u128> {
    if word.len() > LONGEST {
        return None;
    }
    word.into_iter().try_fold(0, |key, byte| Some(key << 5 | code(byte)?))
}

fn code(letter: u8) -> Option<u128> {
    match letter {
        b'a'..=b'z' => Some(u128::from(letter - b'a') + 1),
        b'\'' => Some(27),
        _ => None,
    }
}

/// Keys are words of a fixed list: nobody outside can choose them so that they collide.
#[derive(Debug, Default)]
struct Multiply(u64);

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(29) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 ^= self.0 >> 32;
    }

    fn write_u128(&mut self, value: u128) {
        self.write_u64(value as u64);
        self.write_u64((value >> 64) as u64);
    }
}
