//! What a post says, on one line of a terminal.

use jtav_dead_letters::one_line;
use jtav_pipeline::{InboundRecord, PostEvent, ReadRules, read_post};
use jtav_text::reading::{ReadWord, Reader, WordKind};

/// Columns of a text, the quotation marks not among them.
pub(super) const TEXT_COLUMN_CHARS: usize = 56;
/// Characters of a text that are looked at: what does not fit is looked at only to know the word that it begins with.
const LOOKED_AT_CHARS: usize = 4 * TEXT_COLUMN_CHARS;

/// The longest text of a record's post: the one that most words of its label are from. None where it has no text, or is no
/// post.
pub(super) fn longest_text(record: &InboundRecord) -> Option<String> {
    let event = read_post(record.value.as_deref()?, &ReadRules::feed(usize::MAX)).ok()?;
    let PostEvent::Upsert(post) = event else { return None };
    let texts = post.texts.iter().map(|part| part.text.as_str()).filter(|text| !text.trim().is_empty());
    // Of equal ones the first.
    texts.rev().max_by_key(|text| text.chars().count()).map(str::to_owned)
}

/// The beginning of a text in quotation marks, padded to its column. What a terminal would obey or not show is written
/// out. Where `underline` is on, the words among `words` are underlined.
pub(super) fn quoted(text: &str, words: &[&str], underline: bool) -> String {
    let text: String = text.trim().chars().take(LOOKED_AT_CHARS).collect();
    let mut line = Line { shown: String::from("“"), left: TEXT_COLUMN_CHARS, is_cut: false };
    let reading = Reader::new().read(&text);
    let named = |word: &&ReadWord| word.kind != WordKind::Punctuation && words.contains(&word.text.as_str());
    let mut at = 0;
    for word in reading.words.iter().filter(|_| underline).filter(named) {
        // Words of one emoji share its place.
        let (start, end) = (word.source.start.max(at), word.source.end.max(at));
        line.push(text.get(at..start).unwrap_or_default(), false);
        line.push(text.get(start..end).unwrap_or_default(), true);
        at = end;
    }
    line.push(text.get(at..).unwrap_or_default(), false);
    line.end()
}

struct Line {
    shown: String,
    /// Columns that are left.
    left: usize,
    is_cut: bool,
}

impl Line {
    fn push(&mut self, text: &str, is_underlined: bool) {
        let mut fitting = String::new();
        for c in text.chars() {
            let visible = one_line(c.encode_utf8(&mut [0; 4]), 1);
            let columns = visible.chars().count();
            // One is kept for the mark of the cut.
            if self.is_cut || columns >= self.left {
                self.is_cut = true;
                break;
            }
            self.left -= columns;
            fitting.push_str(&visible);
        }
        match is_underlined && !fitting.is_empty() {
            true => self.shown.extend(["\x1b[4m", &fitting, "\x1b[24m"]),
            false => self.shown.push_str(&fitting),
        }
    }

    fn end(mut self) -> String {
        if self.is_cut {
            self.shown.push('…');
            self.left -= 1;
        }
        self.shown.push('”');
        self.shown.extend(std::iter::repeat_n(' ', self.left));
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn record(value: &str) -> InboundRecord {
        InboundRecord { value: Some(Bytes::copy_from_slice(value.as_bytes())), ..InboundRecord::default() }
    }

    #[test]
    fn the_longest_text_of_the_record_is_shown_and_none_where_there_is_none() {
        let post =
            r#"{"id":"a","texts":[{"role":"caption","text":"so good"},{"role":"body","text":"we went to the sea"}]}"#;
        assert_eq!(longest_text(&record(post)).as_deref(), Some("we went to the sea"));
        for none in [r#"{"id":"a","texts":[{"role":"body","text":"  "}]}"#, r#"{"id":"a","deleted":true}"#, "not json"]
        {
            assert_eq!(longest_text(&record(none)), None, "{none}");
        }
        assert_eq!(longest_text(&InboundRecord::default()), None);
    }

    #[test]
    fn words_that_weighed_most_are_underlined_as_they_were_written() {
        let words = ["love", "so", "harbour", "heart"];
        let shown = quoted("We LOVE the #Harbour, ❤ (harbours) sooooo!", &words, true);
        assert_eq!(
            shown.trim_end(),
            "“We \x1b[4mLOVE\x1b[24m the #\x1b[4mHarbour\x1b[24m, \x1b[4m❤\x1b[24m (harbours) \x1b[4msooooo\x1b[24m!”"
        );
        assert!(!quoted("We LOVE it", &words, false).contains('\x1b'));
    }

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        let shown = quoted("a\u{1b}[2J\nb\u{202e}c", &[], true);
        assert_eq!(shown.trim_end(), "“a\\u{1b}[2J\\nb\\u{202e}c”");
    }

    #[test]
    fn a_long_text_is_cut_and_a_short_one_padded() {
        for text in ["a".repeat(57), "word ".repeat(40), "\u{200b}".repeat(9), "x".to_owned(), "a".repeat(55)] {
            let shown = quoted(&text, &["word"], false);
            assert_eq!(shown.chars().count(), TEXT_COLUMN_CHARS + 2, "{shown}");
            assert_eq!(shown.contains('…'), text.len() > TEXT_COLUMN_CHARS || text.contains('\u{200b}'), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn no_text_outgrows_its_column_or_reaches_the_terminal_raw(text in any::<String>(), word in "[a-z]{1,3}") {
            let plain = quoted(&text, &[&word], false);
            prop_assert_eq!(plain.chars().count(), TEXT_COLUMN_CHARS + 2);
            prop_assert!(!plain.chars().any(char::is_control), "{:?}", plain);
            let marked = quoted(&text, &[&word], true);
            prop_assert_eq!(marked.replace("\x1b[4m", "").replace("\x1b[24m", ""), plain);
        }
    }
}
