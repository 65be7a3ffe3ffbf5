//! URL to bytes, from hosts that are not trusted.
//!
//! ```text
//! attempt (≤ 3) ─► hop (≤ 5 redirects) ─► policy ─► host: circuit, slot ─► reservation ─► request ─► body ─► hashes
//!       ▲             a body that outgrows its reservation goes through the oversize lane │
//!       └────────────── 429, 5xx, broken connection: random wait, inside the deadline ────┘
//! ```
//!
//! Slots and reservations are taken anew for every hop and held for no wait: only a request on the wire holds them,
//! and a finished body its bytes.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use jtav_pipeline::{
    FailPoint, FetchRequest, FetchedMedia, MediaFetcher, Receipt, RetryPolicy, Revalidated, fail_point,
};
use jtav_schemas::{AbsentReason, Modality};
use jtav_telemetry::Metric;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Client, Response, StatusCode};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use crate::accept::accept;
use crate::budget::{ByteBudget, Reservation};
use crate::circuit::{Answer, CircuitParams};
use crate::client::client;
use crate::failure::{Failure, Retry, broken, check_status};
use crate::hosts::{HostGates, OnWire};
use crate::params::{FetchLimits, FetchParams};
use crate::policy::{AddressPolicy, Denied};
use crate::receipt::{Course, Stamp, conditions};
use crate::resolver::{GuardedResolver, Lookup, SystemLookup};
use crate::sources::{self, MediaSources};

/// So many bytes of a body are a sign of life; a byte a second is none.
const LIVELY_BYTES: usize = 16 << 10;

/// Why a fetcher cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum FetchSetupError {
    /// The HTTP client refused its settings.
    #[error("HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// Settings that contradict each other.
    #[error("fetch settings: {0}")]
    Params(&'static str),
}

impl FetchSetupError {
    /// The settings stay what they are.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// Downloads media; cheap to clone, all clones share budget, bulkheads and connections.
#[derive(Clone)]
pub struct Fetcher(Arc<Inner>);

struct Inner {
    policy: Arc<AddressPolicy>,
    limits: FetchLimits,
    sources: MediaSources,
    /// One for each open port, see [`GuardedResolver`].
    clients: HashMap<u16, Client>,
    hosts: HostGates,
    budget: ByteBudget,
}

/// What one request came to.
enum Hop {
    Body(Body),
    /// Where to, and what the answer allows to be remembered.
    Redirect(Url, HeaderMap),
    /// Larger than its reservation and not larger than the cap.
    Oversize,
    /// Not modified since the earlier receipt.
    Unchanged(Stamp, HeaderMap),
}

/// What a chain of redirects came to.
enum Arrived {
    Body(Body, Course),
    Unchanged(Arc<Receipt>),
}

struct Body {
    bytes: Bytes,
    media_type: Option<String>,
    reservation: Reservation,
    /// None: it did not come from a server.
    stamp: Option<Box<Stamp>>,
}

/// What every hop of one download shares.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    request: &'a FetchRequest,
    /// Largest body.
    cap: u32,
    /// What is known of the URL.
    earlier: Option<&'a Receipt>,
}

impl Fetcher {
    /// With the system's DNS.
    pub fn new(params: FetchParams) -> Result<Self, FetchSetupError> {
        Self::with_lookup(params, Arc::new(SystemLookup))
    }

    /// With a DNS of the caller's; the policy stands all the same.
    pub fn with_lookup(params: FetchParams, lookup: Arc<dyn Lookup>) -> Result<Self, FetchSetupError> {
        let limits = params.limits.clone();
        if limits.budget_bytes < limits.max_image_bytes.max(limits.max_audio_bytes) {
            // The oversize lane would wait for more than there is.
            return Err(FetchSetupError::Params("budget_bytes is less than the largest file"));
        }
        if limits.max_per_host == 0 || limits.max_attempts == 0 || limits.unknown_size_bytes == 0 {
            return Err(FetchSetupError::Params(
                "max_per_host, max_attempts and unknown_size_bytes must be at least 1",
            ));
        }
        let policy = Arc::new(params.policy.clone());
        let mut clients = HashMap::new();
        for port in policy.open_ports() {
            let resolver = Arc::new(GuardedResolver { policy: policy.clone(), lookup: lookup.clone(), port });
            clients.insert(port, client(&params, resolver)?);
        }
        let hosts = HostGates::new(CircuitParams {
            failures: limits.host_failures,
            slots: limits.max_per_host,
            stall: limits.host_stall,
            rest: limits.host_rest,
            max_rest: limits.max_host_rest,
        });
        let budget = ByteBudget::new(limits.budget_bytes);
        Ok(Self(Arc::new(Inner { policy, limits, sources: params.sources, clients, hosts, budget })))
    }

