//! VADER over words that were read.

use std::sync::LazyLock;

use jtav_text::vader::Vader;

use super::word::Word;

/// Parsing the lexicon takes milliseconds.
static VADER: LazyLock<Vader> = LazyLock::new(Vader::new);

/// The compound score of the parts together, -1 to 1; 0 for words that the lexicon does not know. Capitals count, so a
/// shouted word is handed over as it was written.
pub(super) fn compound<'a>(parts: impl Iterator<Item = &'a [Word]>) -> f32 {
    let mut text = String::new();
    for word in parts.flatten() {
        // Marks stand at the word before them, as people write them.
        if !text.is_empty() && !word.is_mark {
            text.push(' ');
        }
        if word.is_shouted {
            text.push_str(&word.text.to_uppercase());
        } else {
            text.push_str(&word.text);
        }
    }
    VADER.compound(&text)
}
