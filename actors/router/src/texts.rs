//! How much of a post's texts is read. Pure.

use jtav_schemas::{MAX_TEXT_PARTS, TextPart};

/// The texts that are read of a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadTexts {
    pub parts: Vec<TextPart>,
    /// Whether anything was left out.
    pub is_truncated: bool,
}

/// At most [`MAX_TEXT_PARTS`] parts and `max_chars` characters in all, each part from its beginning. Short parts are kept
/// whole and long ones cut to the same length, so that a long body does not cost a post its caption. Takes time in
/// proportion to the texts, and copies no more than is read.
pub(crate) fn read_texts(texts: &[TextPart], max_chars: usize) -> ReadTexts {
    let read = &texts[..texts.len().min(MAX_TEXT_PARTS)];
    let lengths: Vec<usize> = read.iter().map(|part| part.text.chars().count()).collect();
    let longest = longest_part(&lengths, max_chars);
    let is_truncated = read.len() < texts.len() || lengths.iter().any(|&length| length > longest);
    let parts = read
        .iter()
        // What a text is to its post is a word; of a longer role nobody reads more.
        .map(|part| TextPart { role: beginning(&part.role, MAX_ROLE_CHARS), text: beginning(&part.text, longest) })
        .collect();
    ReadTexts { parts, is_truncated }
}

const MAX_ROLE_CHARS: usize = 32;

fn beginning(text: &str, chars: usize) -> String {
    if text.len() <= chars {
        return text.to_owned();
    }
    let end = text.char_indices().nth(chars).map_or(text.len(), |(end, _)| end);
    text[..end].to_owned()
}

/// The length to which parts must be cut so that they have no more than `max_chars` together.
fn longest_part(lengths: &[usize], max_chars: usize) -> usize {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let (mut left, mut parts) = (max_chars, sorted.len());
    for length in sorted {
        let share = left / parts;
        if length > share {
            return share;
        }
        left -= length;
        parts -= 1;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(texts: &[&str]) -> Vec<TextPart> {
        texts.iter().map(|text| TextPart { role: "body".to_owned(), text: (*text).to_owned() }).collect()
    }

    fn texts(read: &ReadTexts) -> Vec<&str> {
        read.parts.iter().map(|part| part.text.as_str()).collect()
    }

    #[test]
    fn what_fits_is_read_whole() {
        let post = parts(&["hello", "", "字字"]);
        assert_eq!(read_texts(&post, 7), ReadTexts { parts: post, is_truncated: false });
        assert_eq!(read_texts(&[], 7), ReadTexts { parts: Vec::new(), is_truncated: false });
    }

    #[test]
    fn long_parts_are_cut_alike_between_characters_and_short_ones_kept() {
        let read = read_texts(&parts(&["字字字字字字字", "hi", "abcdefgh"]), 10);
        assert_eq!((texts(&read), read.is_truncated), (vec!["字字字字", "hi", "abcd"], true));
    }

    #[test]
    fn of_more_parts_the_first_are_read() {
        let read = read_texts(&vec![TextPart::default(); MAX_TEXT_PARTS + 1], 10);
        assert_eq!((read.parts.len(), read.is_truncated), (MAX_TEXT_PARTS, true));
        let long_role = TextPart { role: "x".repeat(500_000), text: "hi".to_owned() };
        let read = read_texts(&[long_role], 10);
        assert_eq!((read.parts[0].role.len(), read.is_truncated), (MAX_ROLE_CHARS, false));
    }

    proptest! {
        #[test]
        fn no_more_is_read_than_is_allowed_and_nothing_is_left_out_without_need(
            texts in prop::collection::vec("[a字é😀]{0,12}", 0..80), max_chars in 1_usize..200
        ) {
            let parts: Vec<TextPart> =
                texts.iter().map(|text| TextPart { role: String::new(), text: text.clone() }).collect();
            let read = read_texts(&parts, max_chars);
            let chars = |parts: &[TextPart]| parts.iter().map(|part| part.text.chars().count()).sum::<usize>();
            prop_assert!(chars(&read.parts) <= max_chars && read.parts.len() <= MAX_TEXT_PARTS);
            prop_assert_eq!(read.is_truncated, read.parts != parts);
            let first = &parts[..parts.len().min(MAX_TEXT_PARTS)];
            // Less than one character for each part is given away.
            prop_assert!(chars(&read.parts) + MAX_TEXT_PARTS > chars(first).min(max_chars));
            for (part, whole) in read.parts.iter().zip(first) {
                prop_assert!(whole.text.starts_with(&part.text));
            }
        }
    }
}
