//! Bytes of strangers on a terminal.

/// Text on one line with at most `max` characters: control characters are written out, because a terminal would obey
/// them.
pub(crate) fn one_line(text: &str, max: usize) -> String {
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

/// Text as it is, line breaks included, with all other control characters written out.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' { shown.push(c) } else { push_visible(&mut shown, c) }
    }
    shown
}

fn push_visible(shown: &mut String, c: char) {
    // Marks of direction let a text read as another one.
    let misleads = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || misleads { shown.extend(c.escape_default()) } else { shown.push(c) }
}

/// Bytes as text where they are UTF-8, else how many there are and the first of them.
pub(crate) fn bytes_or_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => visible(text),
        Err(_) => {
            let first: Vec<String> = bytes.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
            format!(
                "{} bytes that are not UTF-8: {}{}",
                bytes.len(),
                first.join(" "),
                if bytes.len() > 32 { " …" } else { "" }
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_never_sent_what_it_would_obey() {
        assert_eq!(one_line("a\u{1b}[2Jb\n\u{202e}c", 20), "a\\u{1b}[2Jb\\n\\u{202e}c");
        assert_eq!(visible("a\nb\r\u{7}"), "a\nb\\r\\u{7}");
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(bytes_or_text(b"\xff\x00"), "2 bytes that are not UTF-8: ff 00");
    }
}
