//! Names of topics: `#BestDayEver_2026`, `#blacklivesmatter`, `$TSLA`.

use super::characters::{is_joiner, mark, part};
use super::glyphs::Glyph;
use super::lexicon::{MAX_JOINED, lexicon};
use super::links::base_before;
use super::output::Output;
use super::steps::looked_at;
use super::word::WordKind;
use super::words::read_run;

/// The longest ticker in use, and a bit.
const MAX_TICKER: usize = 6;
/// Fewer letters are one word.
const MIN_JOINED: usize = 5;

/// Reads the name after the `#` at `at`; returns where it ends, or `None` without a name.
pub(super) fn read_hashtag(chunk: &[Glyph], at: usize, output: &mut Output) -> Option<usize> {
    let rest = &chunk[at + 1..];
    let is_letter = |i: usize| rest.get(i).is_some_and(|glyph| glyph.c.is_alphanumeric() && mark(glyph.c).is_none());
    let goes_on = |i: usize| match rest[i].c {
        '_' => true,
        '\'' => i > 0 && is_letter(i - 1) && is_letter(i + 1),
        c if mark(c).is_some() || is_joiner(c) => i > 0,
        c => c.is_alphanumeric(),
    };
    let length = (0..rest.len()).find(|&i| !goes_on(i)).unwrap_or(rest.len());
    looked_at(length + 1);
    if !rest[..length].iter().any(|glyph| glyph.c.is_alphanumeric()) {
        return None;
    }
    let mut from = 0;
    for to in 1..=length {
        if to < length && !is_boundary(&rest[..length], to) {
            continue;
        }
        let part = &rest[from..to];
        from = to;
        read_part(part, output);
        if output.is_full() {
            break;
        }
    }
    Some(at + 1 + length)
}

/// Whether a new part of the name begins at `at`: after `_`, at a capital behind a small letter, at the last of several
/// capitals (`NBAFinals`), where digits begin or end, where a script without blanks ends.
fn is_boundary(name: &[Glyph], at: usize) -> bool {
    looked_at(1);
    let (before, here) = (name[at - 1].c, name[at].c);
    let after = name.get(at + 1).map(|glyph| glyph.c);
    let is_cased = |c: char| c.is_uppercase() || c.is_lowercase();
    before == '_'
        || here == '_'
        || before.is_lowercase() && here.is_uppercase()
        || before.is_uppercase() && here.is_uppercase() && after.is_some_and(char::is_lowercase)
        || before.is_numeric() && is_cased(here)
        || is_cased(before) && here.is_numeric()
        || here.is_alphanumeric() && base_before(name, at).is_some_and(|base| part(base, here))
}

fn read_part(part: &[Glyph], output: &mut Output) {
    let may_be_joined = (MIN_JOINED..=MAX_JOINED).contains(&part.len());
    if may_be_joined && part.iter().all(|glyph| glyph.c.is_ascii_alphabetic()) {
        let joined: String = part.iter().map(|glyph| glyph.c.to_ascii_lowercase()).collect();
        if let Some(ends) = lexicon().ends_of_joined(&joined) {
            let mut from = 0;
            for end in ends {
                read_run(&part[from..end], WordKind::Hashtag, output);
                from = end;
            }
            return;
        }
    }
    read_run(part, WordKind::Hashtag, output);
}

/// Reads the ticker after the `$` at `at`: one to six capitals. Returns where it ends, `None` for none.
pub(super) fn read_cashtag(chunk: &[Glyph], at: usize, output: &mut Output) -> Option<usize> {
    let rest = &chunk[at + 1..];
    let length = rest.iter().take(MAX_TICKER + 1).take_while(|glyph| glyph.c.is_ascii_uppercase()).count();
    looked_at(length + 1);
    let ends = !rest.get(length).is_some_and(|glyph| glyph.c.is_alphanumeric() || glyph.c == '_');
    if !ends || !(1..=MAX_TICKER).contains(&length) {
        return None;
    }
    read_run(&rest[..length], WordKind::Hashtag, output);
    Some(at + 1 + length)
}
