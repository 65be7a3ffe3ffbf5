//! Words of a post, as posts are written: links, handles, hashtags, emoticons, emoji, stretched words.

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use super::steps::{Counted as _, looked_at};

/// Splits a text into normalised words. Stateless and cheap to make.
///
/// Anyone who can post chooses the text, so its time grows with the text's length and with nothing else: no step looks at
/// more than a bounded number of characters beyond those that it takes. No word is longer than a bounded number of
/// characters either.
///
/// NFC, typographic apostrophes made plain, links, e-mail addresses and `@handles` removed, `#CamelCase` split,
/// emoticons and emoji kept as words, three or more equal letters in a row squeezed to two, lowercase.
/// Punctuation is dropped, stop words are kept ("not" decides a sentiment).
#[derive(Debug, Clone, Copy, Default)]
pub struct Tokenizer;

/// Emoticons in lower case, longest first so that `:-(` is not read as `:-` and `(`.
const EMOTICONS: [&str; 33] = [
    ":'-(", ":'-)", ":'(", ":')", ":-)", ":-(", ":-d", ":-p", ":-/", ":-o", ":-*", ";-)", "</3", ">:(", ">:)", "^_^",
    "-_-", "t_t", ":)", ":(", ":d", ":p", ":/", ":o", ":*", ":|", ";)", ";d", "=)", "=(", "=d", "xd", "<3",
];

/// A stretched word of this many letters or more carries no more meaning, and its n-grams would cost time. So too a
/// pictograph that joiners and marks make longer and longer.
const MAX_WORD_CHARS: usize = 40;

impl Tokenizer {
    /// The only tokenizer there is; a profile with other rules gets another type.
    pub fn new() -> Self {
        Self
    }

    /// The normalised words of `text`, in order. Never contains an empty string.
    pub fn words(&self, text: &str) -> Vec<String> {
        let text: String =
            text.chars().counted().nfc().map(|c| if matches!(c, '’' | '‘' | 'ʼ' | '＇') { '\'' } else { c }).collect();
        let mut words = Vec::new();
        for chunk in text.split_whitespace() {
            split_chunk(without_link(chunk), &mut words);
        }
        words
    }
}

