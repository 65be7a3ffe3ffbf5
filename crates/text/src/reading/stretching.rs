//! What a stretched word was: `soooo` is "so", `goooood` is "good".

use super::lexicon::lexicon;
use super::steps::looked_at;

/// A longer word carries no more meaning, and its n-grams would cost time.
pub(super) const MAX_WORD_CHARS: usize = 40;
/// Each stretched letter doubles the words that are looked up.
const MAX_STRETCHED_LETTERS: usize = 4;
/// A word that keeps two of a stretched letter is believed unless the one with a single letter is this much commoner:
/// "tooo" is "too", though "to" is ten times as common; "sooo" is "so".
const DOUBLE_OVER_SINGLE: u64 = 150;
/// What looks stretched and is not.
const NOT_STRETCHED: [&str; 5] = ["iii", "viii", "xiii", "xviii", "zzz"];

/// A lower-case word without the stretching, and whether there was any.
pub(super) fn squeezed(word: impl Iterator<Item = char>) -> (String, bool) {
    let mut runs = Runs::default();
    for c in word {
        looked_at(1);
        if !runs.add(c) {
            break;
        }
    }
    runs.squeezed()
}

/// A lower-case word as its characters and how often each stands in a row.
#[derive(Debug, Default)]
struct Runs {
    runs: Vec<(char, usize)>,
}

impl Runs {
    /// Appends `c`; whether there was room for it.
    fn add(&mut self, c: char) -> bool {
        if let Some((last, times)) = self.runs.last_mut()
            && *last == c
            // A character that stands twice in one run is a letter.
            && (*times > 1 || c.is_alphabetic())
        {
            *times += 1;
            return true;
        }
        let has_room = self.runs.len() < MAX_WORD_CHARS;
        if has_room {
            self.runs.push((c, 1));
        }
        has_room
    }

    /// The word without the stretching, and whether there was any.
    fn squeezed(&self) -> (String, bool) {
        let stretched: Vec<usize> = (0..self.runs.len()).filter(|&at| self.runs[at].1 > 2).collect();
        let doubled = self.written(|_| 2);
        if stretched.is_empty() {
            return (doubled, false);
        }
        if self.runs.iter().all(|run| run.1 <= 3) && NOT_STRETCHED.contains(&self.written(|_| 3).as_str()) {
            return (self.written(|_| 3), false);
        }
        if stretched.len() > MAX_STRETCHED_LETTERS {
            return (doubled, true);
        }
        let mut best = (0, doubled);
        for singles in 0_u32..1 << stretched.len() {
            let nth = |at: usize| stretched.iter().position(|&s| s == at);
            let is_single = |at: usize| nth(at).is_some_and(|nth| singles >> nth & 1 == 1);
            let candidate = self.written(|at| if is_single(at) { 1 } else { 2 });
            let doubles = stretched.len() as u32 - singles.count_ones();
            let weight = u64::from(lexicon().count(&candidate)) * DOUBLE_OVER_SINGLE.pow(doubles);
            if weight > best.0 {
                best = (weight, candidate);
            }
        }
        (best.1, true)
    }

    /// The word with at most `most(at)` letters of each run.
    fn written(&self, most: impl Fn(usize) -> usize) -> String {
        looked_at(self.runs.len());
        let letters = self.runs.iter().enumerate().flat_map(|(at, &(c, times))| {
            // Only letters are counted together.
            std::iter::repeat_n(c, times.min(most(at)))
        });
        letters.take(MAX_WORD_CHARS).collect()
    }
}
