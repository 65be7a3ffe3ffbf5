//! The next character of a text, with HTML's character references decoded once.

use super::steps::looked_at;

/// A character and where the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) c: char,
    /// A few references stand for two characters.
    pub(super) second: Option<char>,
    pub(super) end: usize,
}

/// References that are decoded without their semicolon too, as feeds cut or forget it.
const WITHOUT_SEMICOLON: [&str; 5] = ["amp", "lt", "gt", "quot", "nbsp"];

/// The character at byte `at`, which is a character boundary; `None` at the end. Looks at a bounded number of bytes.
pub(super) fn raw_at(text: &str, at: usize) -> Option<Raw> {
    looked_at(1);
    let c = text.get(at..)?.chars().next()?;
    let plain = Raw { c, second: None, end: at + c.len_utf8() };
    Some(if c == '&' { reference(text, at).unwrap_or(plain) } else { plain })
}

/// `&name;`, `&#8217;` or `&#x2019;` at byte `at`, where the ampersand stands.
fn reference(text: &str, at: usize) -> Option<Raw> {
    let rest = &text.as_bytes()[at + 1..];
    let window = &rest[..rest.len().min(htmlize::ENTITY_MAX_LENGTH)];
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'#';
    let length = window.iter().position(|byte| !is_name(byte)).unwrap_or(window.len());
    looked_at(length + 1);
    let name = &text[at + 1..at + 1 + length];
    let with_semicolon = rest.get(length) == Some(&b';');
    if !with_semicolon {
        // A longer name is none of these.
        WITHOUT_SEMICOLON.iter().find(|known| **known == name)?;
        let c = if name == "nbsp" { ' ' } else { named(&text[at..at + 1 + length], name)?.0 };
        return Some(Raw { c, second: None, end: at + 1 + length });
    }
    let (c, second) = named(&text[at..at + length + 2], name)?;
    Some(Raw { c, second, end: at + length + 2 })
}

/// `reference` is `&name;`, or without the semicolon.
fn named(reference: &str, name: &str) -> Option<(char, Option<char>)> {
    if name.starts_with('#') {
        let decoded = htmlize::unescape(reference);
        let mut chars = decoded.chars();
        let c = chars.next()?;
        return chars.next().is_none().then_some((c, None));
    }
    let decoded = htmlize::ENTITIES.get(reference.as_bytes())?;
    let mut chars = std::str::from_utf8(decoded).ok()?.chars();
    Some((chars.next()?, chars.next()))
}
