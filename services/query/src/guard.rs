//! Before a question is looked at: is it asked under our name, with a key that allows it, and not too often? Every answer gets
//! its request's id, its place in the metrics, and headers that keep it from being kept or framed.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{StatusCode, Uri};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse, web};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, RateLimiter};
use jiff::Timestamp;
use jtav_telemetry::{Metric, QueryResult, QueryRoute, RefusalCause, ServedFile};

use crate::keys::{Key, KeysFileWatch, Refused, Scope, quota};
use crate::news::News;
use crate::problem::Problem;
use crate::route::Asked;

/// Name of the header with the request's id.
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Addresses whose requests are counted at once; beyond, those that rest are forgotten first.
const MAX_ADDRESSES: usize = 100_000;
/// Longest id of a request that is taken over from whoever asks.
const MAX_REQUEST_ID: usize = 64;

/// What the guard knows.
pub struct Guard {
    keys: Option<KeysFileWatch>,
    keys_news: News,
    /// Names under which the server may be asked, in small letters and without a port; none where any will do.
    hosts: Option<Vec<String>>,
    by_address: DefaultKeyedRateLimiter<IpAddr>,
    timeout: Duration,
    /// Questions that cost networks are refused, except these that the page needs.
    pub(crate) is_read_only: bool,
}

/// Who asks: for shares of streams.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reader {
    /// The key of this name.
    Key(String),
    /// Without keys, the address.
    Address(IpAddr),
}

/// The id of a request, for log lines and problems.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

impl Guard {
    /// A guard; without keys everything is allowed to everybody who comes under one of `hosts`.
    pub fn new(
        keys: Option<KeysFileWatch>,
        hosts: Option<Vec<String>>,
        requests_per_second: NonZeroU32,
        timeout: Duration,
        is_read_only: bool,
    ) -> Self {
        let by_address = RateLimiter::keyed(quota(requests_per_second));
        let hosts = hosts.map(|hosts| hosts.iter().map(|host| host.to_ascii_lowercase()).collect());
        Self { keys, keys_news: News::default(), hosts, by_address, timeout, is_read_only }
    }

    /// Whether readers need a key.
    pub fn needs_key(&self) -> bool {
        self.keys.is_some()
    }

    /// Reads the keys again if they have changed, and forgets addresses that rest.
    pub fn tend(&self) {
        if let Some(keys) = &self.keys {
            let looked = keys.look();
            if let Ok(true) = looked {
                tracing::info!(keys = keys.keys().len(), "the keys were read again");
            }
            let failure = looked.err().map(|error| error.to_string());
            Metric::file_stale(ServedFile::Keys).set(f64::from(u8::from(failure.is_some())));
            if self.keys_news.is_new(failure.clone()) {
                tracing::warn!(error = failure, "the keys cannot be read again; those from before stay");
            }
        }
        self.by_address.retain_recent();
        self.by_address.shrink_to_fit();
    }

    /// Whether a request may go on, and whose it is.
    fn admit(&self, asked: Asked, request: &ServiceRequest) -> Result<Reader, (RefusalCause, Problem)> {
        self.check_host(request.uri(), request.headers())?;
        let address = request.peer_addr().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip());
        let Some(scope) = asked.scope else {
            return self.share_of_address(address).map(|()| Reader::Address(address));
        };
        let Some(keys) = &self.keys else {
            if self.is_read_only && is_refused_when_read_only(asked) {
                let problem =
                    Problem::forbidden("read_only", "this server only reads; run `jtav serve` to have posts labelled");
                return Err((RefusalCause::ReadOnly, problem));
            }
            return self.share_of_address(address).map(|()| Reader::Address(address));
        };
        let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let found = keys.keys().find(authorization, Timestamp::now());
        let key = match found {
            Ok(key) => key,
            Err(refused) => {
                // Guessing is counted by address.
                self.share_of_address(address)?;
                return Err(no_key(refused));
            }
        };
        share_of_key(&key)?;
        if !key.allows(scope) {
            return Err((RefusalCause::Scope, lacks(&key, scope)));
        }
        Ok(Reader::Key(key.name.clone()))
    }

    /// A page of somebody else whose name leads to this address would otherwise be let in by the browser.
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), (RefusalCause, Problem)> {
        let Some(hosts) = &self.hosts else { return Ok(()) };
        // HTTP/2 says it as `:authority` (RFC 9113, 8.3.1), HTTP/1.1 in the header, or in a target that is absolute, which then
        // counts (RFC 9112, 3.2.2).
        let of_uri = uri.authority().map(|authority| authority.as_str());
        let of_header = || headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = of_uri.or_else(of_header).unwrap_or_default();
        let name = without_port(host).to_ascii_lowercase();
        if hosts.contains(&name) {
            return Ok(());
        }
        let shown: String = name.chars().take(80).collect();
        let problem = Problem::misdirected(format!(
            "this server is not asked as `{}`; serve.hosts may name it",
            shown.escape_debug()
        ));
        Err((RefusalCause::Host, problem))
    }

    fn share_of_address(&self, address: IpAddr) -> Result<(), (RefusalCause, Problem)> {
        if self.by_address.len() > MAX_ADDRESSES {
            self.by_address.retain_recent();
        }
        self.by_address
            .check_key(&address)
            .map_err(|wait| too_often(wait.wait_time_from(DefaultClock::default().now())))
    }
}

