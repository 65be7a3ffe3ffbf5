//! How a try can fail, and what a retry could do about it.

use std::time::{Duration, SystemTime};

use jtav_schemas::AbsentReason;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::address::Denied;
use super::shares::circuit::Answer;

/// How one try failed.
pub(crate) struct Failure {
    pub(crate) reason: AbsentReason,
    pub(crate) retry: Retry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// The next try would fail the same way.
    Never,
    /// After a random wait.
    Backoff,
    /// When the host said.
    After(Duration),
}

impl Failure {
    pub(crate) fn last(reason: AbsentReason) -> Self {
        Self { reason, retry: Retry::Never }
    }

    pub(crate) fn transient(reason: AbsentReason) -> Self {
        Self { reason, retry: Retry::Backoff }
    }

    /// The host cannot answer now; it may have said when it can.
    pub(crate) fn overloaded(headers: &HeaderMap) -> Self {
        let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        match asked.and_then(|value| retry_after(value, SystemTime::now())) {
            Some(wait) => Self { reason: AbsentReason::FetchFailed, retry: Retry::After(wait) },
            None => Self::transient(AbsentReason::FetchFailed),
        }
    }

    /// What it says of the host: a 404 is a healthy answer, a time-out is none.
    pub(crate) fn answer(&self) -> Answer {
        if self.reason == AbsentReason::Timeout || self.retry != Retry::Never {
            Answer::Failed(self.reason)
        } else {
            Answer::Alive
        }
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        tracing::debug!(%denied, "media address refused");
        Self::last(AbsentReason::FetchDenied)
    }
}

/// `Retry-After`: seconds or a date (RFC 9110 10.2.3). A date that has passed by our clock asks for no wait.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

pub(crate) fn broken(error: &reqwest::Error) -> Failure {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(denied) = cause.downcast_ref::<Denied>() {
            return denied.clone().into();
        }
        source = cause.source();
    }
    // The URL may hold a signature that gives access: not for the log.
    tracing::debug!(kind = ?kind(error), "media connection failed");
    Failure::transient(if error.is_timeout() { AbsentReason::Timeout } else { AbsentReason::FetchFailed })
}

fn kind(error: &reqwest::Error) -> &'static str {
    match error {
        _ if error.is_timeout() => "timeout",
        _ if error.is_connect() => "connect",
        _ if error.is_body() || error.is_decode() => "body",
        _ if error.is_request() => "request",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_name_seconds_or_a_date() {
        // 1994-11-06 08:49:37 UTC, the example of RFC 9110 5.6.7 in its three forms.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 90);
        for date in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", " 90 "]
        {
            assert_eq!(retry_after(date, now), Some(Duration::from_secs(90)), "{date}");
        }
        let later = now + Duration::from_secs(91);
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", later), Some(Duration::ZERO));
        for nonsense in ["", "-1", "soon", "1.5", "Sun, 06 Nov"] {
            assert_eq!(retry_after(nonsense, now), None, "{nonsense}");
        }
    }

    #[test]
    fn only_failures_of_the_host_itself_speak_against_it() {
        assert_eq!(Failure::last(AbsentReason::NotFound).answer(), Answer::Alive);
        assert_eq!(Failure::last(AbsentReason::TooLarge).answer(), Answer::Alive);
        assert_eq!(Failure::last(AbsentReason::Timeout).answer(), Answer::Failed(AbsentReason::Timeout));
        let reset = Failure::transient(AbsentReason::FetchFailed);
        assert_eq!(reset.answer(), Answer::Failed(AbsentReason::FetchFailed));
    }
}
