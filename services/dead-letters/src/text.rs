//! Bytes of strangers on a terminal.

pub use jtav_text::terminal::{one_line, visible};

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
    fn bytes_that_are_no_text_are_counted_and_the_first_of_them_shown() {
        assert_eq!(bytes_or_text(b"\xff\x00"), "2 bytes that are not UTF-8: ff 00");
        assert_eq!(bytes_or_text(b"a\x1b[2J"), "a\\u{1b}[2J");
    }
}
