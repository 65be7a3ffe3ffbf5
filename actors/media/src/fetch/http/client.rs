//! The HTTP clients, one for each open port, and how many connections they keep together.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use jtav_telemetry::Metric;
use reqwest::Client;
use tower_layer::Layer;
use tower_service::Service;

use super::tls::tls;
use crate::fetch::address::AddressPolicy;
use crate::fetch::error::FetchSetupError;
use crate::fetch::names::{GuardedResolver, Lookup, Peers};
use crate::fetch::params::FetchParams;

/// What one answer over HTTP/2 may send ahead of its reading; over HTTP/1.1 the socket's buffer bounds it.
const H2_STREAM_WINDOW_BYTES: u32 = 512 << 10;
/// The same for all answers of one connection.
const H2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// A connection that nobody has needed for so long is closed.
const IDLE: Duration = Duration::from_secs(10);

/// Clients of all open ports. They follow no redirect, take no proxy from the environment, decode no encoding (those
/// features are not compiled in), and always verify certificates.
///
/// A client bounds the connections that it keeps of one host, and a feed names hosts without end. So all clients are given
/// up together when they have opened as many connections as may be idle, and new ones begin with none: idle connections
/// end with their client, requests on the wire go on to their end and then close theirs. A host that is asked all the time
/// pays for that with a connection now and then.
pub(crate) struct Clients {
    params: FetchParams,
    policy: Arc<AddressPolicy>,
    lookup: Arc<dyn Lookup>,
    peers: Arc<Peers>,
    /// Shared by all of them: reading the system's certificates takes longer than everything else.
    tls: rustls::ClientConfig,
    generation: Mutex<Generation>,
}

#[derive(Default)]
struct Generation {
    clients: HashMap<u16, Client>,
    opened: Arc<AtomicUsize>,
}

impl Clients {
    /// # Errors
    /// Authorities that are none, settings that the HTTP client refuses.
    pub(crate) fn new(
        params: FetchParams,
        policy: Arc<AddressPolicy>,
        lookup: Arc<dyn Lookup>,
        peers: Arc<Peers>,
    ) -> Result<Self, FetchSetupError> {
        let tls = tls(&params.extra_authorities_pem)?;
        let clients = Self { params, policy, lookup, peers, tls, generation: Mutex::default() };
        // What is wrong with the settings shows now.
        clients.build(0, &Arc::default())?;
        Ok(clients)
    }

    /// The client of an open port; none for another.
    ///
    /// # Errors
    /// Of the system: settings were tried at the start.
    pub(crate) fn of_port(&self, port: u16) -> Option<Result<Client, reqwest::Error>> {
        if !self.policy.open_ports().any(|open| open == port) {
            return None;
        }
        // Nothing can panic while it is held but allocation; what is inside stays whole.
        let mut generation = self.generation.lock().unwrap_or_else(PoisonError::into_inner);
        if generation.opened.load(Ordering::Relaxed) >= self.params.limits.max_idle_connections {
            *generation = Generation::default();
        }
        let Generation { clients, opened } = &mut *generation;
        Some(match clients.entry(port) {
            Entry::Occupied(client) => Ok(client.get().clone()),
            Entry::Vacant(place) => self.build(port, opened).map(|client| place.insert(client).clone()),
        })
    }

    fn build(&self, port: u16, opened: &Arc<AtomicUsize>) -> Result<Client, reqwest::Error> {
        let limits = &self.params.limits;
        let (policy, lookup, peers) = (self.policy.clone(), self.lookup.clone(), self.peers.clone());
        let resolver = GuardedResolver { policy, lookup, peers, port };
        Client::builder()
            .no_proxy()
            .referer(false)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .user_agent(&self.params.user_agent)
            .connect_timeout(limits.connect_timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(limits.max_per_host.min(limits.max_idle_connections))
            .http2_initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
            .dns_resolver(Arc::new(resolver))
            .connector_layer(Counting(opened.clone()))
            .tls_backend_preconfigured(self.tls.clone())
            .build()
    }
}

/// Counts the connections that come about.
#[derive(Debug, Clone)]
struct Counting(Arc<AtomicUsize>);

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, opened: self.0.clone() }
    }
}

#[derive(Debug, Clone)]
struct Counted<S> {
    inner: S,
    opened: Arc<AtomicUsize>,
}

impl<S, R> Service<R> for Counted<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (connecting, opened) = (self.inner.call(request), self.opened.clone());
        Box::pin(async move {
            let connection = connecting.await?;
            opened.fetch_add(1, Ordering::Relaxed);
            Metric::media_connections().inc();
            Ok(connection)
        })
    }
}
