//! A server of the operator's own, asked over HTTP.
//!
//! The address is the operator's, so none is forbidden; what comes back is bounded and waited for until a deadline all the same. No
//! redirect is followed: a key goes nowhere but to the address that was given.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::{Host, Url};

use crate::error::{ConsoleError, Refusal, told};

/// For a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// From a question to the end of its answer.
const ANSWER: Duration = Duration::from_secs(15);
/// The same where a medium has to be fetched first.
const MEDIUM: Duration = Duration::from_secs(60);
/// From a question to the begin of a stream, and from one sign of life to the next: the server gives one every five seconds.
pub(crate) const SILENCE: Duration = Duration::from_secs(20);
/// Of an answer, of a picture, of a refusal.
const MAX_JSON_BYTES: usize = 8 << 20;
const MAX_PICTURE_BYTES: usize = 16 << 20;
const MAX_PROBLEM_BYTES: usize = 64 << 10;
/// Characters of a key; ours have 43.
const MAX_KEY_CHARS: usize = 512;

/// What a reader proves itself with. It is never printed.
#[derive(Clone)]
pub struct Key(HeaderValue);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// The key in `text`, blanks around it left out.
    ///
    /// # Errors
    /// It has none, or one that cannot be sent.
    pub fn read(text: &str) -> Result<Self, ConsoleError> {
        let key = text.trim();
        let wrong = |why: &str| ConsoleError::Key(format!("{why}; `jtav serve --new-key NAME` prints one"));
        if key.is_empty() {
            return Err(wrong("is empty"));
        }
        if key.len() > MAX_KEY_CHARS || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("is none: one line of letters, digits and signs"));
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| wrong("cannot be sent"))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

/// `jtav serve` at an address.
#[derive(Debug, Clone)]
pub struct Server {
    /// Without a slash at its end, and without what could stand for a secret.
    base: String,
    is_loopback: bool,
    key: Option<Key>,
    client: Client,
}

impl Server {
    /// # Errors
    /// The address is none, or the system gives no HTTP client.
    pub fn new(address: &str, key: Option<Key>) -> Result<Self, ConsoleError> {
        let url = http_url(address, "http://127.0.0.1:9700")?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        let client = client(&url)?;
        Ok(Self { base, is_loopback: is_loopback(&url), key, client })
    }

    /// Its address.
    pub fn address(&self) -> String {
        told(&self.base)
    }

    /// A key that would be sent where others can read it along.
    pub fn exposes_key(&self) -> bool {
        self.key.is_some() && self.base.starts_with("http:") && !self.is_loopback
    }

    /// An answer as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ConsoleError> {
        let request = self.client.get(format!("{}{path}", self.base));
        self.answer(request).await
    }

    /// The answer to a question that has JSON itself.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, ConsoleError> {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        self.answer(request).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, ConsoleError> {
        let bytes = self.in_time(ANSWER, self.bytes(request, MAX_JSON_BYTES)).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.unreadable(&error.to_string()))
    }

    /// A picture of the server's own drawing.
    pub(crate) async fn picture(&self, path: &str) -> Result<Vec<u8>, ConsoleError> {
        let request = self.client.get(format!("{}{path}", self.base));
        let bytes = self.in_time(MEDIUM, self.bytes(request, MAX_PICTURE_BYTES)).await?;
        if bytes.starts_with(b"\x89PNG") { Ok(bytes) } else { Err(self.unreadable("no PNG")) }
    }

    /// The begin of a stream of events after `last_event_id`.
    pub(crate) async fn stream(&self, query: &str, last_event_id: Option<&str>) -> Result<Response, ConsoleError> {
        let mut request = self.client.get(format!("{}/v1/stream{query}", self.base));
        request = request.header(ACCEPT, "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        self.in_time(SILENCE, self.begin(request)).await
    }

    async fn in_time<T>(
        &self,
        deadline: Duration,
        work: impl Future<Output = Result<T, ConsoleError>>,
    ) -> Result<T, ConsoleError> {
        let late = || self.unreachable(format!("no answer within {} s", deadline.as_secs()));
        tokio::time::timeout(deadline, work).await.map_err(|_| late())?
    }

    async fn bytes(&self, request: reqwest::RequestBuilder, max_bytes: usize) -> Result<Vec<u8>, ConsoleError> {
        let mut response = self.begin(request).await?;
        let body = read_body(&mut response, max_bytes).await.map_err(|error| self.broken(&error))?;
        body.ok_or_else(|| ConsoleError::TooLarge { server: self.address(), max_bytes })
    }

    async fn begin(&self, mut request: reqwest::RequestBuilder) -> Result<Response, ConsoleError> {
        if let Some(Key(key)) = &self.key {
            request = request.header(AUTHORIZATION, key.clone());
        }
        let mut response = request.send().await.map_err(|error| self.broken(&error))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status if status.is_success() || status.is_redirection() => {
                Err(self.unreadable(&format!("status {status}")))
            }
            status => {
                let body = read_body(&mut response, MAX_PROBLEM_BYTES).await.ok().flatten().unwrap_or_default();
                Err(ConsoleError::Refused(Box::new(self.refusal(status, response.headers(), &body))))
            }
        }
    }

    fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Refusal {
        let Problem { reason, detail, request_id, absent_reason } = serde_json::from_slice(body).unwrap_or_default();
        let wait = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Refusal {
            server: self.address(),
            status: status.as_u16(),
            reason: told(&reason),
            detail: told(&detail),
            request_id: request_id.as_deref().map(told),
            absent_reason: absent_reason.as_deref().map(told),
            retry_after_seconds: wait,
        }
    }

    pub(crate) fn broken(&self, error: &reqwest::Error) -> ConsoleError {
        self.unreachable(cause(error))
    }

    pub(crate) fn unreachable(&self, why: String) -> ConsoleError {
        let (what, hint) = ("`jtav serve`", "--server URL names another one");
        ConsoleError::Unreachable { server: self.address(), why, what, hint }
    }

    fn unreadable(&self, why: &str) -> ConsoleError {
        ConsoleError::Unreadable { server: self.address(), why: told(why), what: "`jtav serve`" }
    }
}

