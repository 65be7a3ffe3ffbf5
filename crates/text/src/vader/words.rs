//! From a text to the words that the rules see.

use std::borrow::Cow;

use super::lexicon::{Entry, Lexicon};

/// Characters of a text that count.
pub const MAX_CHARACTERS: usize = 5_000;

/// Words of a text that count, the words of emoji's descriptions among them.
pub const MAX_WORDS: usize = 1_000;

/// A word as the rules see it.
#[derive(Debug)]
pub(super) struct Word<'a> {
    pub(super) lower: Cow<'a, str>,
    pub(super) entry: Entry,
    /// All of its letters are capitals, and it has letters.
    pub(super) is_upper: bool,
}

/// The text cut at [`MAX_CHARACTERS`], its emoji replaced by their descriptions. A blank parts a description from what is
/// before it, nothing from what follows.
pub(super) fn described<'a>(text: &'a str, lexicon: &Lexicon) -> Cow<'a, str> {
    let text = text.char_indices().nth(MAX_CHARACTERS).map_or(text, |(end, _)| &text[..end]);
    let Some(first) = text.find(|character| lexicon.description(character).is_some()) else {
        return Cow::Borrowed(text);
    };
    let (before, rest) = text.split_at(first);
    let mut described = String::with_capacity(text.len() + 64);
    described.push_str(before);
    let mut after_blank = before.chars().next_back().is_none_or(|character| character == ' ');
    for character in rest.chars() {
        if let Some(description) = lexicon.description(character) {
            if !after_blank {
                described.push(' ');
            }
            described.push_str(description);
            after_blank = false;
        } else {
            described.push(character);
            after_blank = character == ' ';
        }
    }
    Cow::Owned(described)
}

/// The first [`MAX_WORDS`] words.
pub(super) fn words<'a>(text: &'a str, lexicon: &Lexicon) -> Vec<Word<'a>> {
    let tokens = text.split(is_blank).filter(|token| !token.is_empty());
    tokens.map(|token| Word::new(without_punctuation(token), lexicon)).take(MAX_WORDS).collect()
}

impl<'a> Word<'a> {
    fn new(word: &'a str, lexicon: &Lexicon) -> Self {
        let is_lower = word.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
        let lower = if is_lower { Cow::Borrowed(word) } else { Cow::Owned(word.to_lowercase()) };
        let entry = lexicon.entry(&lower);
        Self { lower, entry, is_upper: !is_lower && is_upper(word) }
    }
}

/// Python's `str.isspace`: Unicode's white space and the four ASCII separators.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}

/// The token without punctuation at its ends; with it where two characters or fewer were left, since that is likely an
/// emoticon.
fn without_punctuation(token: &str) -> &str {
    let stripped = token.trim_matches(|character: char| character.is_ascii_punctuation());
    if stripped.chars().nth(2).is_none() { token } else { stripped }
}

/// Python's `str.isupper`.
fn is_upper(word: &str) -> bool {
    word.chars().any(char::is_uppercase) && !word.chars().any(|letter| letter.is_lowercase() || is_title(letter))
}

/// Unicode's category Lt: one character for a capital and a small letter together.
fn is_title(letter: char) -> bool {
    matches!(letter, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ')
        || matches!(letter, '\u{1f88}'..='\u{1f8f}' | '\u{1f98}'..='\u{1f9f}' | '\u{1fa8}'..='\u{1faf}')
        || matches!(letter, '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emoji_becomes_its_description_and_what_follows_sticks_to_it() {
        let described = |text| described(text, Lexicon::shared()).into_owned();
        assert_eq!(described("a😀😀b c"), "a grinning face grinning faceb c");
        assert_eq!(described("😀"), "grinning face");
        assert_eq!(described("x 😀"), "x grinning face");
        assert_eq!(described("x\n😀"), "x\n grinning face");
        assert_eq!(described("plain"), "plain");
    }

    #[test]
    fn punctuation_leaves_words_and_stays_with_emoticons() {
        let words = |text| -> Vec<String> {
            words(text, Lexicon::shared()).into_iter().map(|word| word.lower.into_owned()).collect()
        };
        assert_eq!(words("(Good) :) :D ok! don't\u{1c}x"), ["good", ":)", ":d", "ok!", "don't", "x"]);
    }

    #[test]
    fn a_word_is_upper_when_it_has_capitals_and_no_small_letter() {
        for word in ["GOOD", "ÉTÉ", "A1", "ΟΔΟΣ"] {
            assert!(is_upper(word), "{word}");
        }
        for word in ["Good", "1", "", "ǅ", "日本", "É\u{1fbc}"] {
            assert!(!is_upper(word), "{word}");
        }
    }
}
