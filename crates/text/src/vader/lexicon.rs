//! What single words say, and what emoji stand for.

use std::collections::HashMap;
use std::sync::LazyLock;

/// By how much a word like "very" strengthens the next one of the lexicon.
const INCREASE: f64 = 0.293;

/// By how much a word like "hardly" weakens it.
pub(super) const DECREASE: f64 = -0.293;

/// `word<tab>mean valence`, −4 to 4.
const VALENCES: &str = include_str!("../../data/vader_lexicon.tsv");

/// `emoji<tab>description`, one code point each.
const EMOJI: &str = include_str!("../../data/vader_emoji.tsv");

const INTENSIFIERS: &str = "absolutely amazingly awfully completely considerable considerably decidedly deeply effing enormous \
    enormously entirely especially exceptional exceptionally extreme extremely fabulously flipping flippin frackin fracking \
    fricking frickin frigging friggin fully fuckin fucking fuggin fugging greatly hella highly hugely incredible incredibly \
    intensely major majorly more most particularly purely quite really remarkably so substantially thoroughly total totally \
    tremendous tremendously uber unbelievably unusually utter utterly very";

const DAMPENERS: &str = "almost barely hardly kinda kindof kind-of less little marginal marginally occasional occasionally partly \
    scarce scarcely slight slightly somewhat sorta sortof sort-of";

const NEGATIONS: &str = "aint arent cannot cant couldnt darent didnt doesnt ain't aren't can't couldn't daren't didn't doesn't dont \
    hadnt hasnt havent isnt mightnt mustnt neither don't hadn't hasn't haven't isn't mightn't mustn't neednt needn't never none \
    nope nor not nothing nowhere oughtnt shant shouldnt uhuh wasnt werent oughtn't shan't shouldn't uh-uh wasn't weren't without \
    wont wouldnt won't wouldn't rarely seldom despite";

/// What the tables say of a word in lower case.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Entry {
    /// Its mean rating, −4 to 4, where it is a word of the lexicon.
    pub(super) valence: Option<f64>,
    /// What it adds to a valence above zero nearby; not 0 for an intensifier or a dampener.
    pub(super) boost: f64,
    /// Whether it turns the words after it round.
    pub(super) negates: bool,
}

/// The tables, parsed.
#[derive(Debug)]
pub(super) struct Lexicon {
    entries: HashMap<&'static str, Entry>,
    emoji: HashMap<char, &'static str>,
}

impl Lexicon {
    /// Parsed by the first who asks.
    pub(super) fn shared() -> &'static Self {
        static LEXICON: LazyLock<Lexicon> = LazyLock::new(Lexicon::parse);
        &LEXICON
    }

    fn parse() -> Self {
        let mut entries: HashMap<&str, Entry> = HashMap::with_capacity(8_192);
        for (word, valence) in VALENCES.lines().filter_map(|line| line.split_once('\t')) {
            entries.entry(word).or_default().valence = valence.parse().ok();
        }
        for (words, boost) in [(INTENSIFIERS, INCREASE), (DAMPENERS, DECREASE)] {
            for word in words.split_ascii_whitespace() {
                entries.entry(word).or_default().boost = boost;
            }
        }
        for word in NEGATIONS.split_ascii_whitespace() {
            entries.entry(word).or_default().negates = true;
        }
        let emoji = EMOJI
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter_map(|(emoji, description)| Some((emoji.chars().next()?, description)))
            .collect();
        Self { entries, emoji }
    }

    /// What the tables say of a word in lower case; every "n't" negates.
    pub(super) fn entry(&self, word: &str) -> Entry {
        let entry = self.entries.get(word).copied().unwrap_or_default();
        Entry { negates: entry.negates || word.contains("n't"), ..entry }
    }

    /// The description of an emoji.
    pub(super) fn description(&self, emoji: char) -> Option<&'static str> {
        // No emoji of the table is ASCII, and most characters of a text are.
        if emoji.is_ascii() { None } else { self.emoji.get(&emoji).copied() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_tables_is_read() {
        let lexicon = Lexicon::shared();
        let rated = lexicon.entries.values().filter(|entry| entry.valence.is_some()).count();
        assert_eq!((rated, lexicon.emoji.len()), (VALENCES.lines().count(), EMOJI.lines().count()));
        assert!(lexicon.entries.values().all(|entry| entry.valence.is_none_or(|valence| valence.abs() <= 4.0)));
        assert!(lexicon.emoji.keys().all(|emoji| !emoji.is_ascii()));
    }

    #[test]
    fn a_word_can_be_rated_and_strengthen_and_negate() {
        let lexicon = Lexicon::shared();
        assert_eq!(lexicon.entry("good"), Entry { valence: Some(1.9), ..Entry::default() });
        assert_eq!(lexicon.entry("very").boost, INCREASE);
        assert_eq!(lexicon.entry("sort-of").boost, DECREASE);
        assert!(lexicon.entry("despite").negates && lexicon.entry("y'alln't").negates);
        assert_eq!(lexicon.entry("table"), Entry::default());
    }
}