/// `chunk` up to where a link starts; empty for an e-mail address.
fn without_link(chunk: &str) -> &str {
    looked_at(chunk.len());
    let bytes = chunk.as_bytes();
    let starts_here = |at: usize, prefix: &str| {
        bytes.get(at..at + prefix.len()).is_some_and(|part| part.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    let link = (0..bytes.len())
        .find(|&at| starts_here(at, "http://") || starts_here(at, "https://") || starts_here(at, "www."));
    let chunk = &chunk[..link.unwrap_or(chunk.len())];
    let is_address = chunk.split_once('@').is_some_and(|(before, after)| {
        before.ends_with(|c: char| c.is_alphanumeric()) && after.starts_with(char::is_alphanumeric)
    });
    if is_address { "" } else { chunk }
}

/// Takes handles, hashtags and emoticons out of one run without white space; the rest goes to [`split_plain`].
fn split_chunk(chunk: &str, words: &mut Vec<String>) {
    let mut plain_from = 0;
    let mut at = 0;
    let mut previous: Option<char> = None;
    while let Some(current) = chunk[at..].chars().next() {
        looked_at(1);
        let rest = &chunk[at..];
        let after_word = previous.is_some_and(char::is_alphanumeric);
        let taken = match current {
            '@' | '#' => marked_name_bytes(rest),
            _ if after_word && current.is_alphanumeric() => 0,
            _ if begins_emoticon(current) => emoticon_bytes(rest),
            _ => 0,
        };
        if taken == 0 {
            at += current.len_utf8();
            previous = Some(current);
            continue;
        }
        split_plain(&chunk[plain_from..at], words);
        match current {
            '@' => {}
            '#' => split_hashtag(&rest[1..taken], words),
            _ => words.push(rest[..taken].to_ascii_lowercase()),
        }
        at += taken;
        plain_from = at;
        previous = None;
    }
    split_plain(&chunk[plain_from..], words);
}

/// Length of the mark that `rest` starts with and of the name behind it; 0 without a name. Whatever it looks at is taken,
/// but for the one character that ends the name.
fn marked_name_bytes(rest: &str) -> usize {
    let end = rest.char_indices().counted().skip(1).find(|&(_, c)| !is_name(c)).map_or(rest.len(), |(end, _)| end);
    if end > 1 { end } else { 0 }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether there is an emoticon that begins so; there is none for nearly all characters.
fn begins_emoticon(c: char) -> bool {
    matches!(c, ':' | ';' | '<' | '>' | '^' | '-' | '=' | 't' | 'T' | 'x' | 'X')
}

/// Length of the emoticon that `rest` starts with, 0 for none. One that ends in a letter must not run into a word
/// (`:delta`); one that begins with a letter is only looked for where no word precedes it.
fn emoticon_bytes(rest: &str) -> usize {
    looked_at(EMOTICONS.len());
    let matches = |emoticon: &&&str| {
        rest.get(..emoticon.len()).is_some_and(|head| head.eq_ignore_ascii_case(emoticon))
            && !rest[emoticon.len()..].starts_with(char::is_alphanumeric)
    };
    EMOTICONS.iter().find(matches).map_or(0, |emoticon| emoticon.len())
}

/// `BestDayEver_2026` gives `Best Day Ever 2026`.
fn split_hashtag(name: &str, words: &mut Vec<String>) {
    let mut part = String::new();
    let mut previous: Option<char> = None;
    for c in name.chars().counted() {
        let boundary = previous
            .is_some_and(|p| p == '_' || p.is_lowercase() && c.is_uppercase() || p.is_numeric() != c.is_numeric());
        if boundary {
            split_plain(&std::mem::take(&mut part), words);
        }
        if c != '_' {
            part.push(c);
        }
        previous = Some(c);
    }
    split_plain(&part, words);
}

/// Unicode word boundaries (UAX 29), then the joints which that rule keeps (`end.Next`, `a:b`, `a_b`) are cut too.
fn split_plain(text: &str, words: &mut Vec<String>) {
    for segment in text.split_word_bounds() {
        looked_at(segment.len());
        if segment.chars().counted().any(char::is_alphanumeric) && !is_emoji(segment) {
            let parts = segment.split(['.', ':', '_', ',', ';', '·']);
            words.extend(parts.map(normalise_word).filter(|word| !word.is_empty()));
        } else if is_emoji(segment) {
            // U+FE0F only asks for the coloured form; both forms are the same word.
            words.push(segment.chars().filter(|&c| c != '\u{FE0F}').take(MAX_WORD_CHARS).collect());
        }
    }
}

fn normalise_word(part: &str) -> String {
    let mut word = String::with_capacity(part.len().min(MAX_WORD_CHARS));
    let mut run = (None, 0);
    looked_at(part.len());
    for c in part.trim_matches('\'').chars().counted().take(MAX_WORD_CHARS).flat_map(char::to_lowercase) {
        run = if run.0 == Some(c) { (run.0, run.1 + 1) } else { (Some(c), 1) };
        if run.1 <= 2 || !c.is_alphabetic() {
            word.push(c);
        }
    }
    word
}

/// Whether the segment is a pictograph: blocks that hold them, plus keycaps and flags by their first mark.
fn is_emoji(segment: &str) -> bool {
    let pictograph = |c: char| {
        matches!(u32::from(c),
            0x1F000..=0x1FAFF | 0x2600..=0x27BF | 0x2B05..=0x2B07 | 0x2B1B..=0x2B1C | 0x2B50 | 0x2B55
            | 0x2190..=0x21FF | 0x2300..=0x23FF | 0x203C | 0x2049 | 0x3030 | 0x303D | 0x3297 | 0x3299)
    };
    looked_at(segment.len());
    segment.chars().next().is_some_and(pictograph) || segment.contains('\u{20E3}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        Tokenizer::new().words(text)
    }

    #[test]
    fn links_addresses_and_handles_are_not_words() {
        assert_eq!(words("see https://example.com/a?b=c now"), ["see", "now"]);
        assert_eq!(words("see:HTTP://x.y www.example.com @some_body's mail a.b@example.com"), ["see", "s", "mail"]);
    }

    #[test]
    fn stretched_words_keep_two_letters_and_numbers_keep_all() {
        assert_eq!(words("Sooooo goooood 10000"), ["soo", "good", "10000"]);
    }

    #[test]
    fn apostrophes_stay_inside_a_word_and_typographic_ones_are_plain() {
        assert_eq!(words("Don’t 'quote' rock'n'roll"), ["don't", "quote", "rock'n'roll"]);
    }

    #[test]
    fn hashtags_are_split_where_the_case_changes() {
        assert_eq!(words("#BestDayEver_2026 #fun"), ["best", "day", "ever", "2026", "fun"]);
    }

    #[test]
    fn emoticons_and_emoji_are_words() {
        assert_eq!(words("nice :) bad:-( :Delta XD <3"), ["nice", ":)", "bad", ":-(", "delta", "xd", "<3"]);
        assert_eq!(words("yes😀😀 ok❤️ 👨‍👩‍👧"), ["yes", "😀", "😀", "ok", "❤", "👨‍👩‍👧"]);
    }

    #[test]
    fn joined_sentences_and_composed_letters_are_handled() {
        assert_eq!(words("end.Next, cafe\u{301}!!"), ["end", "next", "café"]);
        assert_eq!(words("... !!! — ' \u{0}"), Vec::<String>::new());
    }

    #[test]
    fn a_word_without_end_is_cut() {
        let word = &words(&"ab".repeat(10_000))[0];
        assert_eq!(word.chars().count(), 40);
    }

    #[test]
    fn a_pictograph_without_end_is_cut() {
        for (first, endless) in [("", "👨\u{200D}"), ("❤", "\u{301}"), ("", "😀\u{FE0F}\u{200D}"), ("1", "\u{20E3}")]
        {
            let found = words(&format!("{first}{}", endless.repeat(10_000)));
            assert_eq!(found.len(), 1, "{endless:?}");
            assert_eq!(found[0].chars().count(), 40, "{endless:?}");
        }
    }

    #[test]
    fn every_emoticon_is_looked_for_where_it_begins() {
        for emoticon in EMOTICONS {
            assert!(emoticon.chars().next().is_some_and(begins_emoticon), "{emoticon}");
            assert_eq!(words(&format!("a {} b", emoticon.to_uppercase())), ["a", emoticon, "b"]);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_word_is_long(text in "[a-zİ👨😀\u{301}\u{200D}\u{FE0F}'_#@:]{0,400}") {
            for word in words(&text) {
                // Lower case takes up to three characters for one.
                proptest::prop_assert!(word.chars().count() <= 3 * MAX_WORD_CHARS);
            }
        }

        #[test]
        fn no_text_makes_it_panic_or_yield_an_empty_word(text in "\\PC{0,80}") {
            for word in words(&text) {
                proptest::prop_assert!(!word.is_empty());
            }
        }
    }
}
