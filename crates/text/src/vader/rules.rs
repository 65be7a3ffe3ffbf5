//! The rules: how words change the valence of words near them.

use std::collections::BTreeSet;

use super::lexicon::DECREASE;
use super::words::Word;

/// What capitals add among words that are not.
const SHOUT: f64 = 0.733;

/// What a negation makes of a valence.
const NEGATED: f64 = -0.74;

/// How much the first, second and third word before another count for it.
const NEARNESS: [f64; 3] = [1.0, 0.95, 0.9];

/// Phrases whose valence is not that of their words.
const PHRASES: [(&[&str], f64); 8] = [
    (&["the", "shit"], 3.0),
    (&["the", "bomb"], 3.0),
    (&["bad", "ass"], 1.5),
    (&["bus", "stop"], 0.0),
    (&["yeah", "right"], -2.0),
    (&["kiss", "of", "death"], -1.5),
    (&["to", "die", "for"], 3.0),
    (&["beating", "heart"], 3.5),
];

/// Dampeners of two words.
const DAMPENING_PAIRS: [[&str; 2]; 3] = [["just", "enough"], ["kind", "of"], ["sort", "of"]];

/// The valence of every word in its place.
pub(super) fn valences(words: &[Word]) -> Vec<f64> {
    let upper = words.iter().filter(|word| word.is_upper).count();
    let context = Context { words, is_mixed: 0 < upper && upper < words.len() };
    let mut valences: Vec<f64> = (0..words.len()).map(|at| context.valence(at)).collect();
    if let Some(but) = words.iter().position(|word| word.lower == "but") {
        weigh_around_but(&mut valences, but);
    }
    valences
}

/// What exclamation and question marks add to the size of the sum.
pub(super) fn emphasis(text: &str) -> f64 {
    let count = |mark| text.bytes().filter(|&byte| byte == mark).count();
    let questions = match count(b'?') {
        0 | 1 => 0.0,
        few @ (2 | 3) => few as f64 * 0.18,
        _ => 0.96,
    };
    count(b'!').min(4) as f64 * 0.292 + questions
}

struct Context<'a> {
    words: &'a [Word<'a>],
    /// Some words are in capitals and some are not, so that capitals mean something.
    is_mixed: bool,
}

impl Context<'_> {
    /// The word so many places before another.
    fn before(&self, at: usize, distance: usize) -> Option<&Word<'_>> {
        self.words.get(at.checked_sub(distance)?)
    }

    fn is_before(&self, at: usize, distance: usize, any_of: &[&str]) -> bool {
        self.before(at, distance).is_some_and(|word| any_of.contains(&&*word.lower))
    }

    fn valence(&self, at: usize) -> f64 {
        let word = &self.words[at];
        let next = self.words.get(at + 1);
        let is_modifier =
            word.entry.boost != 0.0 || (word.lower == "kind" && next.is_some_and(|next| next.lower == "of"));
        let Some(own) = word.entry.valence.filter(|_| !is_modifier) else { return 0.0 };
        let mut valence = own;
        if word.lower == "no" && next.is_some_and(|next| next.entry.valence.is_some()) {
            valence = 0.0;
        }
        let no = |distance| self.is_before(at, distance, &["no"]);
        if no(1) || no(2) || (no(3) && self.is_before(at, 1, &["or", "nor"])) {
            valence = own * NEGATED;
        }
        if word.is_upper && self.is_mixed {
            valence += if valence > 0.0 { SHOUT } else { -SHOUT };
        }
        for (distance, nearness) in (1..).zip(NEARNESS) {
            let Some(before) = self.before(at, distance) else { break };
            if before.entry.valence.is_some() {
                continue;
            }
            valence += self.boost(before, valence) * nearness;
            valence *= self.negation(at, distance, before.entry.negates);
            if distance == 3 {
                valence = self.phrases(at, valence);
            }
        }
        valence * self.least(at)
    }

    /// What an intensifier or dampener adds to a valence.
    fn boost(&self, booster: &Word, valence: f64) -> f64 {
        let boost = booster.entry.boost;
        if boost == 0.0 {
            return 0.0;
        }
        let shout = if booster.is_upper && self.is_mixed { SHOUT } else { 0.0 };
        (if valence < 0.0 { -boost } else { boost }) + if valence > 0.0 { shout } else { -shout }
    }

    /// The factor of the word so far before another: "never so" and "never this" strengthen, "without doubt" does
    /// nothing, and of three words back any "so" or "this" right before strengthens, as in the original.
    fn negation(&self, at: usize, distance: usize, negates: bool) -> f64 {
        let is = |distance, any_of: &[&str]| self.is_before(at, distance, any_of);
        let so: &[&str] = &["so", "this"];
        let (strengthens, is_certain) = match distance {
            2 => (is(2, &["never"]) && is(1, so), is(2, &["without"]) && is(1, &["doubt"])),
            3 => (
                (is(3, &["never"]) && is(2, so)) || is(1, so),
                is(3, &["without"]) && (is(2, &["doubt"]) || is(1, &["doubt"])),
            ),
            _ => (false, false),
        };
        match (strengthens, is_certain, negates) {
            (true, _, _) => 1.25,
            (false, false, true) => NEGATED,
            _ => 1.0,
        }
    }

    /// Phrases around the word at `at`, which has three before it. The first that ends with it or before it sets the
    /// valence, one that begins with it overrides that, and a pair like "kind of" before it dampens.
    fn phrases(&self, at: usize, mut valence: f64) -> f64 {
        let phrase = |from: usize, words: usize| {
            let words = self.words.get(from..from + words)?;
            let is =
                |phrase: &[&str]| phrase.len() == words.len() && phrase.iter().zip(words).all(|(a, b)| *a == b.lower);
            PHRASES.iter().find(|(phrase, _)| is(phrase)).map(|(_, valence)| *valence)
        };
        let ending = [(at - 1, 2), (at - 2, 3), (at - 2, 2), (at - 3, 3), (at - 3, 2)];
        let beginning = [(at, 3), (at, 2)];
        let found = |places: &[(usize, usize)]| places.iter().find_map(|&(from, words)| phrase(from, words));
        if let Some(other) = found(&beginning).or_else(|| found(&ending)) {
            valence = other;
        }
        for from in [at - 3, at - 2] {
            let is_pair = |pair: &[&str; 2]| self.words[from].lower == pair[0] && self.words[from + 1].lower == pair[1];
            if DAMPENING_PAIRS.iter().any(is_pair) {
                valence += DECREASE;
            }
        }
        valence
    }

    /// "least" negates, "at least" and "very least" do not.
    fn least(&self, at: usize) -> f64 {
        if self.is_before(at, 1, &["least"]) && !self.is_before(at, 2, &["at", "very"]) { NEGATED } else { 1.0 }
    }
}

