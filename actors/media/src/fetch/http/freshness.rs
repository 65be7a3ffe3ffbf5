//! How long an answer may be used unasked, as a shared cache understands RFC 9111. Pure. Why not `http-cache-semantics`:
//! ADR 18.
//!
//! Shared, because what one author's post had fetched serves the posts of others; so `private` keeps an answer out and
//! `s-maxage` counts. No request carries a cookie or a credential, and all carry the same headers, so `Vary` can only
//! matter as `*`. Headers come from strangers: numbers saturate, what cannot be read makes an answer stale.

use std::time::{Duration, SystemTime};

use reqwest::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderMap, HeaderName, LAST_MODIFIED, PRAGMA, VARY};

/// Nothing is taken for granted longer than this, whatever a server allows.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// Part of an answer's age at its sending for which it is taken for granted where the server says nothing (RFC 9111 4.2.2).
const HEURISTIC_SHARE: u32 = 10;

/// What one answer allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// From its making; explicit or guessed.
    pub(crate) lifetime: Duration,
    /// When it arrived.
    pub(crate) age: Duration,
}

/// What kind of answer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// With a body: `Last-Modified` lets its lifetime be guessed.
    Content,
    /// With another address: only what it says counts.
    Redirect,
}

impl Freshness {
    /// From the headers of an answer that came at `now`, `delay` after it was asked for; `None` where nothing of it may be
    /// kept.
    pub(crate) fn of(headers: &HeaderMap, answered: Answered, now: SystemTime, delay: Duration) -> Option<Self> {
        let directives = Directives::of(headers);
        if directives.no_store || directives.private {
            return None;
        }
        let date = date(headers, &DATE).unwrap_or(now);
        let apparent_age = now.duration_since(date).unwrap_or_default();
        let age = headers.get(AGE).map_or(Duration::ZERO, |value| seconds(value.to_str().unwrap_or_default()));
        let lifetime = if directives.no_cache || varies_by_anything(headers) {
            Duration::ZERO
        } else {
            explicit(headers, &directives, date).unwrap_or_else(|| match answered {
                Answered::Content => guessed(headers, date),
                Answered::Redirect => Duration::ZERO,
            })
        };
        Some(Self { lifetime: lifetime.min(LONGEST), age: apparent_age.max(age.saturating_add(delay)) })
    }

    /// Whether the headers say anything about time; a 304 that does not leaves what its 200 said.
    pub(crate) fn is_stated(headers: &HeaderMap) -> bool {
        headers.contains_key(CACHE_CONTROL) || headers.contains_key(EXPIRES)
    }

    /// What is left when it arrives.
    pub(crate) fn remaining(self) -> Duration {
        self.lifetime.saturating_sub(self.age)
    }
}

fn explicit(headers: &HeaderMap, directives: &Directives, date: SystemTime) -> Option<Duration> {
    if let Some(lifetime) = directives.s_maxage.or(directives.max_age) {
        return Some(lifetime);
    }
    // What is no date, "0" above all, lies in the past (RFC 9111 5.3).
    let expires =
        headers.contains_key(EXPIRES).then(|| self::date(headers, &EXPIRES).unwrap_or(SystemTime::UNIX_EPOCH))?;
    Some(expires.duration_since(date).unwrap_or_default())
}

fn guessed(headers: &HeaderMap, date: SystemTime) -> Duration {
    let modified = self::date(headers, &LAST_MODIFIED);
    modified.and_then(|modified| date.duration_since(modified).ok()).unwrap_or_default() / HEURISTIC_SHARE
}

fn varies_by_anything(headers: &HeaderMap) -> bool {
    let names = headers.get_all(VARY).into_iter().filter_map(|value| value.to_str().ok());
    names.flat_map(|names| names.split(',')).any(|name| name.trim() == "*")
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?.trim()).ok()
}

