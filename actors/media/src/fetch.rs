//! URL to bytes, from hosts that are not trusted.
//!
//! ```text
//! attempt (≤ 3) ─► hop (≤ 3 redirects) ─► policy ─► host: circuit, slot ─► reservation ─► request ─► body ─► hashes
//!       ▲             a body that outgrows its reservation goes through the oversize lane │
//!       └────────────── 429, 5xx, broken connection: random wait, inside the deadline ────┘
//! ```
//!
//! Slots and reservations are taken anew for every hop and held for no wait: only a request on the wire holds them,
//! and a finished body its bytes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use jtav_pipeline::{ContentHash, FailPoint, FetchRequest, FetchedMedia, MediaFetcher, RetryPolicy, fail_point};
use jtav_schemas::{AbsentReason, MediaRef, Modality};
use jtav_telemetry::Metric;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use reqwest::{Client, Response};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use crate::budget::{ByteBudget, Reservation};
use crate::circuit::{Answer, CircuitParams};
use crate::failure::{Failure, Retry, broken, check_status};
use crate::hosts::{HostGates, OnWire};
use crate::params::{FetchLimits, FetchParams};
use crate::policy::{AddressPolicy, Denied};
use crate::resolver::{GuardedResolver, Lookup, SystemLookup};

/// Below this, hashing is cheaper than handing it to another thread.
const INLINE_HASH_BYTES: usize = 256 << 10;
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
    /// One for each open port, see [`GuardedResolver`].
    clients: HashMap<u16, Client>,
    hosts: HostGates,
    budget: ByteBudget,
}

/// What one request came to.
enum Hop {
    Body(Body),
    Redirect(Url),
    /// Larger than its reservation and not larger than the cap.
    Oversize,
}

struct Body {
    bytes: Bytes,
    media_type: Option<String>,
    reservation: Reservation,
}

impl Fetcher {
    /// With the system's DNS.
    pub fn new(params: FetchParams) -> Result<Self, FetchSetupError> {
        Self::with_lookup(params, Arc::new(SystemLookup))
    }

    /// With a DNS of the caller's; the policy stands all the same.
    pub fn with_lookup(params: FetchParams, lookup: Arc<dyn Lookup>) -> Result<Self, FetchSetupError> {
        let limits = params.limits;
        if limits.budget_bytes < limits.max_image_bytes.max(limits.max_audio_bytes) {
            // The oversize lane would wait for more than there is.
            return Err(FetchSetupError::Params("budget_bytes is less than the largest file"));
        }
        if limits.max_per_host == 0 || limits.max_attempts == 0 || limits.unknown_size_bytes == 0 {
            return Err(FetchSetupError::Params(
                "max_per_host, max_attempts and unknown_size_bytes must be at least 1",
            ));
        }
        let policy = Arc::new(params.policy);
        let mut clients = HashMap::new();
        for port in policy.open_ports() {
            let resolver = Arc::new(GuardedResolver { policy: policy.clone(), lookup: lookup.clone(), port });
            clients.insert(port, client(&limits, &params.user_agent, resolver)?);
        }
        let hosts = HostGates::new(CircuitParams {
            failures: limits.host_failures,
            slots: limits.max_per_host,
            stall: limits.host_stall,
            rest: limits.host_rest,
            max_rest: limits.max_host_rest,
        });
        let budget = ByteBudget::new(limits.budget_bytes);
        Ok(Self(Arc::new(Inner { policy, limits, clients, hosts, budget })))
    }

    /// Downloads one medium. Dropping the future closes the connection and gives every share back.
    ///
    /// # Errors
    /// Every failure is a reason; those of the network have been tried again as far as the deadline allowed.
    pub async fn fetch(&self, request: FetchRequest) -> Result<FetchedMedia, AbsentReason> {
        let modality = request.modality;
        let deadline = Instant::from_std(request.deadline);
        let result = match timeout_at(deadline, self.0.tries(&request, deadline)).await {
            Ok(result) => result,
            Err(_) => Err(AbsentReason::Timeout),
        };
        let outcome = result.as_ref().map_or_else(|reason| reason.as_str(), |_| "ok");
        jtav_telemetry::global().inc(Metric::MediaFetches, &[modality.as_str(), outcome]);
        result
    }
}

impl MediaFetcher for Fetcher {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'static, Result<FetchedMedia, AbsentReason>> {
        let fetcher = self.clone();
        Box::pin(async move { Fetcher::fetch(&fetcher, request).await })
    }
}

/// The client of one port. It follows no redirect, takes no proxy from the environment, decodes no encoding (those
/// features are not compiled in), and always verifies certificates.
fn client(limits: &FetchLimits, user_agent: &str, resolver: Arc<GuardedResolver>) -> Result<Client, reqwest::Error> {
    let builder = || {
        Client::builder()
            .no_proxy()
            .referer(false)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .user_agent(user_agent)
            .connect_timeout(limits.connect_timeout)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(limits.max_per_host)
            .dns_resolver(resolver.clone())
    };
    builder().build().or_else(|error| {
        // A bare container without CA certificates. An empty set of roots trusts nobody: https fails, http works.
        tracing::warn!(%error, "no system certificates: https media will not be fetched");
        builder().tls_certs_only([]).build()
    })
}

