//! One try of a download: its source, redirects, requests, the body.

use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use jtav_pipeline::{FailPoint, FetchRequest, Receipt, fail_point, network_of};
use jtav_schemas::AbsentReason;
use jtav_telemetry::Metric;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Response, StatusCode};
use tokio::time::timeout;
use url::Url;

use super::address::{AddressPolicy, Denied, Endpoint};
use super::error::FetchSetupError;
use super::failure::{Failure, broken};
use super::http::answer::{check_encoding, check_status, redirect};
use super::http::client::Clients;
use super::http::receipt::{Course, Stamp, conditions};
use super::names::{Lookup, Peers};
use super::params::{FetchLimits, FetchParams};
use super::shares::budget::{ByteBudget, Reservation};
use super::shares::circuit::{Answer, CircuitParams};
use super::shares::hosts::{HostGates, OnWire, Peer};
use super::sources::{self, MediaSources};

/// So many bytes of a body are a sign of life; a byte a second is none.
const LIVELY_BYTES: usize = 16 << 10;
/// So many bytes of a body tell what it is.
const TELLING_BYTES: usize = 4 << 10;

/// What all downloads share.
pub(super) struct Downloads {
    policy: Arc<AddressPolicy>,
    pub(super) limits: FetchLimits,
    sources: MediaSources,
    clients: Clients,
    peers: Arc<Peers>,
    hosts: HostGates,
    budget: ByteBudget,
}

/// What one request came to.
enum Hop {
    Body(Body),
    /// Where to, and what the answer allows to be remembered.
    Redirect(Url, HeaderMap),
    /// Not modified since the earlier receipt.
    Unchanged(Stamp, HeaderMap),
}

/// What a chain of redirects came to.
pub(super) enum Arrived {
    Body(Body, Course),
    Unchanged(Arc<Receipt>),
}

/// What was read to its end.
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) media_type: Option<String>,
    pub(super) reservation: Reservation,
    /// None: it did not come from a server.
    pub(super) stamp: Option<Box<Stamp>>,
}

/// What every hop of one download shares.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) request: &'a FetchRequest,
    /// Largest body.
    pub(super) cap: u32,
    /// What is known of the URL.
    pub(super) earlier: Option<&'a Receipt>,
}

impl Downloads {
    /// # Errors
    /// Authorities that are none, settings that the HTTP client refuses.
    pub(super) fn new(params: FetchParams, lookup: Arc<dyn Lookup>) -> Result<Self, FetchSetupError> {
        let limits = params.limits.clone();
        let policy = Arc::new(params.policy.clone());
        let sources = params.sources.clone();
        let peers = Arc::new(Peers::new(lookup.clone(), limits.connect_timeout));
        let clients = Clients::new(params, policy.clone(), lookup, peers.clone())?;
        let circuits = CircuitParams {
            failures: limits.host_failures,
            slots: limits.max_per_host,
            stall: limits.host_stall,
            rest: limits.host_rest,
            max_rest: limits.max_host_rest,
        };
        let hosts = HostGates::new(circuits, limits.max_downloads);
        let budget = ByteBudget::new(limits.budget_bytes, limits.largest_bytes(), limits.max_downloads);
        Ok(Self { policy, limits, sources, clients, peers, hosts, budget })
    }

    /// From the source that the URL names. Only the post's own URL comes by here: a redirect leads to the web alone.
    pub(super) async fn attempt(&self, url: &Url, wanted: Wanted<'_>) -> Result<Arrived, Failure> {
        let body = match url.scheme() {
            "data" if self.sources.data => self.data(url, wanted).await?,
            "file" if !self.sources.file_roots.is_empty() => self.file(url, wanted).await?,
            "s3" => match &self.sources.s3 {
                Some(endpoint) => return self.web(endpoint.locate(url)?, wanted).await,
                None => return Err(Denied::Scheme.into()),
            },
            _ => return self.web(url.clone(), wanted).await,
        };
        Ok(Arrived::Body(body, Course::new()))
    }

