//! From the answers along a chain of redirects to the one receipt of its URL, and from an earlier receipt to the headers
//! that ask whether it still holds.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jtav_pipeline::{ContentHash, Receipt};
use jtav_schemas::MediaRef;
use reqwest::Response;
use reqwest::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use url::Url;

use super::freshness::{Answered, Freshness};

/// Longer validators are not kept: nobody needs them, and every one is memory.
const MAX_VALIDATOR_BYTES: usize = 256;

/// What the redirects before an answer allow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    may_store: bool,
    remaining: Duration,
}

/// What the last answer of a chain says of its body.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    freshness: Option<Freshness>,
    location: Url,
    etag: Option<String>,
    last_modified: Option<String>,
    received_at: Instant,
}

impl Course {
    /// Nothing has been asked yet.
    pub(crate) fn new() -> Self {
        Self { may_store: true, remaining: Duration::MAX }
    }

    /// A redirect on the way: the chain holds no longer than its shortest part.
    pub(crate) fn pass(&mut self, headers: &HeaderMap, asked_at: Instant) {
        match Freshness::of(headers, Answered::Redirect, SystemTime::now(), asked_at.elapsed()) {
            Some(freshness) => self.remaining = self.remaining.min(freshness.remaining()),
            None => self.may_store = false,
        }
    }

    /// The receipt of a whole chain that ended in `stamp`; `None` where something on the way must not be kept.
    pub(crate) fn receipt(self, stamp: &Stamp, content_hash: ContentHash, media: &MediaRef) -> Option<Arc<Receipt>> {
        let freshness = stamp.freshness.filter(|_| self.may_store)?;
        Some(Arc::new(Receipt {
            content_hash,
            // It was checked, or there would be no medium.
            sha256: media.sha256.as_ref().map(|declared| declared.to_ascii_lowercase()),
            location: stamp.location.to_string(),
            etag: stamp.etag.clone(),
            last_modified: stamp.last_modified.clone(),
            lifetime: freshness.lifetime,
            fresh_until: stamp.received_at + freshness.remaining().min(self.remaining),
        }))
    }

    /// The receipt that takes the place of `earlier` after the answer "not modified". What the answer does not say stays
    /// as it was (RFC 9111 3.2); one that must not be kept leaves a receipt that is stale at once and has no validator.
    pub(crate) fn renewed(self, earlier: &Receipt, stamp: &Stamp, headers: &HeaderMap) -> Arc<Receipt> {
        let Some(said) = stamp.freshness.filter(|_| self.may_store) else {
            let (etag, last_modified, fresh_until) = (None, None, stamp.received_at);
            return Arc::new(Receipt { etag, last_modified, fresh_until, ..earlier.clone() });
        };
        let freshness =
            if Freshness::is_stated(headers) { said } else { Freshness { lifetime: earlier.lifetime, ..said } };
        Arc::new(Receipt {
            etag: stamp.etag.clone().or_else(|| earlier.etag.clone()),
            last_modified: stamp.last_modified.clone().or_else(|| earlier.last_modified.clone()),
            lifetime: freshness.lifetime,
            fresh_until: stamp.received_at + freshness.remaining().min(self.remaining),
            ..earlier.clone()
        })
    }
}

impl Stamp {
    /// Of an answer from `location` that was asked for at `asked_at` and has just come.
    pub(crate) fn of(response: &Response, location: &Url, asked_at: Instant) -> Self {
        let headers = response.headers();
        // Other statuses that carry a medium are oddities: it is taken, and asked for again.
        let may_store = matches!(response.status().as_u16(), 200 | 203 | 304);
        let freshness = Freshness::of(headers, Answered::Content, SystemTime::now(), asked_at.elapsed());
        Self {
            freshness: freshness.filter(|_| may_store),
            location: location.clone(),
            etag: validator(headers, &ETAG),
            last_modified: validator(headers, &LAST_MODIFIED),
            received_at: Instant::now(),
        }
    }

    /// Whether "not modified" speaks of what `earlier` names: another tag would speak of something else.
    pub(crate) fn confirms(&self, earlier: &Receipt) -> bool {
        let weakly = |tag: &str| tag.trim_start_matches("W/").to_owned();
        match (&self.etag, &earlier.etag) {
            (Some(new), Some(old)) => weakly(new) == weakly(old),
            _ => true,
        }
    }
}

/// The headers that ask `location` for its body only if it is another one than that of `earlier`.
pub(crate) fn conditions(earlier: &Receipt, location: &Url) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if earlier.location != location.as_str() {
        return headers;
    }
    for (name, validator) in [(IF_NONE_MATCH, &earlier.etag), (IF_MODIFIED_SINCE, &earlier.last_modified)] {
        if let Some(value) = validator.as_ref().and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(name, value);
        }
    }
    headers
}

fn validator(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    (!text.is_empty() && text.len() <= MAX_VALIDATOR_BYTES).then(|| text.to_owned())
}
