//! Emoji of one or several characters, and their names.

use emojis::{Emoji, SkinTone};

use super::entities::{Raw, raw_at};
use super::steps::looked_at;

/// The longest is a kiss of two people with a skin tone each: ten characters. Longer is none.
const MAX_CHARS: usize = 10;

/// Emoji that are read as letters where a letter stands beside them (`🅱ad`).
const LETTERS: [char; 4] = ['🅰', '🅱', '🅾', '🅿'];

/// The longest emoji at byte `at`, where `first` stands, and where the text goes on after it, selectors included.
pub(super) fn emoji_at(text: &str, at: usize, first: Raw) -> Option<(&'static Emoji, usize)> {
    if !may_begin(text, first) || LETTERS.contains(&first.c) && beside_letter(text, at, first) {
        return None;
    }
    // As it stands, without selectors, and where each part ends.
    let (mut whole, mut ends) = (String::from(first.c), Vec::new());
    let mut previous = first;
    let mut chars = 1;
    while let Some(next) = raw_at(text, previous.end) {
        if chars == MAX_CHARS || !goes_on(previous.c, next.c, chars) {
            break;
        }
        if next.c == '\u{200D}' {
            ends.push((whole.len(), previous.end));
        }
        if next.c != '\u{FE0E}' {
            whole.push(next.c);
        }
        previous = next;
        chars += 1;
    }
    ends.push((whole.len(), previous.end));
    let first_alone = (first.c.len_utf8(), first.end);
    if ends[0] != first_alone {
        ends.insert(0, first_alone);
    }
    let found = ends.iter().rev().find_map(|&(length, end)| Some((known(&whole[..length])?, end)));
    found.map(|(emoji, end)| (emoji.with_skin_tone(SkinTone::Default).unwrap_or(emoji), end))
}

/// The emoji with or without the selectors that its table has.
fn known(sequence: &str) -> Option<&'static Emoji> {
    looked_at(sequence.len());
    emojis::get(sequence).or_else(|| {
        let bare: String = sequence.chars().filter(|&c| c != '\u{FE0F}').collect();
        if bare.len() < sequence.len() { emojis::get(&bare) } else { None }
    })
}

/// Most characters begin none. Signs such as ™ and ‼ are emoji too, but are read as text.
fn may_begin(text: &str, first: Raw) -> bool {
    match first.c {
        '#' | '*' | '0'..='9' => behind_selector(text, first).is_some_and(|raw| raw.c == '\u{20E3}'),
        '\u{24C2}' => false,
        '\u{2139}'..='\u{2BFF}' | '\u{1F000}'..='\u{1FAFF}' => true,
        '\u{3030}' | '\u{303D}' | '\u{3297}' | '\u{3299}' => true,
        _ => false,
    }
}

fn goes_on(previous: char, next: char, chars: usize) -> bool {
    let is_region = |c: char| matches!(c, '\u{1F1E6}'..='\u{1F1FF}');
    match next {
        '\u{FE0E}' | '\u{FE0F}' | '\u{200D}' | '\u{20E3}' => true,
        '\u{1F3FB}'..='\u{1F3FF}' | '\u{E0020}'..='\u{E007F}' => true,
        _ if is_region(next) => is_region(previous) && chars == 1,
        _ => previous == '\u{200D}' && next > '\u{2000}',
    }
}

fn beside_letter(text: &str, at: usize, first: Raw) -> bool {
    let is_letter = |c: char| c.is_alphabetic() || matches!(c, '\u{1F150}'..='\u{1F189}');
    let next = behind_selector(text, first);
    text[..at].chars().next_back().is_some_and(is_letter) || next.is_some_and(|raw| is_letter(raw.c))
}

fn behind_selector(text: &str, first: Raw) -> Option<Raw> {
    let next = raw_at(text, first.end)?;
    if next.c == '\u{FE0F}' { raw_at(text, next.end) } else { Some(next) }
}

/// What an emoji is read as: its CLDR short name. But a heart from a pack of cards is meant as a heart.
pub(super) fn name(emoji: &'static Emoji) -> &'static str {
    if emoji.as_str().starts_with('♥') { "red heart" } else { emoji.name() }
}

/// The words of a name: `flag: Germany` gives `flag` and `germany`.
pub(super) fn words_of_name(name: &str) -> impl Iterator<Item = String> {
    let parts = name.split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '’')));
    parts.map(|part| part.trim_matches(['\'', '’']).replace('’', "'").to_lowercase()).filter(|word| !word.is_empty())
}