/// A number of seconds; one that does not fit is the longest, what is none is 0.
fn seconds(text: &str) -> Duration {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Duration::ZERO;
    }
    // 2^31 stands for what is too large (RFC 9111 1.2.2).
    Duration::from_secs(text.parse::<u64>().unwrap_or(u64::MAX).min(1 << 31))
}

/// What of `Cache-Control` matters here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Directives {
    no_store: bool,
    private: bool,
    no_cache: bool,
    s_maxage: Option<Duration>,
    max_age: Option<Duration>,
}

impl Directives {
    fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        let fields = headers.get_all(CACHE_CONTROL);
        for field in &fields {
            // Bytes that are no text may hide any directive.
            let Ok(text) = field.to_str() else {
                found.no_store = true;
                continue;
            };
            for directive in split_unquoted(text) {
                found.take(directive);
            }
        }
        if fields.iter().next().is_none() {
            // The directive's name before HTTP/1.1.
            let old = headers.get(PRAGMA).and_then(|value| value.to_str().ok()).unwrap_or_default();
            found.no_cache = old.to_ascii_lowercase().contains("no-cache");
        }
        found
    }

    fn take(&mut self, directive: &str) {
        let (name, value) = directive.split_once('=').map_or((directive, ""), |(name, value)| (name, value));
        let value = value.trim().trim_matches('"');
        // Twice: the shorter one, so that what contradicts itself is not trusted for long.
        let shorter = |known: Option<Duration>| Some(known.map_or(seconds(value), |known| known.min(seconds(value))));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" => self.no_store = true,
            // With field names too: which fields an answer has is nothing that is kept, but its author was wary.
            "private" => self.private = true,
            "no-cache" => self.no_cache = true,
            "s-maxage" => self.s_maxage = shorter(self.s_maxage),
            "max-age" => self.max_age = shorter(self.max_age),
            _ => {}
        }
    }
}