/// Members of `application/problem+json` that are told.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    reason: String,
    detail: String,
    request_id: Option<String>,
    absent_reason: Option<String>,
}

/// An address of a server; without a scheme it is http. No user and no password: they would stand in lists of processes.
pub(crate) fn http_url(address: &str, example: &'static str) -> Result<Url, ConsoleError> {
    let wrong = |why: &str| ConsoleError::Address { address: told(address), example, why: why.to_owned() };
    let with_scheme = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let url = Url::parse(&with_scheme).map_err(|error| wrong(&error.to_string()))?;
    match url {
        url if !matches!(url.scheme(), "http" | "https") => Err(wrong("it is neither http nor https")),
        url if !url.username().is_empty() || url.password().is_some() => Err(ConsoleError::Address {
            address: "it".to_owned(),
            example,
            why: "a password has no place in it".to_owned(),
        }),
        url if url.query().is_some() || url.fragment().is_some() => Err(wrong("it has a query")),
        url => Ok(url),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// A client for one address.
pub(crate) fn client(url: &Url) -> Result<Client, ConsoleError> {
    let mut builder = Client::builder()
        .referer(false)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .user_agent(concat!("jtav/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT);
    if is_loopback(url) {
        // A proxy of the environment has another loopback.
        builder = builder.no_proxy();
    }
    if url.scheme() == "http" {
        // Works where a bare container has no certificates.
        builder = builder.tls_certs_only([]);
    }
    let failed = |error: reqwest::Error| ConsoleError::Unreachable {
        server: told(url.as_str()),
        why: cause(&error),
        what: "the system's store of certificates there, and `jtav`",
        hint: "SSL_CERT_FILE names one",
    };
    builder.build().map_err(failed)
}

/// The body; none of one that is larger.
pub(crate) async fn read_body(response: &mut Response, max_bytes: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_bytes {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// The innermost cause: what stands around it says only that there was a request.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() && error.is_connect() {
        return format!("no connection within {} s", CONNECT.as_secs());
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    told(&innermost.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_and_carries_no_secret() {
        let base = |address: &str| Server::new(address, None).map(|server| server.base);
        assert_eq!(base("127.0.0.1:9700").unwrap(), "http://127.0.0.1:9700");
        assert_eq!(base("https://jtav.example/labels/").unwrap(), "https://jtav.example/labels");
        for wrong in ["ftp://a", "http://", "http://a/?key=b", "", "a b"] {
            assert!(matches!(base(wrong), Err(ConsoleError::Address { .. })), "{wrong}");
        }
        let said = base("http://me:secret@a").unwrap_err().to_string();
        assert!(said.contains("a password has no place") && !said.contains("secret"), "{said}");
        let said = base("http://\u{1b}[2J").unwrap_err().to_string();
        assert!(!said.contains('\u{1b}'), "{said}");
    }

    #[test]
    fn a_key_is_one_line_and_is_never_printed() {
        let key = Key::read(" secret-1\n").unwrap();
        assert_eq!(key.0.to_str().unwrap(), "Bearer secret-1");
        assert!(!format!("{key:?} {:?}", key.0).contains("secret"));
        for wrong in ["", " \n", "a\nb", "a b", "ä", &"a".repeat(MAX_KEY_CHARS + 1)] {
            let said = Key::read(wrong).unwrap_err().to_string();
            assert!(said.contains("--new-key") && (wrong.len() < 3 || !said.contains(wrong)), "{said}");
        }
    }

    #[test]
    fn a_key_over_plain_http_is_remarked_on_unless_it_stays_on_this_machine() {
        let exposes = |address: &str| Server::new(address, Some(Key::read("k").unwrap())).unwrap().exposes_key();
        assert!(exposes("http://jtav.example") && exposes("http://10.0.0.1:9700"));
        assert!(!exposes("http://localhost:9700") && !exposes("[::1]:9700") && !exposes("127.0.0.9:1"));
        assert!(!Server::new("http://jtav.example", None).unwrap().exposes_key());
    }
}