/// Halves what comes before a "but", adds half to what comes after.
///
/// The original looks up each value's place by the value, so that of two equal ones it weighs the first, and twice if
/// that is what it then finds: `valences[first equal] *= weight(first equal)`, place by place. Kept, with an ordered set
/// of what was passed instead of a search.
fn weigh_around_but(valences: &mut [f64], but: usize) {
    let mut passed = BTreeSet::new();
    for at in 0..valences.len() {
        let bits = valences[at].to_bits();
        // A zero stays one, whichever is weighed.
        if valences[at] == 0.0 {
            continue;
        }
        passed.insert((bits, at));
        let Some(&(_, first)) = passed.range((bits, 0)..).next() else { continue };
        let weight = match first.cmp(&but) {
            std::cmp::Ordering::Less => 0.5,
            std::cmp::Ordering::Equal => continue,
            std::cmp::Ordering::Greater => 1.5,
        };
        passed.remove(&(bits, first));
        valences[first] *= weight;
        passed.insert((valences[first].to_bits(), first));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The original's loop, word for word.
    fn searched(valences: &mut [f64], but: usize) {
        for at in 0..valences.len() {
            let Some(first) = valences.iter().position(|other| *other == valences[at]) else { continue };
            if first < but {
                valences[first] *= 0.5;
            } else if first > but {
                valences[first] *= 1.5;
            }
        }
    }

    proptest! {
        #[test]
        fn weights_around_a_but_are_those_of_the_quadratic_search(
            halves in prop::collection::vec(-4_i8..=4, 1..80), but in 0_usize..80,
        ) {
            let mut valences: Vec<f64> = halves.iter().map(|&half| f64::from(half) / 2.0).collect();
            let but = but % valences.len();
            valences[but] = 0.0;
            let mut expected = valences.clone();
            searched(&mut expected, but);
            weigh_around_but(&mut valences, but);
            prop_assert_eq!(valences, expected);
        }
    }

    #[test]
    fn marks_count_up_to_four_and_question_marks_from_two() {
        let close = |text, expected: f64| assert!((emphasis(text) - expected).abs() < 1e-12, "{text}");
        close("a! b?", 0.292);
        close("??", 0.36);
        close("??? !!!!!!", 0.54 + 4.0 * 0.292);
        close("????", 0.96);
    }
}
