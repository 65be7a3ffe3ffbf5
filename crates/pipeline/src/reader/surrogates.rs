//! Half an emoji. Programs that cut strings by UTF-16 units write `"\ud83d"`, which no reader of UTF-8 can represent.

use std::borrow::Cow;

/// `text` with `\ufffd` in place of each escape of a surrogate without its other half. Linear; the length stays the same,
/// so a place in one is the place in the other.
pub(super) fn mended(text: Cow<'_, str>) -> Cow<'_, str> {
    let lone = lone_surrogates(text.as_bytes());
    if lone.is_empty() {
        return text;
    }
    let mut mended = String::with_capacity(text.len());
    let mut copied = 0;
    for at in lone {
        mended.push_str(&text[copied..at]);
        mended.push_str("\\ufffd");
        copied = at + ESCAPE_BYTES;
    }
    mended.push_str(&text[copied..]);
    Cow::Owned(mended)
}

/// `\uXXXX`.
const ESCAPE_BYTES: usize = 6;

fn lone_surrogates(json: &[u8]) -> Vec<usize> {
    let mut lone = Vec::new();
    let mut at = 0;
    while let Some(step) = json.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == b'\\')) {
        at += step;
        at += match unit(json, at) {
            // Any other escape is two bytes, so that the second one of `\\` begins none.
            None => 2,
            Some(0xD800..=0xDBFF) if matches!(unit(json, at + ESCAPE_BYTES), Some(0xDC00..=0xDFFF)) => 2 * ESCAPE_BYTES,
            Some(0xD800..=0xDFFF) => {
                lone.push(at);
                ESCAPE_BYTES
            }
            Some(_) => ESCAPE_BYTES,
        };
    }
    lone
}

/// The UTF-16 unit whose escape begins at `at`.
fn unit(json: &[u8], at: usize) -> Option<u32> {
    let digits = json.get(at..at + ESCAPE_BYTES)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, &digit| Some(16 * unit + char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mend(text: &str) -> String {
        mended(Cow::Borrowed(text)).into_owned()
    }

    #[test]
    fn halves_become_the_replacement_character_and_pairs_stay() {
        assert_eq!(mend(r#""a\ud83d""#), r#""a\ufffd""#);
        assert_eq!(mend(r#""\ude00b\uDE00""#), r#""\ufffdb\ufffd""#);
        assert_eq!(mend(r#""\ud83d\ude00""#), r#""\ud83d\ude00""#);
        assert_eq!(mend(r#""\ud83d\ud83d\ude00""#), r#""\ufffd\ud83d\ude00""#);
        assert_eq!(mend(r#""\ud83d\n\ude00""#), r#""\ufffd\n\ufffd""#);
        assert!(matches!(mended(Cow::Borrowed(r#""\u00e9""#)), Cow::Borrowed(_)), "nothing is copied without need");
    }

    #[test]
    fn an_escaped_backslash_begins_no_escape() {
        for text in [r#""\\ud83d""#, r#""\\\\ud83d""#, r#""\ud83""#, r#""\u+83d""#, "\"\\"] {
            assert_eq!(mend(text), text);
        }
        assert_eq!(mend(r#""\\\ud83d""#), r#""\\\ufffd""#);
    }

    proptest! {
        /// Independent reference: UTF-16 units, decoded lossily by the standard library.
        #[test]
        fn what_is_read_is_what_utf16_gives(units in prop::collection::vec(
            prop_oneof![0xD7F0u16..0xE010, 0x20u16..0x7F], 0..40)
        ) {
            let json: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let read: String = serde_json::from_str(&mend(&format!("\"{json}\""))).unwrap();
            prop_assert_eq!(read, String::from_utf16_lossy(&units));
        }

        #[test]
        fn any_text_keeps_its_length(text in r#"(\\|u|d83d|\\ud83d|\\ude00|"|é|😀){0,30}"#) {
            prop_assert_eq!(mend(&text).len(), text.len());
        }
    }
}
