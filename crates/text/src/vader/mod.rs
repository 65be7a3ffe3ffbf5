//! VADER, a sentiment score from a lexicon and a dozen rules (Hutto and Gilbert 2014).
//!
//! Written after vaderSentiment 3.3.2 rule by rule, its quirks included, so that figures measured with the original hold
//! here. `data/VADER-LICENSE.txt` names where the lexicon comes from. What differs:
//!
//! - the original rounds the score to four decimals, [`Vader::compound`] does not;
//! - it reads a text to its end in quadratic time, this one its first [`MAX_CHARACTERS`] and [`MAX_WORDS`] in linear time.
//!
//! As in the original, an emoji is read as its description ("face with tears of joy"), one code point at a time: what
//! follows an emoji without a blank, a variation selector for instance, sticks to the description's last word and hides
//! it from the lexicon. Contractions are known with the straight apostrophe and without one ("wasn't", "wasnt"), not
//! with the curly one.

mod lexicon;
mod rules;
mod words;

pub use words::{MAX_CHARACTERS, MAX_WORDS};

use lexicon::Lexicon;

/// Stands in for the largest sum that one would expect (the original's `alpha`).
const ALPHA: f64 = 15.0;

/// VADER's lexicon and rules. It costs nothing to copy: the lexicon is parsed once in a process.
#[derive(Debug, Clone, Copy)]
pub struct Vader {
    lexicon: &'static Lexicon,
}

impl Vader {
    /// The first call in a process parses the lexicon, which takes about a millisecond.
    pub fn new() -> Self {
        Self { lexicon: Lexicon::shared() }
    }

    /// The compound score of a text: −1 (most negative) to 1 (most positive), 0 for a text without words or without a
    /// word of the lexicon. Its authors call ±0.05 the borders of what is neutral.
    pub fn compound(&self, text: &str) -> f32 {
        let text = words::described(text, self.lexicon);
        let words = words::words(&text, self.lexicon);
        let mut sum: f64 = rules::valences(&words).iter().sum();
        let emphasis = rules::emphasis(&text);
        if sum > 0.0 {
            sum += emphasis;
        } else if sum < 0.0 {
            sum -= emphasis;
        }
        (sum / (sum * sum + ALPHA).sqrt()).clamp(-1.0, 1.0) as f32
    }
}

impl Default for Vader {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_without_a_word_of_the_lexicon_is_neutral() {
        for text in ["", " \n", "!!!", "the table is a table?!", "\u{0}", "—"] {
            assert_eq!(Vader::new().compound(text), 0.0, "{text:?}");
        }
    }

    #[test]
    fn what_comes_after_the_limits_does_not_count() {
        let vader = Vader::new();
        let words = format!("{}bad", "good ".repeat(MAX_WORDS));
        assert_eq!(vader.compound(&words), vader.compound(&words[..words.len() - 4]));
        let characters = format!("good {} bad", "a".repeat(MAX_CHARACTERS));
        assert_eq!(vader.compound(&characters), vader.compound("good"));
    }

    proptest! {
        #[test]
        fn a_score_stays_within_its_bounds_whatever_the_text(text in "\\PC{0,200}") {
            prop_assert!(Vader::new().compound(&text).abs() <= 1.0);
        }

        #[test]
        fn words_that_rules_look_for_panic_in_no_order(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "good", "BAD", "no", "NO", "or", "nor", "never", "so", "this", "without", "doubt", "kind", "of", "least",
                    "at", "very", "VERY", "but", "isn't", "the", "bomb", "to", "die", "for", "😀", "❤\u{fe0f}", ":)", "!?", "x",
                ]),
                0..60,
            ),
        ) {
            let score = Vader::new().compound(&words.join(" "));
            prop_assert!(score.abs() <= 1.0);
            prop_assert!(!score.is_nan());
        }
    }
}
