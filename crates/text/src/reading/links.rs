//! What names somebody or leads elsewhere: links, addresses, handles. None of it is read.

use super::characters::{is_of_word, lacks_blanks, mark};
use super::glyphs::Glyph;
use super::steps::looked_at;

/// Top-level domains that are no words: with one of these a name needs no path to be a link.
const PLAIN: [&str; 66] = [
    "ac", "ae", "app", "ar", "au", "biz", "br", "ca", "ch", "cl", "cn", "co", "com", "cz", "de", "dev", "dk", "edu",
    "es", "eu", "fi", "fm", "fr", "gg", "gl", "gov", "gr", "hk", "hu", "ie", "il", "info", "int", "io", "ir", "jp",
    "kr", "ly", "mil", "mobi", "mx", "net", "nl", "nz", "onion", "org", "ph", "pl", "pt", "ro", "rs", "ru", "se", "sg",
    "sk", "social", "th", "tk", "tr", "tv", "tw", "ua", "uk", "vn", "xyz", "za",
];
/// And these are words: what looks so is often two sentences without a blank.
const WORDS: [&str; 32] = [
    "art", "blog", "cloud", "club", "fun", "fyi", "jobs", "life", "link", "live", "love", "media", "museum", "name",
    "news", "one", "online", "page", "pro", "shop", "site", "space", "store", "team", "tech", "today", "top", "travel",
    "video", "vip", "wiki", "world",
];

/// More marks than this no letter has (`Glyphs`).
const MAX_MARKS: usize = 12;
/// RFC 1035 and RFC 5321.
const MAX_LABEL: usize = 63;
const MAX_DOMAIN: usize = 253;
const MAX_LOCAL_PART: usize = 64;
/// Names in scripts other than Latin are not ended by blanks everywhere.
const MAX_FOREIGN_HANDLE: usize = 30;

fn c(chunk: &[Glyph], at: usize) -> Option<char> {
    chunk.get(at).map(|glyph| glyph.c)
}

fn is(chunk: &[Glyph], at: usize, wanted: impl Fn(char) -> bool) -> bool {
    c(chunk, at).is_some_and(wanted)
}

/// The letter before `at`, or whatever else stands there, without its marks.
pub(super) fn base_before(chunk: &[Glyph], at: usize) -> Option<char> {
    let before = chunk[..at].iter().rev().take(MAX_MARKS).find(|glyph| mark(glyph.c).is_none());
    looked_at(1);
    before.map(|glyph| glyph.c)
}

/// Whether a word may begin at `at`: behind nothing, a sign, or a letter of a script without blanks.
pub(super) fn begins_word(chunk: &[Glyph], at: usize) -> bool {
    !base_before(chunk, at).is_some_and(is_of_word)
}

/// Whether `http://` or `https://` stands at `at`, which it does behind letters too.
pub(super) fn scheme_at(chunk: &[Glyph], at: usize) -> bool {
    looked_at(1);
    let says = |text: &str| text.chars().enumerate().all(|(i, l)| is(chunk, at + i, |c| c.eq_ignore_ascii_case(&l)));
    is(chunk, at, |c| matches!(c, 'h' | 'H')) && says("http") && (says("http://") || says("https://"))
}

/// Where a link ends that begins before `at`: marks of punctuation at its end are the sentence's.
pub(super) fn link_end(chunk: &[Glyph], at: usize) -> usize {
    let goes_on = |glyph: &Glyph| !matches!(glyph.c, '<' | '>' | '"' | '“' | '”' | '«' | '»') && !lacks_blanks(glyph.c);
    let rest = &chunk[at..];
    let length = rest.iter().position(|glyph| !goes_on(glyph)).unwrap_or(rest.len());
    looked_at(2 * length);
    let of_sentence = |glyph: &Glyph| matches!(glyph.c, '.' | ',' | '!' | '?' | ':' | ';' | ')' | ']' | '\'' | '*');
    at + rest[..length].iter().rposition(|glyph| !of_sentence(glyph)).map_or(0, |last| last + 1)
}

/// Labels with dots between them.
struct Domain {
    end: usize,
    last_label: usize,
    labels: usize,
}

fn domain_at(chunk: &[Glyph], at: usize) -> Option<Domain> {
    let mut domain = Domain { end: at, last_label: at, labels: 0 };
    loop {
        let from = domain.end + usize::from(domain.labels > 0);
        let label = chunk[from.min(chunk.len())..].iter().take(MAX_LABEL + 1);
        let length = label.take_while(|glyph| glyph.c.is_alphanumeric() || glyph.c == '-').count();
        looked_at(length + 1);
        let fits = (1..=MAX_LABEL).contains(&length) && from + length - at <= MAX_DOMAIN;
        if !fits || chunk[from].c == '-' {
            return (domain.labels > 0).then_some(domain);
        }
        domain = Domain { end: from + length, last_label: from, labels: domain.labels + 1 };
        if c(chunk, domain.end) != Some('.') {
            return Some(domain);
        }
    }
}

