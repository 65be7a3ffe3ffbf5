//! What a text shows: characters and emoji, each with where it stands, without what nobody sees.

use emojis::Emoji;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

use super::characters::{Mark, folded, is_invisible, is_jamo, is_joiner, is_voiced_mark, mark, takes_joiners};
use super::emoji::emoji_at;
use super::entities::raw_at;
use super::steps::looked_at;

/// More accents than this on one letter are decoration, and all of them go.
const MAX_ACCENTS: usize = 2;
/// Hebrew with vowels and cantillation comes near it.
const MAX_MARKS_OF_SCRIPT: usize = 6;
/// Eight syllables and a bit. What is longer is composed in parts.
const MAX_JAMO: usize = 32;

/// A character and its bytes in the text. Characters made of the same bytes share them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glyph {
    pub(super) c: char,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Char(Glyph),
    Blank,
    /// And where it begins and ends.
    Emoji(&'static Emoji, usize, usize),
}

/// The signs of a text in order: HTML references decoded once, emoji recognised, NFKC, folded, the invisible left out.
/// Looks ahead by a bounded number of characters.
#[derive(Debug)]
pub(super) struct Glyphs<'a> {
    text: &'a str,
    at: usize,
    /// Made and not yet given, and how many of them were given.
    ready: Vec<Sign>,
    given: usize,
    previous: char,
    /// A letter and its marks.
    cluster: String,
}

impl<'a> Glyphs<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, ready: Vec::new(), given: 0, previous: ' ', cluster: String::new() }
    }
}

impl Iterator for Glyphs<'_> {
    type Item = Sign;

    fn next(&mut self) -> Option<Sign> {
        loop {
            if let Some(&sign) = self.ready.get(self.given) {
                self.given += 1;
                return Some(sign);
            }
            self.ready.clear();
            self.given = 0;
            let bytes = self.text.as_bytes();
            let first = *bytes.get(self.at)?;
            // Nothing can change an ASCII character but what follows it: a mark, a selector, a reference to one.
            let alone = bytes.get(self.at + 1).is_none_or(|next| next.is_ascii() && *next != b'&');
            if !(first.is_ascii() && first != b'&' && alone) {
                self.take_cluster();
                continue;
            }
            looked_at(1);
            let start = self.at;
            self.at += 1;
            let sign = self.sign(char::from(first), start);
            if sign.is_some() {
                return sign;
            }
        }
    }
}

impl Glyphs<'_> {
    /// `c` folded, from `start` to where the text has come; `None` for the invisible.
    fn sign(&mut self, c: char, start: usize) -> Option<Sign> {
        let c = folded(c);
        if is_invisible(c) {
            return None;
        }
        self.previous = c;
        Some(if c.is_whitespace() { Sign::Blank } else { Sign::Char(Glyph { c, start, end: self.at }) })
    }

    fn push(&mut self, c: char, start: usize) {
        let sign = self.sign(c, start);
        self.ready.extend(sign);
    }

    /// One emoji, or one character with what is composed with it.
    fn take_cluster(&mut self) {
        let start = self.at;
        let Some(raw) = raw_at(self.text, start) else { return };
        if let Some((emoji, end)) = emoji_at(self.text, start, raw) {
            self.at = end;
            self.ready.push(Sign::Emoji(emoji, start, end));
            self.previous = ' ';
            return;
        }
        self.at = raw.end;
        if is_joiner(raw.c) {
            let next = raw_at(self.text, raw.end);
            if takes_joiners(self.previous) && next.is_some_and(|next| takes_joiners(next.c)) {
                self.push(raw.c, start);
            }
        } else if is_invisible(raw.c) || mark(raw.c).is_some() || is_voiced_mark(raw.c) {
            // Left out: a mark that no letter took stands alone, or is one too many.
        } else {
            self.cluster.clear();
            self.cluster.push(folded(raw.c));
            self.cluster.extend(raw.second);
            if is_jamo(raw.c) {
                self.take_jamo()
            } else {
                self.take_marks()
            }
            self.push_cluster(start);
        }
    }

    /// The marks that follow, as many as a letter bears.
    fn take_marks(&mut self) {
        let letter = self.cluster.len();
        let (mut accents, mut of_script) = (0, 0);
        while let Some(next) = raw_at(self.text, self.at) {
            match mark(next.c) {
                _ if is_invisible(next.c) => {}
                Some(Mark::Overlay) => {}
                Some(Mark::Accent) => {
                    accents += 1;
                    if accents <= MAX_ACCENTS {
                        self.cluster.push(next.c);
                    }
                }
                _ if is_joiner(next.c) && !self.is_before_mark(next.end) => break,
                _ if is_joiner(next.c) && !takes_joiners(self.previous_of_cluster()) => {}
                // Marks of a script, a joiner between them, and marks of kana that are letters to Unicode.
                None if !is_joiner(next.c) && !is_voiced_mark(next.c) => break,
                _ => {
                    of_script += 1;
                    if of_script <= MAX_MARKS_OF_SCRIPT {
                        self.cluster.push(next.c);
                    }
                }
            }
            self.at = next.end;
        }
        if accents > MAX_ACCENTS {
            let kept: String = self.cluster[letter..].chars().filter(|&c| mark(c) != Some(Mark::Accent)).collect();
            self.cluster.truncate(letter);
            self.cluster.push_str(&kept);
        }
    }

    fn is_before_mark(&self, at: usize) -> bool {
        raw_at(self.text, at).is_some_and(|raw| mark(raw.c).is_some())
    }

    fn previous_of_cluster(&self) -> char {
        self.cluster.chars().next_back().unwrap_or(' ')
    }

    fn take_jamo(&mut self) {
        for _ in 1..MAX_JAMO {
            let Some(next) = raw_at(self.text, self.at).filter(|next| is_jamo(next.c) && !is_invisible(next.c)) else {
                break;
            };
            self.cluster.push(next.c);
            self.at = next.end;
        }
    }

    fn push_cluster(&mut self, start: usize) {
        looked_at(self.cluster.len());
        let cluster = std::mem::take(&mut self.cluster);
        // A space with a mark is what NFKC makes of a lone accent, which is no blank but a sign (`¯\_(ツ)_/¯`).
        let mut chars = cluster.chars();
        let (first, alone) = (chars.next(), chars.next().is_none());
        match first {
            Some(c) if alone && (is_nfkc_quick(cluster.chars()) == IsNormalized::Yes || is_lone_accent(c)) => {
                self.push(c, start);
            }
            _ => cluster.nfkc().for_each(|c| self.push(c, start)),
        }
        self.cluster = cluster;
    }
}

fn is_lone_accent(c: char) -> bool {
    std::iter::once(c).nfkc().next() == Some(' ')
}