    /// Downloads one medium. Dropping the future closes the connection and gives every share back.
    ///
    /// # Errors
    /// Every failure is a reason; those of the network have been tried again as far as the deadline allowed.
    pub async fn fetch(&self, request: FetchRequest) -> Result<FetchedMedia, AbsentReason> {
        match self.ask(request, None).await? {
            Revalidated::Changed(media) => Ok(media),
            // Nobody asked for it.
            Revalidated::Unchanged(_) => Err(AbsentReason::FetchFailed),
        }
    }

    /// Downloads a medium unless its server says that it still is the one of `earlier` (RFC 9110 13). Cancellation safe
    /// as [`Self::fetch`].
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub async fn revalidate(&self, request: FetchRequest, earlier: Arc<Receipt>) -> Result<Revalidated, AbsentReason> {
        // A post that declares another hash does not want the earlier content, whatever its server says.
        let earlier = Some(earlier).filter(|earlier| earlier.answers(&request.media));
        self.ask(request, earlier).await
    }

    async fn ask(&self, request: FetchRequest, earlier: Option<Arc<Receipt>>) -> Result<Revalidated, AbsentReason> {
        let modality = request.modality;
        let deadline = Instant::from_std(request.deadline);
        let result = match timeout_at(deadline, self.0.tries(&request, earlier.as_deref(), deadline)).await {
            Ok(result) => result,
            Err(_) => Err(AbsentReason::Timeout),
        };
        let outcome = match &result {
            Ok(Revalidated::Changed(_)) => "ok",
            Ok(Revalidated::Unchanged(_)) => "unchanged",
            Err(reason) => reason.as_str(),
        };
        jtav_telemetry::global().inc(Metric::MediaFetches, &[modality.as_str(), outcome]);
        result
    }
}

impl MediaFetcher for Fetcher {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'static, Result<FetchedMedia, AbsentReason>> {
        let fetcher = self.clone();
        Box::pin(async move { Fetcher::fetch(&fetcher, request).await })
    }

    fn revalidate(
        &self,
        request: FetchRequest,
        earlier: Arc<Receipt>,
    ) -> BoxFuture<'static, Result<Revalidated, AbsentReason>> {
        let fetcher = self.clone();
        Box::pin(async move { Fetcher::revalidate(&fetcher, request, earlier).await })
    }
}

