//! Which words of a post's texts are read, and in which order (paper, section 3.1.1): the text with the most words is the
//! protagonist, the others support it.

use crate::reading::{ReadWord, Reader, Reading, WordKind};

/// Words of the protagonist that are read, punctuation counted (paper: lyrics are cut at 100).
pub const MAX_PROTAGONIST_WORDS: usize = 160;

/// Words of the supporting texts that are read. The paper keeps 5 "cleaned" caption words; nothing is lost by reading a
/// short caption whole.
pub const MAX_SUPPORTING_WORDS: usize = 40;

/// A word, and the text that it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedWord {
    /// Place of the text among those of the post, from 0.
    pub text: usize,
    /// The word; its range is one of bytes of that text.
    pub word: ReadWord,
}

/// The texts of a post, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostReading {
    /// Words of the text that has the most of them, at most [`MAX_PROTAGONIST_WORDS`]; at least one is no punctuation.
    pub protagonist: Vec<PlacedWord>,
    /// Words of the others in their order, at most [`MAX_SUPPORTING_WORDS`].
    pub supporting: Vec<PlacedWord>,
    /// There are more words than are read.
    pub truncated: bool,
    /// One of the texts has a word of a language: what emoji and emoticons are written out as is none, and a number neither.
    pub speaks: bool,
}

impl PostReading {
    /// Reads the texts of a post; of equally long ones the first is the protagonist. `None` when none has a word (only links,
    /// handles or punctuation). Time and memory grow with the texts as those of [`Reader::read`].
    pub fn of<'a>(reader: &Reader, texts: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let read = |(at, text): (usize, &str)| (at, reader.read(text));
        let mut readings: Vec<(usize, Reading)> = texts.into_iter().enumerate().map(read).collect();
        readings.retain(|(_, reading)| reading.words_only().next().is_some());
        let longest = readings.iter().map(|(_, reading)| reading.words.len()).max()?;
        let protagonist_at = readings.iter().position(|(_, reading)| reading.words.len() == longest).unwrap_or(0);
        let speaks = readings.iter().any(|(_, reading)| speaks(reading));
        let mut truncated = readings.iter().any(|(_, reading)| reading.truncated);
        let protagonist = placed(readings.remove(protagonist_at)).collect();
        let mut supporting: Vec<PlacedWord> = readings.into_iter().flat_map(placed).collect();
        truncated |= supporting.len() > MAX_SUPPORTING_WORDS;
        supporting.truncate(MAX_SUPPORTING_WORDS);
        Some(Self { protagonist, supporting, truncated, speaks })
    }

    /// All words in the order in which their positions are counted.
    pub fn words(&self) -> impl Iterator<Item = &PlacedWord> {
        self.protagonist.iter().chain(&self.supporting)
    }
}

fn placed((text, reading): (usize, Reading)) -> impl Iterator<Item = PlacedWord> {
    reading.words.into_iter().map(move |word| PlacedWord { text, word })
}

fn speaks(reading: &Reading) -> bool {
    let of_language = |kind| matches!(kind, WordKind::Word | WordKind::Hashtag);
    reading.words.iter().any(|word| of_language(word.kind) && word.text.contains(char::is_alphabetic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Option<PostReading> {
        PostReading::of(&Reader::with_max_words(MAX_PROTAGONIST_WORDS), texts.iter().copied())
    }

    #[test]
    fn the_longest_text_is_read_first_and_the_others_in_their_order() {
        let read = read(&["one", "http://a.example", "a much longer text", "two"]).unwrap();
        let words: Vec<(usize, &str)> = read.words().map(|word| (word.text, word.word.text.as_str())).collect();
        assert_eq!(words, [(2, "a"), (2, "much"), (2, "longer"), (2, "text"), (0, "one"), (3, "two")]);
        assert!(read.speaks && !read.truncated);
    }

    #[test]
    fn texts_without_a_word_are_none_and_emoji_speak_no_language() {
        assert_eq!(read(&["@somebody", "…"]), None);
        assert!(!read(&["😀 7"]).unwrap().speaks);
    }

    #[test]
    fn no_more_words_are_read_than_the_network_takes() {
        let long = "word ".repeat(200);
        let read = read(&[&long, "why ".repeat(60).trim()]).unwrap();
        assert_eq!((read.protagonist.len(), read.supporting.len()), (MAX_PROTAGONIST_WORDS, MAX_SUPPORTING_WORDS));
        assert!(read.truncated);
    }
}