    async fn data(&self, url: &Url, wanted: Wanted<'_>) -> Result<Body, Failure> {
        let (bytes, media_type) = sources::data(url, wanted.cap as usize)?;
        let reservation = self.budget.reserve(bytes.len()).await;
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
        let reservation = self.budget.reserve(size as usize).await;
        let reading = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::with_capacity(size as usize);
            // It may grow while it is read, and is then cut off where it ended.
            file.take(size).read_to_end(&mut bytes).map(|_| bytes)
        });
        let bytes = reading.await.map_err(gone)?.map_err(|_| Failure::last(AbsentReason::FetchFailed))?;
        Ok(Body { bytes: bytes.into(), media_type: None, reservation, stamp: None })
    }

    /// Follows redirects to a body.
    async fn web(&self, mut url: Url, mut wanted: Wanted<'_>) -> Result<Arrived, Failure> {
        let mut course = Course::new();
        let mut redirects = 0;
        loop {
            let asked_at = std::time::Instant::now();
            match self.hop(&url, wanted).await? {
                Hop::Body(body) => return Ok(Arrived::Body(body, course)),
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

    async fn hop(&self, url: &Url, wanted: Wanted<'_>) -> Result<Hop, Failure> {
        let endpoint = self.policy.check_url(url)?;
        let port = endpoint.port();
        let name = url.host_str().unwrap_or_default();
        let mut peer = Peer::new(name, port);
        // One that is not to be asked costs no question to DNS either.
        self.hosts.check(&peer.host).map_err(Failure::last)?;
        peer.network = match endpoint {
            Endpoint::Address(address) => Some(network_of(address.ip())),
            Endpoint::Name { .. } => self.peers.network(name, port).await,
        };
        // The slot first: posts that wait for a hanging host must not hold bytes meanwhile. A slot is a request, whether
        // it has a connection of its own or is one of many on one (HTTP/2).
        let _slot = self.hosts.enter(&peer).await.map_err(Failure::last)?;
        let client = self.clients.of_port(port).ok_or(Denied::Port(port))?.map_err(|error| broken(&error))?;
        let on_wire = self.hosts.begin(&peer.host).map_err(Failure::last)?;
        let result = self.exchange(&client, url, wanted, &on_wire).await;
        on_wire.end(result.as_ref().map_or_else(Failure::answer, |_| Answer::Alive));
        result
    }

    async fn exchange(&self, client: &Client, url: &Url, wanted: Wanted<'_>, on_wire: &OnWire) -> Result<Hop, Failure> {
        let asked_at = std::time::Instant::now();
        let conditions = wanted.earlier.map_or_else(HeaderMap::new, |earlier| conditions(earlier, url));
        let is_conditional = !conditions.is_empty();
        let sent = client.get(url.clone()).header(ACCEPT_ENCODING, "identity").headers(conditions).send();
        let patience = on_wire.time_left(self.limits.total_timeout, self.limits.first_byte_timeout);
        let response = match timeout(patience, sent).await {
            Ok(response) => response.map_err(|error| broken(&error))?,
            Err(_) => return Err(Failure::last(AbsentReason::Timeout)),
        };
        on_wire.sign_of_life();
        if let Some(next) = redirect(&response, url)? {
            return Ok(Hop::Redirect(next, response.headers().clone()));
        }
        let stamp = Stamp::of(&response, url, asked_at);
        if is_conditional && response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Hop::Unchanged(stamp, response.headers().clone()));
        }
        check_status(&response)?;
        if response.content_length().is_some_and(|length| length > u64::from(wanted.cap)) {
            return Err(Failure::last(AbsentReason::TooLarge));
        }
        self.body(response, stamp, wanted, on_wire).await
    }

    /// Reads the body. Its bytes of the budget are taken as they come: what a server says of the length only lowers what
    /// may come, and its memory is touched by nothing else.
    async fn body(
        &self,
        mut response: Response,
        stamp: Stamp,
        wanted: Wanted<'_>,
        on_wire: &OnWire,
    ) -> Result<Hop, Failure> {
        let (modality, cap) = (wanted.request.modality, wanted.cap as usize);
        let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let expected = response.content_length().map(|length| (length as usize).min(cap));
        let mut reservation = self.budget.open(cap);
        if let Some(length) = expected {
            reservation.expect(length);
        }
        let mut bytes = Vec::with_capacity(expected.unwrap_or(0));
        let headers = response.headers().clone();
        loop {
            let patience = on_wire.time_left(self.limits.total_timeout, self.limits.idle_timeout);
            let chunk = match timeout(patience, response.chunk()).await {
                Ok(chunk) => chunk.map_err(|error| broken(&error))?,
                Err(_) => return Err(Failure::last(AbsentReason::Timeout)),
            };
            let Some(chunk) = chunk else { break };
            fail_point::hit(FailPoint::FetchMid, modality.as_str());
            Metric::media_bytes(modality).add(chunk.len() as f64);
            if bytes.len() + chunk.len() > cap {
                return Err(Failure::last(AbsentReason::TooLarge));
            }
            let held = bytes.len() + chunk.len();
            if reservation.bytes() < held as u64 {
                on_wire.excused(reservation.grow_to(held)).await;
            }
            if (bytes.len() + chunk.len()) / LIVELY_BYTES > bytes.len() / LIVELY_BYTES {
                on_wire.sign_of_life();
            }
            let was_short = bytes.len() < TELLING_BYTES;
            bytes.extend_from_slice(&chunk);
            if was_short && bytes.len() >= TELLING_BYTES {
                check_encoding(&headers, &bytes)?;
            }
        }
        check_encoding(&headers, &bytes)?;
        bytes.shrink_to_fit();
        reservation.finish(bytes.len());
        Ok(Hop::Body(Body { bytes: bytes.into(), media_type, reservation, stamp: Some(Box::new(stamp)) }))
    }
}
