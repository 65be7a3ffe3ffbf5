//! A run of characters without blanks and emoji, from left to right.

use super::characters::{is_joiner, mark, part};
use super::emoticons::emoticon_at;
use super::glyphs::Glyph;
use super::hashtags::{read_cashtag, read_hashtag};
use super::links::{address_end, base_before, begins_word, handle_end, link_end, scheme_at};
use super::output::Output;
use super::steps::looked_at;
use super::word::WordKind;
use super::words::read_run;

/// Reads until the chunk ends or the output is full.
pub(super) fn read_chunk(chunk: &[Glyph], output: &mut Output) {
    let may_hold_address = chunk.iter().any(|glyph| matches!(glyph.c, '.' | '@'));
    looked_at(chunk.len());
    let (mut at, mut looked_to) = (0, if may_hold_address { 0 } else { chunk.len() });
    while at < chunk.len() && !output.is_full() {
        looked_at(1);
        at = unread_end(chunk, at, &mut looked_to).unwrap_or_else(|| read_at(chunk, at, output));
    }
}

/// Where a link, an address or a handle ends that begins at `at`.
fn unread_end(chunk: &[Glyph], at: usize, looked_to: &mut usize) -> Option<usize> {
    if scheme_at(chunk, at) {
        return Some(link_end(chunk, at + "http://".len()));
    }
    if !begins_word(chunk, at) {
        return None;
    }
    if chunk[at].c == '@' { handle_end(chunk, at) } else { address_end(chunk, at, looked_to) }
}

/// Reads what begins at `at` and returns where it ends, behind `at`.
fn read_at(chunk: &[Glyph], at: usize, output: &mut Output) -> usize {
    let first = chunk[at];
    if let Some((end, name)) = emoticon_at(chunk, at) {
        output.push_symbol(name, WordKind::Emoticon, first.start..chunk[end - 1].end);
        return end;
    }
    let tag_end = match first.c {
        '#' => read_hashtag(chunk, at, output),
        '$' if begins_word(chunk, at) => read_cashtag(chunk, at, output),
        _ => None,
    };
    match first.c {
        _ if tag_end.is_some() => tag_end.unwrap_or(at + 1),
        c if begins_word_part(c) => {
            let end = run_end(chunk, at);
            read_run(&chunk[at..end], WordKind::Word, output);
            end
        }
        '.' | ',' | '!' | '?' | ':' | ';' => read_punctuation(chunk, at, output),
        _ => at + 1,
    }
}

/// Where the letters and digits end that begin at `at`, with apostrophes, dots and commas of numbers between them.
fn run_end(chunk: &[Glyph], at: usize) -> usize {
    let c = |i: usize| chunk.get(i).map(|glyph| glyph.c);
    let is_digit = |i: usize| c(i).is_some_and(char::is_numeric);
    let mut end = at + 1;
    while let Some(here) = c(end) {
        looked_at(1);
        let goes_on = match here {
            // Most of what is written: letters of one script, where no link begins.
            'a'..='g' | 'i'..='z' | 'A'..='G' | 'I'..='Z' | '0'..='9'
                if c(end - 1).is_some_and(|c| c.is_ascii_alphanumeric()) =>
            {
                true
            }
            // A script without blanks parts from one with them.
            _ if here.is_alphanumeric() => {
                !scheme_at(chunk, end) && !base_before(chunk, end).is_some_and(|before| part(before, here))
            }
            '\'' => c(end - 1) != Some('\'') && c(end + 1).is_some_and(begins_word_part),
            '.' | ',' => is_digit(end - 1) && is_digit(end + 1),
            _ => mark(here).is_some() || is_joiner(here),
        };
        if !goes_on {
            break;
        }
        end += 1;
    }
    end
}

/// Some marks are letters too, but none stands without another before it.
fn begins_word_part(c: char) -> bool {
    c.is_alphanumeric() && mark(c).is_none()
}

/// Equal marks in a row are one token of three at most.
fn read_punctuation(chunk: &[Glyph], at: usize, output: &mut Output) -> usize {
    let first = chunk[at];
    let times = chunk[at..].iter().take_while(|glyph| glyph.c == first.c).count();
    looked_at(times);
    output.push_punctuation(first.c, times, first.start..chunk[at + times - 1].end);
    at + times
}