impl Inner {
    async fn tries(
        &self,
        request: &FetchRequest,
        earlier: Option<&Receipt>,
        deadline: Instant,
    ) -> Result<Revalidated, AbsentReason> {
        if request.modality == Modality::Text {
            // Text travels in the post; there is no cap that would fit it.
            return Err(AbsentReason::Unsupported);
        }
        let url = Url::parse(&request.media.url).map_err(|error| Failure::from(Denied::from(error)).reason)?;
        let wanted = Wanted { request, cap: self.limits.max_bytes(request.modality), earlier };
        let started = Instant::now();
        let policy = RetryPolicy {
            max_attempts: self.limits.max_attempts,
            base_delay: self.limits.backoff,
            deadline: deadline.saturating_duration_since(started),
            ..RetryPolicy::default()
        };
        let mut failed = 0;
        loop {
            let failure = match self.by_source(&url, wanted).await {
                Ok(Arrived::Unchanged(receipt)) => return Ok(Revalidated::Unchanged(receipt)),
                Ok(Arrived::Body(body, course)) => return medium(body, course, request).await,
                Err(failure) => failure,
            };
            failed += 1;
            let least = match failure.retry {
                Retry::Never => return Err(failure.reason),
                Retry::Backoff => Duration::ZERO,
                Retry::After(wait) => wait,
            };
            let Some(pause) = policy.pause_of_at_least(least, failed, started.elapsed(), rand::random()) else {
                return Err(failure.reason);
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// From the source that the URL names. Only the post's own URL comes by here: a redirect leads to the web alone.
    async fn by_source(&self, url: &Url, wanted: Wanted<'_>) -> Result<Arrived, Failure> {
        let body = match url.scheme() {
            "data" if self.sources.data => self.data(url, wanted).await?,
            "file" if !self.sources.file_roots.is_empty() => self.file(url, wanted).await?,
            "s3" => match &self.sources.s3 {
                Some(endpoint) => return self.attempt(endpoint.locate(url)?, wanted).await,
                None => return Err(Denied::Scheme.into()),
            },
            _ => return self.attempt(url.clone(), wanted).await,
        };
        Ok(Arrived::Body(body, Course::new()))
    }

    async fn data(&self, url: &Url, wanted: Wanted<'_>) -> Result<Body, Failure> {
        let (bytes, media_type) = sources::data(url, wanted.cap as usize)?;
        let reservation = self.budget.reserve(bytes.len().max(1) as u32).await;
        Ok(Body { bytes: bytes.into(), media_type, reservation, stamp: None })
    }

    async fn file(&self, url: &Url, wanted: Wanted<'_>) -> Result<Body, Failure> {
        let gone = |_| Failure::last(AbsentReason::FetchFailed);
        let (url, roots) = (url.clone(), self.sources.file_roots.clone());
        let opening = tokio::task::spawn_blocking(move || sources::open(&url, &roots));
        let (file, size) = opening.await.map_err(gone)??;
        if size > u64::from(wanted.cap) {
            return Err(Failure::last(AbsentReason::TooLarge));
        }
        let reservation = self.budget.reserve((size as u32).max(1)).await;
        let reading = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::with_capacity(size as usize);
            // It may grow while it is read, and is then cut off where it ended.
            file.take(size).read_to_end(&mut bytes).map(|_| bytes)
        });
        let bytes = reading.await.map_err(gone)?.map_err(|_| Failure::last(AbsentReason::FetchFailed))?;
        Ok(Body { bytes: bytes.into(), media_type: None, reservation, stamp: None })
    }

    /// Follows redirects to a body.
    async fn attempt(&self, mut url: Url, mut wanted: Wanted<'_>) -> Result<Arrived, Failure> {
        let mut course = Course::new();
        let mut redirects = 0;
        let mut oversize = false;
        loop {
            let asked_at = std::time::Instant::now();
            match self.hop(&url, wanted, oversize).await? {
                Hop::Body(body) => return Ok(Arrived::Body(body, course)),
                Hop::Oversize => oversize = true,
                Hop::Unchanged(stamp, headers) => match wanted.earlier {
                    Some(earlier) if stamp.confirms(earlier) => {
                        return Ok(Arrived::Unchanged(course.renewed(earlier, &stamp, &headers)));
                    }
                    // It speaks of something else: once more, without conditions.
                    _ => wanted.earlier = None,
                },
                Hop::Redirect(..) if redirects == self.limits.max_redirects => {
                    return Err(Failure::last(AbsentReason::FetchFailed));
                }
                Hop::Redirect(next, headers) => {
                    course.pass(&headers, asked_at);
                    redirects += 1;
                    url = next;
                }
            }
        }
    }

    async fn hop(&self, url: &Url, wanted: Wanted<'_>, oversize: bool) -> Result<Hop, Failure> {
        let endpoint = self.policy.check_url(url)?;
        let port = endpoint.port();
        let client = self.clients.get(&port).ok_or(Denied::Port(port))?;
        // The host's slot first: posts that wait for a hanging host must not hold bytes meanwhile. A slot is a request,
        // whether it has a connection of its own or is one of many on one (HTTP/2).
        let host = format!("{}:{port}", url.host_str().unwrap_or_default());
        let _slot = self.hosts.enter(&host).await.map_err(Failure::last)?;
        let cap = wanted.cap;
        let reservation = match (oversize, wanted.request.media.bytes) {
            (true, _) => self.budget.reserve_oversize(cap).await,
            // A declared size above the cap may be wrong; the body decides.
            (false, Some(declared)) => self.budget.reserve(declared.clamp(1, u64::from(cap)) as u32).await,
            (false, None) => self.budget.reserve(self.limits.unknown_size_bytes.min(cap)).await,
        };
        // The host's time begins now: waiting for bytes of the budget is not its fault.
        let on_wire = self.hosts.begin(&host).map_err(Failure::last)?;
        let exchange = self.exchange(client, url, wanted, reservation, &on_wire);
        let result = match timeout(self.limits.total_timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Failure::last(AbsentReason::Timeout)),
        };
        on_wire.end(result.as_ref().map_or_else(Failure::answer, |_| Answer::Alive));
        result
    }

