//! The words of a text as they are found.

use std::ops::Range;

use super::emoji::words_of_name;
use super::lexicon::{MAX_JOINED, lexicon};
use super::steps::looked_at;
use super::stretching::squeezed;
use super::word::{ReadWord, Reading, WordKind};

/// One emoji or emoticon in a row is written this often at most.
const MAX_EQUAL_SYMBOLS: usize = 2;
/// So too tokens of punctuation without a word between them, and equal marks in one token.
const MAX_PUNCTUATION: usize = 3;
/// Fewer single letters in a row are an abbreviation, a list, or "I".
const MIN_SPACED_LETTERS: usize = 4;

#[derive(Debug)]
pub(super) struct Output<'a> {
    text: &'a str,
    words: Vec<ReadWord>,
    max_words: usize,
    /// From here on there are only single letters; the number of words where there are none.
    letters_from: usize,
    /// The emoji or emoticon that was last: its name, how often it came, where its words begin.
    symbol: Option<(&'static str, usize, usize)>,
    punctuation: usize,
}

impl<'a> Output<'a> {
    pub(super) fn new(text: &'a str, max_words: usize) -> Self {
        // An average English word has five letters and a blank.
        let words = Vec::with_capacity(max_words.saturating_add(1).min(text.len() / 5 + 1));
        Self { text, words, max_words, letters_from: 0, symbol: None, punctuation: 0 }
    }

    /// Whether there are more words than are read.
    pub(super) fn is_full(&self) -> bool {
        self.letters_from > self.max_words
    }

    /// A token of `mark`, unless there were enough of them since the last word.
    pub(super) fn push_punctuation(&mut self, mark: char, times: usize, source: Range<usize>) {
        if self.punctuation == MAX_PUNCTUATION {
            return;
        }
        let text = std::iter::repeat_n(mark, times.min(MAX_PUNCTUATION)).collect();
        let kind = WordKind::Punctuation;
        let punctuation = self.punctuation + 1;
        self.push(ReadWord { text, kind, source, shouted: false, stretched: times > 1 });
        self.punctuation = punctuation;
    }

    pub(super) fn push(&mut self, word: ReadWord) {
        self.symbol = None;
        self.punctuation = 0;
        let may_be_spaced = matches!(word.kind, WordKind::Word | WordKind::Hashtag) && word.text.len() == 1;
        if !may_be_spaced || self.words.len() - self.letters_from == MAX_JOINED {
            self.join_letters();
        }
        self.words.push(word);
        if !may_be_spaced {
            self.letters_from = self.words.len();
        }
    }

    /// The words of a symbol's name, unless it is the same one again and again: then the last one's range grows.
    pub(super) fn push_symbol(&mut self, name: &'static str, kind: WordKind, source: Range<usize>) {
        looked_at(name.len());
        let (times, from) = match self.symbol {
            Some((last, times, from)) if last == name => (times + 1, from),
            _ => (1, 0),
        };
        if times > MAX_EQUAL_SYMBOLS {
            self.words[from..].iter_mut().for_each(|word| word.source.end = source.end);
            return;
        }
        self.join_letters();
        let from = self.words.len();
        self.words.extend(words_of_name(name).map(|text| ReadWord {
            text,
            kind,
            source: source.clone(),
            shouted: false,
            stretched: false,
        }));
        self.letters_from = self.words.len();
        self.punctuation = 0;
        self.symbol = Some((name, times, from));
    }

    /// `h a t e` becomes one word, `I h a t e y o u` three, if known words are all that comes of it.
    fn join_letters(&mut self) {
        let letters = &self.words[self.letters_from..];
        if letters.len() >= MIN_SPACED_LETTERS {
            let joined: String = letters.iter().map(|word| word.text.as_str()).collect();
            if let Some(ends) = ends_of_spaced(&joined) {
                let letters: Vec<ReadWord> = self.words.drain(self.letters_from..).collect();
                let mut from = 0;
                for end in ends {
                    self.words.push(self.of_letters(&letters[from..end], &joined[from..end]));
                    from = end;
                }
            }
        }
        self.letters_from = self.words.len();
    }

    /// One word of single letters, which are not empty.
    fn of_letters(&self, letters: &[ReadWord], joined: &str) -> ReadWord {
        let (start, end) = (letters[0].source.start, letters[letters.len() - 1].source.end);
        let is_capital = |letter: &ReadWord| self.text[letter.source.clone()].contains(char::is_uppercase);
        let (text, stretched) = squeezed(joined.chars());
        let shouted = letters.len() > 1 && letters.iter().all(is_capital);
        ReadWord { text, kind: WordKind::Word, source: start..end, shouted, stretched }
    }

    pub(super) fn finish(mut self) -> Reading {
        self.join_letters();
        let truncated = self.words.len() > self.max_words;
        self.words.truncate(self.max_words);
        Reading { words: self.words, truncated }
    }
}

fn ends_of_spaced(joined: &str) -> Option<Vec<usize>> {
    let is_alphabet = joined.as_bytes().windows(2).all(|two| two[0].checked_add(1) == Some(two[1]));
    if is_alphabet {
        return None;
    }
    if lexicon().count(&squeezed(joined.chars()).0) > 0 {
        return Some(vec![joined.len()]);
    }
    lexicon().ends_of_joined(joined)
}