fn is_refused_when_read_only(asked: Asked) -> bool {
    asked.scope == Some(Scope::Score) && !matches!(asked.route, QueryRoute::Retrieve | QueryRoute::Neighbours)
}

fn share_of_key(key: &Arc<Key>) -> Result<(), (RefusalCause, Problem)> {
    key.limiter.check().map_err(|wait| too_often(wait.wait_time_from(DefaultClock::default().now())))
}

fn too_often(wait: Duration) -> (RefusalCause, Problem) {
    let detail = "more requests a second than serve.requests_per_second, or the key, allows";
    (RefusalCause::Rate, Problem::too_many("rate_limited", detail, wait.as_secs() + 1))
}

fn no_key(refused: Refused) -> (RefusalCause, Problem) {
    match refused {
        Refused::Missing => (
            RefusalCause::KeyMissing,
            Problem::unauthorized(
                "key_missing",
                "send the header `Authorization: Bearer KEY`; whoever runs this server gives keys",
            ),
        ),
        Refused::Unknown => {
            (RefusalCause::KeyUnknown, Problem::unauthorized("key_unknown", "this key is not known here"))
        }
        Refused::Expired => {
            (RefusalCause::KeyExpired, Problem::unauthorized("key_expired", "the time of this key is over"))
        }
    }
}

fn lacks(key: &Key, scope: Scope) -> Problem {
    let name: String = key.name.chars().take(80).collect();
    Problem::forbidden("scope", format!("the key `{name}` lacks the scope `{}`", scope.as_str()))
}

/// `[::1]:80` → `[::1]`, `localhost:80` → `localhost`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
}

/// The middleware around every route.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let id = request_id(request.headers());
    let asked = Asked::of(request.method(), request.path());
    request.extensions_mut().insert(RequestId(id.clone()));
    let guard = request.app_data::<web::Data<Guard>>().cloned();
    let admitted = guard.as_ref().map(|guard| guard.admit(asked, &request));
    let answered = match admitted {
        Some(Err((cause, problem))) => {
            Metric::query_refused(cause).inc();
            Ok(request.into_response(problem.response(Some(&id))))
        }
        admitted => {
            if let Some(Ok(reader)) = admitted {
                request.extensions_mut().insert(reader);
            }
            let timeout = guard.as_ref().map_or(Duration::from_secs(15), |guard| guard.timeout);
            answer(request, next, timeout, &id).await
        }
    };
    let status = answered.as_ref().map_or_else(HttpResponse::status, ServiceResponse::status);
    tracing::debug!(request_id = id, route = asked.route.as_str(), status = status.as_u16(), "answered");
    if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        tracing::warn!(request_id = id, route = asked.route.as_str(), status = status.as_u16(), "a request failed");
    }
    Metric::query_seconds(asked.route, result_of(status)).observe(started.elapsed().as_secs_f64());
    let is_private = asked.scope.is_some();
    match answered {
        Ok(mut response) => {
            finish(response.headers_mut(), &id, asked, is_private);
            Ok(response)
        }
        Err(mut response) => {
            finish(response.headers_mut(), &id, asked, is_private);
            Err(InternalError::from_response("refused", response).into())
        }
    }
}

