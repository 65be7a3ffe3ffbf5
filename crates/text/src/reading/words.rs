//! One word of letters and digits: script, case, length and stretching.

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use super::characters::{Script, cyrillic_twin, is_joiner, lacks_blanks, latin_twin, mark, script};
use super::emoticons::emoticon_of_letters;
use super::glyphs::Glyph;
use super::output::Output;
use super::steps::looked_at;
use super::stretching::{MAX_WORD_CHARS, squeezed};
use super::word::{ReadWord, WordKind};

/// The words of a run without blanks and symbols, where `kind` is what a word of letters is.
pub(super) fn read_run(run: &[Glyph], kind: WordKind, output: &mut Output) {
    looked_at(run.len());
    if !run.iter().any(|glyph| lacks_blanks(glyph.c)) {
        return read_word(run, kind, output);
    }
    let text: String = run.iter().map(|glyph| glyph.c).collect();
    let mut rest = run;
    for segment in text.split_word_bounds() {
        let (word, after) = rest.split_at(segment.chars().count().min(rest.len()));
        looked_at(segment.len());
        read_word(word, kind, output);
        rest = after;
        if output.is_full() {
            return;
        }
    }
}

fn read_word(mut word: &[Glyph], kind: WordKind, output: &mut Output) {
    let at_edge = |glyph: &Glyph| glyph.c == '\'' || is_joiner(glyph.c);
    while let [first, rest @ ..] = word
        && (at_edge(first) || mark(first.c).is_some())
    {
        word = rest;
    }
    while let [rest @ .., last] = word
        && at_edge(last)
    {
        word = rest;
    }
    looked_at(word.len());
    let ([first, .., last] | [first @ last]) = word else { return };
    if !word.iter().any(|glyph| glyph.c.is_alphanumeric()) {
        return;
    }
    let case = Case::of(word);
    let (mut text, stretched) = if word.len() <= MAX_WORD_CHARS && word.iter().all(|glyph| glyph.c.is_ascii()) {
        let text: String = word.iter().map(|glyph| glyph.c.to_ascii_lowercase()).collect();
        let is_stretched = text.as_bytes().windows(3).any(|three| three[0] == three[1] && three[1] == three[2]);
        if is_stretched { squeezed(text.chars()) } else { (text, false) }
    } else {
        let twin = twin_of(word);
        // A letter that was folded may have a mark that it is composed with.
        squeezed(word.iter().map(|glyph| small(twin(glyph.c).unwrap_or(glyph.c))).nfc())
    };
    // Where a long word was cut.
    text.truncate(text.trim_end_matches(|c| matches!(c, '\'' | '.' | ',') || is_joiner(c)).len());
    if let Some(shown) = emoticon_of_letters(&text) {
        return output.push_symbol(shown, WordKind::Emoticon, first.start..last.end);
    }
    let kind = if case.is_number { WordKind::Number } else { kind };
    output.push(ReadWord { text, kind, source: first.start..last.end, shouted: case.is_shouted, stretched });
}

struct Case {
    is_number: bool,
    is_shouted: bool,
}

impl Case {
    fn of(word: &[Glyph]) -> Self {
        let capitals = word.iter().filter(|glyph| glyph.c.is_uppercase()).count();
        Self {
            is_number: word.iter().all(|glyph| glyph.c.is_numeric() || matches!(glyph.c, '.' | ',')),
            is_shouted: capitals >= 2 && !word.iter().any(|glyph| glyph.c.is_lowercase()),
        }
    }
}

/// Its small letter; `İ`, the one whose small form is two characters, was folded before.
fn small(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// What makes a word of one script: a fold to Latin or to Cyrillic where letters of both are mixed and those of one all
/// look like letters of the other.
fn twin_of(word: &[Glyph]) -> fn(char) -> Option<char> {
    let has = |wanted: Script| word.iter().any(|glyph| script(glyph.c) == wanted);
    let none: fn(char) -> Option<char> = |_| None;
    if word.iter().all(|glyph| glyph.c.is_ascii()) || !has(Script::Latin) {
        return none;
    }
    let foreign = |glyph: &&Glyph| matches!(script(glyph.c), Script::Cyrillic | Script::Greek);
    let latin = |glyph: &&Glyph| script(glyph.c) == Script::Latin;
    if !word.iter().any(|glyph| foreign(&glyph)) {
        none
    } else if word.iter().filter(foreign).all(|glyph| latin_twin(glyph.c).is_some()) {
        latin_twin
    } else if !has(Script::Greek) && word.iter().filter(latin).all(|glyph| cyrillic_twin(glyph.c).is_some()) {
        cyrillic_twin
    } else {
        none
    }
}