    async fn exchange(
        &self,
        client: &Client,
        url: &Url,
        wanted: Wanted<'_>,
        reservation: Reservation,
        on_wire: &OnWire,
    ) -> Result<Hop, Failure> {
        let asked_at = std::time::Instant::now();
        let conditions = wanted.earlier.map_or_else(HeaderMap::new, |earlier| conditions(earlier, url));
        let is_conditional = !conditions.is_empty();
        let sent = client.get(url.clone()).header(ACCEPT_ENCODING, "identity").headers(conditions).send();
        let response = match timeout(self.limits.first_byte_timeout, sent).await {
            Ok(response) => response.map_err(|error| broken(&error))?,
            Err(_) => return Err(Failure::last(AbsentReason::Timeout)),
        };
        on_wire.sign_of_life();
        if let Some(next) = redirect(&response, url)? {
            return Ok(Hop::Redirect(next, response.headers().clone()));
        }
        let stamp = Stamp::of(response.headers(), url, asked_at);
        if is_conditional && response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Hop::Unchanged(stamp, response.headers().clone()));
        }
        check_status(&response)?;
        let encoding = response.headers().get(CONTENT_ENCODING).map(|value| value.as_bytes());
        if encoding.is_some_and(|name| !name.eq_ignore_ascii_case(b"identity")) {
            return Err(Failure::last(AbsentReason::Unsupported));
        }
        match response.content_length() {
            Some(length) if length > u64::from(wanted.cap) => Err(Failure::last(AbsentReason::TooLarge)),
            Some(length) if length > reservation.bytes() as u64 => Ok(Hop::Oversize),
            _ => self.body(response, stamp, wanted, reservation, on_wire).await,
        }
    }

    /// Reads the body into memory that was reserved, and not a byte more.
    async fn body(
        &self,
        mut response: Response,
        stamp: Stamp,
        wanted: Wanted<'_>,
        mut reservation: Reservation,
        on_wire: &OnWire,
    ) -> Result<Hop, Failure> {
        let (modality, cap) = (wanted.request.modality, wanted.cap);
        let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let expected = response.content_length().unwrap_or(reservation.bytes() as u64);
        let mut bytes = Vec::with_capacity((expected as usize).min(reservation.bytes()));
        loop {
            let chunk = match timeout(self.limits.idle_timeout, response.chunk()).await {
                Ok(chunk) => chunk.map_err(|error| broken(&error))?,
                Err(_) => return Err(Failure::last(AbsentReason::Timeout)),
            };
            let Some(chunk) = chunk else { break };
            fail_point::hit(FailPoint::FetchMid, modality.as_str());
            jtav_telemetry::global().add(Metric::MediaBytes, &[modality.as_str()], chunk.len() as f64);
            if bytes.len() + chunk.len() > cap as usize {
                return Err(Failure::last(AbsentReason::TooLarge));
            }
            if bytes.len() + chunk.len() > reservation.bytes() {
                return Ok(Hop::Oversize);
            }
            if (bytes.len() + chunk.len()) / LIVELY_BYTES > bytes.len() / LIVELY_BYTES {
                on_wire.sign_of_life();
            }
            bytes.extend_from_slice(&chunk);
        }
        bytes.shrink_to_fit();
        reservation.shrink_to(bytes.len());
        Ok(Hop::Body(Body { bytes: bytes.into(), media_type, reservation, stamp: Some(Box::new(stamp)) }))
    }
}

/// Where a redirect leads. It is checked like the first address when its turn comes.
fn redirect(response: &Response, from: &Url) -> Result<Option<Url>, Failure> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| Failure::last(AbsentReason::FetchFailed))?;
    Ok(Some(from.join(location).map_err(Denied::from)?))
}

/// A body that was read to its end as the medium that the post wanted.
async fn medium(body: Body, course: Course, request: &FetchRequest) -> Result<Revalidated, AbsentReason> {
    let media = accept(request.modality, body.bytes, body.media_type, &request.media).await?;
    let receipt = body.stamp.and_then(|stamp| course.receipt(&stamp, media.content_hash, &request.media));
    Ok(Revalidated::Changed(FetchedMedia { reservation: Some(Arc::new(body.reservation)), receipt, ..media }))
}