/// An answer, or one that has lost its request: routing needs the request for itself alone, so it cannot be kept beside.
async fn answer(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    timeout: Duration,
    id: &str,
) -> Result<ServiceResponse<BoxBody>, HttpResponse> {
    match tokio::time::timeout(timeout, next.call(request)).await {
        Ok(Ok(response)) => Ok(problem_of(response.map_into_boxed_body(), id)),
        Ok(Err(error)) => Err(match error.as_error::<Problem>() {
            Some(problem) => problem.response(Some(id)),
            None => Problem::of_status(error.error_response().status()).response(Some(id)),
        }),
        Err(_) => {
            Metric::query_refused(RefusalCause::Timeout).inc();
            let detail = format!("no answer within {} ms", timeout.as_millis());
            Err(Problem::unavailable("timeout", detail, 1).response(Some(id)))
        }
    }
}

/// Errors that a library answers with have no body that a program could read; ours get the request's id.
fn problem_of(response: ServiceResponse<BoxBody>, id: &str) -> ServiceResponse<BoxBody> {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let own = response.response().error().and_then(|error| error.as_error::<Problem>()).cloned();
    let problem = own.unwrap_or_else(|| Problem::of_status(status));
    let mut answer = problem.response(Some(id));
    // Of a method that is not taken: which one is.
    if let Some(allowed) = response.headers().get(ALLOW) {
        answer.headers_mut().insert(ALLOW, allowed.clone());
    }
    response.into_response(answer)
}

fn result_of(status: StatusCode) -> QueryResult {
    match status.as_u16() {
        404 | 410 => QueryResult::NotFound,
        429 | 503 => QueryResult::Busy,
        400..=499 => QueryResult::Refused,
        500..=599 => QueryResult::Error,
        _ => QueryResult::Ok,
    }
}

/// The caller's own id, where it has one that is fit for a log line.
fn request_id(headers: &HeaderMap) -> String {
    let is_fit = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let own = headers.get(&X_REQUEST_ID).and_then(|id| id.to_str().ok()).filter(is_fit);
    own.map_or_else(|| format!("{:016x}", rand::random::<u64>()), str::to_owned)
}

/// The pages of the documentation set styles in attributes; nothing of a post is on them.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn finish(headers: &mut HeaderMap, id: &str, asked: Asked, is_private: bool) {
    if asked.route == QueryRoute::Docs {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(X_REQUEST_ID.clone(), id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    if is_private {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Who asks.
pub fn reader_of(request: &HttpRequest) -> Reader {
    request.extensions().get::<Reader>().cloned().unwrap_or(Reader::Address(IpAddr::from([0, 0, 0, 0])))
}

#[cfg(test)]
mod tests {
    use jtav_telemetry::global;

    use super::*;
    use crate::keys::new_key;

    #[test]
    fn keys_that_cannot_be_read_again_are_told_until_they_can() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let (_, entry) = new_key("reader", &[Scope::Read]);
        std::fs::write(&path, &entry).unwrap();
        let keys = KeysFileWatch::open(&path, NonZeroU32::MIN).unwrap();
        let guard = Guard::new(Some(keys), None, NonZeroU32::MIN, Duration::from_secs(1), false);
        let stale = || {
            guard.tend();
            global().value(&Metric::file_stale(ServedFile::Keys))
        };
        assert_eq!(stale(), 0.0);
        std::fs::write(&path, "[[key]] nonsense").unwrap();
        assert_eq!((stale(), stale()), (1.0, 1.0), "for as long as it lasts");
        let (_, more) = new_key("other", &[Scope::Read]);
        std::fs::write(&path, format!("{entry}{more}")).unwrap();
        assert_eq!(stale(), 0.0);
    }

    #[test]
    fn a_host_is_compared_without_its_port() {
        for (host, name) in [
            ("localhost:9700", "localhost"),
            ("localhost", "localhost"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:9700", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
            (":80", ":80"),
        ] {
            assert_eq!(without_port(host), name, "{host}");
        }
    }
}
