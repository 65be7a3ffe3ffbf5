//! The reader of posts as people write them, which stands in front of every text network: a sentence encoder with its own
//! word pieces reads [`Reading::plain`], bags of n-grams read [`Reading::words_only`].
//!
//! Whoever may post chooses the text. What a human sees as one word is one word here, however it is spelled in bytes, and
//! no text costs more than its length, up to 512 bytes for each word that may be read. The rules, in the order in which they
//! are applied:
//!
//! Characters
//! 1. HTML character references are decoded once, those of several spellings too (`&lt;`, `&#60;`, `&#x3C;`); `&amp;lt;` is
//!    `&lt;`. Without a semicolon only `amp`, `lt`, `gt`, `quot` and `nbsp` are.
//! 2. Emoji are recognised as the longest sequence that Unicode knows: joined ones, flags, keycaps, skin tones (read as
//!    the emoji without one). Signs that are letters or punctuation (`™`, `‼`) stay text, and so does `🅱` beside a letter.
//! 3. Invisible characters go: zero-width spaces, soft hyphens, directions, selectors, tags, fillers, controls. The two
//!    joiners stay between letters of scripts that need them.
//! 4. Strokes through letters and rings around them go; so do all accents of a letter that has more than two, and a script's
//!    own marks from the seventh on.
//! 5. NFKC: full-width and mathematical letters, ligatures, superscripts. Beyond NFKC, letters in discs and boxes, small
//!    capitals, half flags and digits in discs are plain ones; apostrophes and dashes are one each, and sentence marks of all
//!    scripts are the Latin ones.
//!
//! What is no word
//! 6. Links go, from `http://` to the next blank, quotation mark or letter of a script without blanks; the sentence's
//!    punctuation at their end stays. So do `www.` with a domain, and domains by themselves: with a path under any country,
//!    without one under the top-level domains that are no English words (`end.Next` and `did it.So` are sentences).
//! 7. E-mail addresses go, if their domain has a dot (`5@home` has none), and handles: `@name`, `@name.example.com`,
//!    `@name@example.com`, with their `'s`.
//!
//! Words
//! 8. Emoticons and emoji are written out as what they show, emoji by their CLDR names; two at most of the same in a row.
//! 9. Hashtags part at `_`, capitals and digits, and a part of five to forty Latin letters where known words end
//!    (`#blacklivesmatter`). A cashtag is a word.
//! 10. Words are letters and digits, with apostrophes between them; numbers keep dots and commas between digits. Scripts
//!     without blanks are split at Unicode's word boundaries (UAX 29). Of a word longer than forty characters the first forty
//!     are read.
//! 11. A word that mixes Latin letters with Cyrillic or Greek ones becomes one of one script, if all letters of the other
//!     look like letters of it.
//! 12. Capitals are noted ([`ReadWord::shouted`]), then the case is folded.
//! 13. Of three or more equal letters one or two stay, whichever makes a known word, else two.
//! 14. Four or more single letters in a row are joined where known words are all that comes of it: `h a t e`, not `a b c d`.
//! 15. `.` `,` `!` `?` `:` `;` are tokens of up to three equal ones, three tokens in a row at most. All other signs go.
//!
//! Known words are English ones of social text (`data/known_words.tsv`, made by `data/known_words.py`); what is not among
//! them is read as it stands. What was read is read again as the same words in the scripts that are in use. Not tried:
//! letters written as digits (`h4te`), words with signs in them (`sh*t`), tags of HTML.

mod characters;
mod chunk;
mod emoji;
mod emoticons;
mod entities;
mod glyphs;
mod hashtags;
mod lexicon;
mod links;
mod output;
mod steps;
mod stretching;
mod word;
mod words;

pub use word::{ReadWord, Reading, WordKind};

use chunk::read_chunk;
use glyphs::{Glyphs, Sign};
use output::Output;

/// The words of a text that are read; what a sentence encoder of 256 or 512 pieces sees is no longer.
pub const DEFAULT_MAX_WORDS: usize = 160;

/// A text that has fewer words than this hides them between what is not read: links, one emoji again and again, characters
/// that nobody sees.
const BYTES_FOR_WORD: usize = 512;

/// Longer than this no link is, whose second half would be words.
const MAX_CUT_WORD: usize = 2_048;

/// Reads texts. Stateless and cheap to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    max_words: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// Reads [`DEFAULT_MAX_WORDS`] words.
    pub fn new() -> Self {
        Self::with_max_words(DEFAULT_MAX_WORDS)
    }

    /// Reads at most `max_words` words, punctuation and the words of emoji counted.
    pub fn with_max_words(max_words: usize) -> Self {
        // The list is parsed here and not with the first text.
        lexicon::lexicon();
        Self { max_words }
    }

    /// Reads `text`. Its time and memory grow with the text's length, up to 512 bytes for each word that may be read; what
    /// comes after them is not looked at.
    pub fn read(&self, text: &str) -> Reading {
        let whole = text;
        let text = head(text, self.max_words.saturating_mul(BYTES_FOR_WORD));
        let mut output = Output::new(text, self.max_words);
        let mut chunk = Vec::new();
        for sign in Glyphs::new(text) {
            if let Sign::Char(glyph) = sign {
                chunk.push(glyph);
                continue;
            }
            read_chunk(&chunk, &mut output);
            chunk.clear();
            if let Sign::Emoji(emoji, start, end) = sign {
                output.push_symbol(emoji::name(emoji), WordKind::Emoji, start..end);
            }
            if output.is_full() {
                break;
            }
        }
        read_chunk(&chunk, &mut output);
        let mut reading = output.finish();
        reading.truncated |= text.len() < whole.len();
        reading
    }
}

/// At most the first `bytes` of a text: up to the last blank, or at least to the end of a character.
fn head(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let near = (0..=bytes).rev().take(MAX_CUT_WORD);
    let blank = near.clone().find(|&end| text.as_bytes()[end].is_ascii_whitespace());
    let end = blank.or_else(|| near.clone().find(|&end| text.is_char_boundary(end)));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod tests;
