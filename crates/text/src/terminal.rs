//! Text of strangers on a terminal.

/// Text on one line with at most `max` characters: control characters are written out, because a terminal would obey
/// them.
pub fn one_line(text: &str, max: usize) -> String {
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == max {
            shown.push('…');
            break;
        }
        push_visible(&mut shown, c);
    }
    shown
}

/// JSON on one line, in which every character that a terminal would obey, or that misleads, is an escape: the same JSON.
/// Raw, such characters stand in its strings alone.
pub fn visible_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // Between its parts: in a string they are escapes already.
            '\n' | '\r' | '\t' => shown.push(' '),
            c if c.is_control() || misleads(c) => {
                let units = c.encode_utf16(&mut [0; 2]).to_vec();
                shown.extend(units.into_iter().map(|unit| format!("\\u{unit:04x}")));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// Text as it is, line breaks included, with all other control characters written out.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' { shown.push(c) } else { push_visible(&mut shown, c) }
    }
    shown
}

fn push_visible(shown: &mut String, c: char) {
    if c.is_control() || misleads(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
}

/// What lets a text read as another one without being seen: marks of direction, breaks of lines that are no control
/// characters, letters of no width, tags and variants of letters, and private ones, which a terminal may show as anything.
/// The joiner and the variants that emoji are made of (U+200D, U+FE0F) stay.
fn misleads(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0e}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e0fff}'
        | '\u{f0000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_never_sent_what_it_would_obey() {
        assert_eq!(one_line("a\u{1b}[2Jb\n\u{202e}c", 20), "a\\u{1b}[2Jb\\n\\u{202e}c");
        assert_eq!(visible("a\nb\r\u{7}"), "a\nb\\r\\u{7}");
        assert_eq!(
            visible("a\u{200b}\u{2028}\u{e0041}\u{feff}\u{e000}"),
            "a\\u{200b}\\u{2028}\\u{e0041}\\u{feff}\\u{e000}"
        );
        assert_eq!(visible("👩\u{200d}🔬 ❤\u{fe0f} ä 字"), "👩\u{200d}🔬 ❤\u{fe0f} ä 字", "what people write stays");
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(
            visible_json("{\n\"a\u{202e}\": \"\u{9b}2J\u{e0041}ä\"}"),
            r#"{ "a\u202e": "\u009b2J\udb40\udc41ä"}"#
        );
    }
}
