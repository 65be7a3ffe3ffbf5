//! Text in lines of a width. Columns are counted, not characters: an ideograph has two, a combining mark none.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthChar as _;

/// Marks on one letter that are shown: more of them would climb over the lines above and below.
const MAX_MARKS: usize = 4;
/// Fewest columns that text is wrapped to.
const MIN_COLUMNS: usize = 8;

/// Columns of a text on a terminal.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// The beginning of `text` that fits, with `…` where something was cut off, padded to `width` columns.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let cut = cut(text, width);
    let left = width.saturating_sub(columns(&cut));
    cut + &" ".repeat(left)
}

/// The beginning of `text` that fits into `width` columns, with `…` where something was cut off.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let (mut kept, mut used) = (String::new(), 0);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        kept.push(c);
    }
    if width > 0 { kept + "…" } else { kept }
}

/// A line of which no more than `width` columns are kept.
pub(crate) fn cut_line(line: Line<'static>, width: usize) -> Line<'static> {
    let mut left = width;
    let mut kept = Vec::new();
    for span in line.spans {
        let wide = columns(&span.content);
        if wide > left {
            kept.push(Span::styled(cut(&span.content, left), span.style));
            break;
        }
        left -= wide;
        kept.push(span);
    }
    Line::from(kept)
}

/// Text that has been made visible, in lines of at most `width` columns: the first begins with `first`, the others with as many blanks.
/// Broken at blanks; a word that is longer than a line is cut.
pub(crate) fn wrap(first: &str, pieces: &[(String, Style)], width: usize) -> Vec<Line<'static>> {
    let indent = columns(first);
    let mut lines =
        Wrapped { done: Vec::new(), line: Vec::new(), used: 0, width: width.saturating_sub(indent).max(MIN_COLUMNS) };
    let mut word: Vec<(char, Style)> = Vec::new();
    let mut marks = 0;
    for (text, style) in pieces {
        for c in text.chars() {
            if c.width() == Some(0) {
                marks += 1;
                if marks > MAX_MARKS {
                    continue;
                }
            } else {
                marks = 0;
            }
            match c {
                '\n' => {
                    lines.word(&mut word);
                    lines.end();
                }
                c if c.is_whitespace() => {
                    lines.word(&mut word);
                    lines.blank(*style);
                }
                c => word.push((c, *style)),
            }
        }
    }
    lines.word(&mut word);
    if !lines.line.is_empty() || lines.done.is_empty() {
        lines.end();
    }
    let begin = |at: usize| if at == 0 { first.to_owned() } else { " ".repeat(indent) };
    let line = |(at, letters): (usize, Vec<(char, Style)>)| Line::from(spans(begin(at), letters));
    lines.done.into_iter().enumerate().map(line).collect()
}

struct Wrapped {
    done: Vec<Vec<(char, Style)>>,
    line: Vec<(char, Style)>,
    used: usize,
    width: usize,
}

impl Wrapped {
    fn word(&mut self, word: &mut Vec<(char, Style)>) {
        let wide: usize = word.iter().map(|(c, _)| c.width().unwrap_or(0)).sum();
        if self.used > 0 && self.used + wide > self.width {
            self.end();
        }
        for (c, style) in word.drain(..) {
            let wide = c.width().unwrap_or(0);
            if self.used + wide > self.width {
                self.end();
            }
            self.used += wide;
            self.line.push((c, style));
        }
    }

    fn blank(&mut self, style: Style) {
        if self.used >= self.width {
            self.end();
        } else if self.used > 0 {
            self.line.push((' ', style));
            self.used += 1;
        }
    }

    fn end(&mut self) {
        self.done.push(std::mem::take(&mut self.line));
        self.used = 0;
    }
}

/// Neighbours of one style together.
fn spans(begin: String, letters: Vec<(char, Style)>) -> Vec<Span<'static>> {
    let mut spans = vec![Span::raw(begin)];
    for (c, style) in letters {
        match spans.last_mut() {
            Some(last) if last.style == style => last.content.to_mut().push(c),
            _ => spans.push(Span::styled(c.to_string(), style)),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrapped(text: &str, width: usize) -> Vec<String> {
        wrap("- ", &[(text.to_owned(), Style::new())], width).iter().map(Line::to_string).collect()
    }

    #[test]
    fn text_is_broken_at_blanks_and_long_words_are_cut() {
        assert_eq!(wrapped("what a lovely day", 12), ["- what a ", "  lovely day"]);
        assert_eq!(wrapped("abcdefghijklmnop", 12), ["- abcdefghij", "  klmnop"]);
        assert_eq!(wrapped("one\n\ntwo", 12), ["- one", "  ", "  two"]);
        assert_eq!(wrapped("", 12), ["- "]);
        assert_eq!(wrapped("日本語日本語日本語", 12), ["- 日本語日本", "  語日本語"]);
    }

    #[test]
    fn a_text_is_cut_to_its_columns() {
        assert_eq!((fit("abc", 5), fit("abcdef", 5)), ("abc  ".to_owned(), "abcd…".to_owned()));
        assert_eq!(
            (cut("日本語", 5), cut("日本語", 6), cut("a", 0)),
            ("日本…".to_owned(), "日本語".to_owned(), String::new())
        );
        let line = Line::from(vec![Span::raw("ab"), Span::raw("cdef"), Span::raw("g")]);
        assert_eq!(cut_line(line, 5).to_string(), "abcd…");
    }

    #[test]
    fn marks_without_end_do_not_climb_over_other_lines() {
        let text = format!("a{}b", "\u{301}".repeat(500));
        assert_eq!(wrapped(&text, 12), [format!("- a{}b", "\u{301}".repeat(MAX_MARKS))]);
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked_and_no_letter_is_lost(text in "[a-z日 ]{0,200}", width in 10usize..40) {
            let lines = wrapped(&text, width);
            prop_assert!(lines.iter().all(|line| columns(line) <= width), "{:?}", lines);
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            let shown: String = lines.iter().map(|line| letters(&line[2..])).collect();
            prop_assert_eq!(shown, letters(&text));
        }

        #[test]
        fn what_is_fitted_has_its_columns(text in "\\PC{0,40}", width in 0usize..30) {
            prop_assert_eq!(columns(&fit(&text, width)), width);
        }
    }
}