/// Parts between commas that stand in no quotation.
fn split_unquoted(text: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        let literal = escaped;
        escaped = quoted && c == '\\' && !literal;
        if c == '"' && !literal {
            quoted = !quoted;
        }
        c == ',' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    /// 1994-11-06 08:49:37 UTC.
    const DATE_SECONDS: u64 = 784_111_777;
    const DATE_TEXT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Seconds that are left of an answer sent and received at `DATE_TEXT`.
    fn left(fields: &[(&'static str, &str)]) -> Option<u64> {
        let fresh = Freshness::of(&headers(fields), Answered::Content, at(DATE_SECONDS), Duration::ZERO);
        fresh.map(|fresh| fresh.remaining().as_secs())
    }

    #[test]
    fn what_must_not_be_stored_by_a_shared_cache_is_not() {
        for value in
            ["no-store", "No-Store", "private", "PRIVATE, max-age=60", "max-age=60 , no-store", "private=\"x-a, x-b\""]
        {
            assert_eq!(left(&[("cache-control", value)]), None, "{value}");
        }
        assert_eq!(left(&[("cache-control", "max-age=60"), ("cache-control", "no-store")]), None, "in a second field");
        // A quotation hides its commas.
        assert_eq!(left(&[("cache-control", "x=\"a, no-store\\\", private\", max-age=60")]), Some(60));
    }

    #[test]
    fn a_shared_cache_takes_s_maxage_before_max_age_before_expires_before_a_guess() {
        let expires = ("expires", "Sun, 06 Nov 1994 08:50:37 GMT");
        let modified = ("last-modified", "Sun, 06 Nov 1994 07:49:37 GMT");
        assert_eq!(left(&[("cache-control", "max-age=10, s-maxage=20"), expires, modified]), Some(20));
        assert_eq!(left(&[("cache-control", "Max-Age=\"10\""), expires, modified]), Some(10));
        assert_eq!(left(&[("cache-control", "public"), ("date", DATE_TEXT), expires, modified]), Some(60));
        assert_eq!(left(&[modified]), Some(360), "a tenth of an hour");
        assert_eq!(left(&[]), Some(0), "storable, to be asked for each time");
        assert_eq!(left(&[("expires", "0"), modified]), Some(0));
    }

    #[test]
    fn what_must_be_asked_for_each_time_is_stale_at_once() {
        for fields in [
            [("cache-control", "no-cache, max-age=60")],
            [("cache-control", "no-cache=\"set-cookie\", max-age=60")],
            [("cache-control", "max-age=-1")],
            [("cache-control", "max-age=soon")],
            [("cache-control", "max-age")],
            [("cache-control", "max-age=60, max-age=0")],
        ] {
            assert_eq!(left(&fields), Some(0), "{fields:?}");
        }
        assert_eq!(left(&[("cache-control", "max-age=60"), ("vary", "accept, *")]), Some(0));
        assert_eq!(left(&[("cache-control", "max-age=60"), ("vary", "accept, accept-encoding")]), Some(60));
        assert_eq!(left(&[("pragma", "No-Cache"), ("expires", "Sun, 06 Nov 1994 08:50:37 GMT")]), Some(0));
    }

    #[test]
    fn age_is_what_the_caches_before_say_or_what_the_clock_says_whichever_is_more() {
        let fresh = |fields: &[(&'static str, &str)], later: u64, delay: u64| {
            let delay = Duration::from_secs(delay);
            Freshness::of(&headers(fields), Answered::Content, at(DATE_SECONDS + later), delay)
                .unwrap()
                .remaining()
                .as_secs()
        };
        let (hundred, sent) = (("cache-control", "max-age=100"), ("date", DATE_TEXT));
        assert_eq!(fresh(&[hundred, sent], 30, 0), 70);
        assert_eq!(fresh(&[hundred, sent, ("age", "40")], 30, 5), 55);
        assert_eq!(fresh(&[hundred, ("age", "99999999999999999999999")], 0, 5), 0);
        assert_eq!(fresh(&[hundred, ("date", "Sun, 06 Nov 2094 08:49:37 GMT")], 0, 0), 100, "a clock ahead of ours");
    }

    #[test]
    fn a_redirect_is_taken_for_granted_only_as_long_as_it_says() {
        let of = |fields| Freshness::of(&headers(fields), Answered::Redirect, at(DATE_SECONDS), Duration::ZERO);
        assert_eq!(of(&[("last-modified", "Sun, 06 Nov 1994 07:49:37 GMT")]).unwrap().remaining(), Duration::ZERO);
        assert_eq!(of(&[("cache-control", "max-age=7")]).unwrap().remaining(), Duration::from_secs(7));
    }

    proptest! {
        #[test]
        fn no_header_of_a_stranger_panics_or_gains_more_than_a_day(
            control in "[ -~]{0,60}", age in "[ -~]{0,30}", expires in "[ -~]{0,40}", date in "[ -~]{0,40}",
        ) {
            let mut fields = HeaderMap::new();
            for (name, value) in [(CACHE_CONTROL, &control), (AGE, &age), (EXPIRES, &expires), (DATE, &date)] {
                fields.insert(name, HeaderValue::from_str(value).unwrap());
            }
            let fresh = Freshness::of(&fields, Answered::Content, SystemTime::now(), Duration::MAX);
            prop_assert!(fresh.is_none_or(|fresh| fresh.remaining() <= LONGEST));
        }

        #[test]
        fn an_answer_is_never_fresh_for_longer_than_its_smallest_limit(a in 0_u64..100_000, b in 0_u64..100_000, age in 0_u64..200_000) {
            let text = format!("max-age={a}, s-maxage={b}, s-maxage={a}");
            let age_text = age.to_string();
            let left = left(&[("cache-control", &text), ("age", &age_text)]).unwrap();
            prop_assert_eq!(left, a.min(b).min(LONGEST.as_secs()).saturating_sub(age));
        }
    }
}