impl Inner {
    async fn tries(&self, request: &FetchRequest, deadline: Instant) -> Result<FetchedMedia, AbsentReason> {
        if request.modality == Modality::Text {
            // Text travels in the post; there is no cap that would fit it.
            return Err(AbsentReason::Unsupported);
        }
        let url = Url::parse(&request.media.url).map_err(|error| Failure::from(Denied::from(error)).reason)?;
        let started = Instant::now();
        let policy = RetryPolicy {
            max_attempts: self.limits.max_attempts,
            base_delay: self.limits.backoff,
            deadline: deadline.saturating_duration_since(started),
            ..RetryPolicy::default()
        };
        let mut failed = 0;
        loop {
            let failure = match self.attempt(url.clone(), request).await {
                Ok(body) => {
                    return accept(request.modality, body.bytes, body.media_type, &request.media)
                        .await
                        .map(|media| FetchedMedia { reservation: Some(Arc::new(body.reservation)), ..media });
                }
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

    /// Follows redirects to a body.
    async fn attempt(&self, mut url: Url, request: &FetchRequest) -> Result<Body, Failure> {
        let cap = self.limits.max_bytes(request.modality);
        let mut redirects = 0;
        let mut oversize = false;
        loop {
            match self.hop(&url, request, cap, oversize).await? {
                Hop::Body(body) => return Ok(body),
                Hop::Oversize => oversize = true,
                Hop::Redirect(_) if redirects == self.limits.max_redirects => {
                    return Err(Failure::last(AbsentReason::FetchFailed));
                }
                Hop::Redirect(next) => {
                    redirects += 1;
                    url = next;
                }
            }
        }
    }

    async fn hop(&self, url: &Url, request: &FetchRequest, cap: u32, oversize: bool) -> Result<Hop, Failure> {
        let endpoint = self.policy.check_url(url)?;
        let port = endpoint.port();
        let client = self.clients.get(&port).ok_or(Denied::Port(port))?;
        // The host's slot first: posts that wait for a hanging host must not hold bytes meanwhile.
        let host = format!("{}:{port}", url.host_str().unwrap_or_default());
        let _slot = self.hosts.enter(&host).await.map_err(Failure::last)?;
        let reservation = match (oversize, request.media.bytes) {
            (true, _) => self.budget.reserve_oversize(cap).await,
            // A declared size above the cap may be wrong; the body decides.
            (false, Some(declared)) => self.budget.reserve(declared.clamp(1, u64::from(cap)) as u32).await,
            (false, None) => self.budget.reserve(self.limits.unknown_size_bytes.min(cap)).await,
        };
        // The host's time begins now: waiting for bytes of the budget is not its fault.
        let on_wire = self.hosts.begin(&host).map_err(Failure::last)?;
        let exchange = self.exchange(client, url, cap, reservation, request.modality, &on_wire);
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
        cap: u32,
        reservation: Reservation,
        modality: Modality,
        on_wire: &OnWire,
    ) -> Result<Hop, Failure> {
        let sent = client.get(url.clone()).header(reqwest::header::ACCEPT_ENCODING, "identity").send();
        let response = match timeout(self.limits.first_byte_timeout, sent).await {
            Ok(response) => response.map_err(|error| broken(&error))?,
            Err(_) => return Err(Failure::last(AbsentReason::Timeout)),
        };
        on_wire.sign_of_life();
        if let Some(next) = redirect(&response, url)? {
            return Ok(Hop::Redirect(next));
        }
        check_status(&response)?;
        let encoding = response.headers().get(CONTENT_ENCODING).map(|value| value.as_bytes());
        if encoding.is_some_and(|name| !name.eq_ignore_ascii_case(b"identity")) {
            return Err(Failure::last(AbsentReason::Unsupported));
        }
        match response.content_length() {
            Some(length) if length > u64::from(cap) => Err(Failure::last(AbsentReason::TooLarge)),
            Some(length) if length > reservation.bytes() as u64 => Ok(Hop::Oversize),
            _ => self.body(response, cap, reservation, modality, on_wire).await,
        }
    }

    /// Reads the body into memory that was reserved, and not a byte more.
    async fn body(
        &self,
        mut response: Response,
        cap: u32,
        mut reservation: Reservation,
        modality: Modality,
        on_wire: &OnWire,
    ) -> Result<Hop, Failure> {
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
        Ok(Hop::Body(Body { bytes: bytes.into(), media_type, reservation }))
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

/// Takes bytes as the medium that `media` declares: checks the declared hash, computes the content hash. Bytes that
/// did not come through a [`Fetcher`] (a file of the caller's) come in here; they hold no share of a budget.
///
/// # Errors
/// [`AbsentReason::HashMismatch`], also where the declared hash is no SHA-256.
pub async fn accept(
    modality: Modality,
    bytes: Bytes,
    served_type: Option<String>,
    media: &MediaRef,
) -> Result<FetchedMedia, AbsentReason> {
    let declared = media.sha256.clone();
    let content_hash = if bytes.len() <= INLINE_HASH_BYTES {
        hashes(&bytes, declared.as_deref())?
    } else {
        let shared = bytes.clone();
        let hashing = tokio::task::spawn_blocking(move || hashes(&shared, declared.as_deref()));
        // Only a runtime that shuts down takes the task away.
        hashing.await.map_err(|_| AbsentReason::FetchFailed)??
    };
    let media_type = media.media_type.clone().or(served_type);
    Ok(FetchedMedia { modality, bytes, content_hash, media_type, reservation: None })
}

fn hashes(bytes: &[u8], declared_sha256: Option<&str>) -> Result<ContentHash, AbsentReason> {
    if let Some(declared) = declared_sha256 {
        let mut expected = [0; 32];
        if hex::decode_to_slice(declared, &mut expected).is_err() || Sha256::digest(bytes)[..] != expected {
            return Err(AbsentReason::HashMismatch);
        }
    }
    Ok(*blake3::hash(bytes).as_bytes())
}