/// Whether the last label is one of `of`, and is not the capitalised beginning of a sentence (`end.It`).
fn ends_in(chunk: &[Glyph], domain: &Domain, of: &[&str]) -> bool {
    let label = &chunk[domain.last_label..domain.end];
    let is_sentence = domain.last_label >= 2
        && label.first().is_some_and(|glyph| glyph.c.is_uppercase())
        && !is(chunk, domain.last_label - 2, char::is_uppercase);
    let equals = |known: &&&str| {
        known.len() == label.len() && label.iter().zip(known.chars()).all(|(glyph, k)| glyph.c.eq_ignore_ascii_case(&k))
    };
    domain.labels > 1 && !is_sentence && of.iter().find(equals).is_some()
}

/// Two letters, whichever country that is.
fn ends_in_country(chunk: &[Glyph], domain: &Domain) -> bool {
    let label = &chunk[domain.last_label..domain.end];
    domain.labels > 1 && label.len() == 2 && label.iter().all(|glyph| glyph.c.is_ascii_lowercase())
}

/// Where what begins at `at` ends, if it is an address or a link without a scheme. `at` begins a word; `looked_to` is up
/// to where an earlier call found that there is none, so that no character is looked at again and again.
pub(super) fn address_end(chunk: &[Glyph], at: usize, looked_to: &mut usize) -> Option<usize> {
    if at < *looked_to || !is(chunk, at, char::is_alphanumeric) {
        return None;
    }
    let is_local = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-');
    let local = at + chunk[at..].iter().take(MAX_LOCAL_PART + 1).take_while(|glyph| is_local(glyph.c)).count();
    looked_at(local - at);
    if c(chunk, local) == Some('@')
        && let Some(domain) = domain_at(chunk, local + 1)
        && domain.labels > 1
        && domain.end - domain.last_label > 1
    {
        return Some(domain.end);
    }
    let domain = domain_at(chunk, at)?;
    let is_link = link_without_scheme(chunk, at, &domain);
    if is_link.is_none() {
        *looked_to = domain.last_label;
    }
    is_link
}

fn link_without_scheme(chunk: &[Glyph], at: usize, domain: &Domain) -> Option<usize> {
    let says_www = (0..3).all(|i| is(chunk, at + i, |c| c.eq_ignore_ascii_case(&'w'))) && c(chunk, at + 3) == Some('.');
    if says_www && domain.labels > 2 {
        return Some(link_end(chunk, domain.end));
    }
    let behind = (c(chunk, domain.end), c(chunk, domain.end + 1));
    let has_path = matches!(behind, (Some('/'), _) | (Some('?' | '#'), Some('a'..='z' | 'A'..='Z' | '0'..='9')))
        || matches!(behind, (Some(':'), Some('0'..='9')));
    if has_path && (ends_in(chunk, domain, &PLAIN) || ends_in(chunk, domain, &WORDS) || ends_in_country(chunk, domain))
    {
        return Some(link_end(chunk, domain.end));
    }
    let goes_on = matches!(behind.0, Some('@' | '_')) || behind == (Some('.'), Some('.'));
    (!goes_on && ends_in(chunk, domain, &PLAIN)).then_some(domain.end)
}

/// Where the handle ends whose `@` stands at `at`, the `'s` behind it included: `@name`, `@name.example.com`,
/// `@name@example.com`. `None` where no name follows.
pub(super) fn handle_end(chunk: &[Glyph], at: usize) -> Option<usize> {
    // Marks on it are part of it.
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || mark(c).is_some();
    let rest = chunk.get(at + 1..)?;
    let mut length = rest.iter().take_while(|glyph| is_name(glyph.c)).count();
    if length == 0 {
        let is_foreign = |c: char| c.is_alphanumeric() || c == '_';
        length = rest.iter().take(MAX_FOREIGN_HANDLE).take_while(|glyph| is_foreign(glyph.c)).count();
    }
    looked_at(length + 1);
    // A line alone is the mouth of a face: `@_@`.
    if !rest[..length].iter().any(|glyph| glyph.c.is_alphanumeric()) {
        return None;
    }
    let mut end = at + 1 + length;
    if let Some(domain) = domain_at(chunk, at + 1)
        && domain.end > end
        && (ends_in(chunk, &domain, &PLAIN) || ends_in(chunk, &domain, &WORDS))
    {
        end = domain.end;
    }
    if c(chunk, end) == Some('@')
        && let Some(domain) = domain_at(chunk, end + 1)
        && domain.labels > 1
    {
        end = domain.end;
    }
    let is_owner = c(chunk, end) == Some('\'')
        && is(chunk, end + 1, |c| matches!(c, 's' | 'S'))
        && !is(chunk, end + 2, char::is_alphanumeric);
    Some(if is_owner { end + 2 } else { end })
}
