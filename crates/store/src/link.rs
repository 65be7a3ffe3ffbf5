//! How the server is reached: options, and a connection that is opened again.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    Client, ClientTlsConfig, FromRedisValue, IntoConnectionInfo as _, RedisError, RedisResult, TlsCertificates,
};

use crate::StoreError;
use crate::error::needs_new_connection;
use crate::gather::Gather;
use crate::script::ScriptCall;

/// A certificate to show to the server.
#[derive(Clone)]
pub struct ClientCertificate {
    pub certificate_pem: Vec<u8>,
    pub key_pem: Vec<u8>,
}

/// How to reach Redis.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/db]`, `rediss://…` for TLS, `redis+unix:///path/of/socket[?db=n&pass=…]`.
    pub url: String,
    /// Longest wait for an answer, the time to reconnect included.
    pub command_timeout: Duration,
    /// Longest wait for one attempt to connect.
    pub connect_timeout: Duration,
    /// The only authority to trust with `rediss://`, PEM; without it the usual public ones.
    pub ca_pem: Option<Vec<u8>>,
    /// Shown to a server that asks.
    pub client_certificate: Option<ClientCertificate>,
    /// Replicas that must have an erasure before it is acknowledged; 0 waits for none.
    pub erasure_replicas: u32,
    /// Longest wait for them.
    pub erasure_wait: Duration,
}

impl RedisOptions {
    /// With 2 s for a command and 2 s to connect; erasures wait for no replica.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            command_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
            ca_pem: None,
            client_certificate: None,
            erasure_replicas: 0,
            erasure_wait: Duration::from_secs(1),
        }
    }
}

/// A connection that could not serve is replaced no more often than this, so that a server that refuses us is not
/// flooded with handshakes.
const REPLACE_INTERVAL: Duration = Duration::from_millis(250);

/// Commands that may wait to be written; they leave in one write when the socket is free. The callers' permits bound
/// them, this only keeps them from waiting for each other.
const PIPELINE_BUFFER: usize = 4_096;

/// One multiplexed connection for each thread that calls, opened again when it breaks or can no longer serve. A connection
/// belongs to the runtime that opened it: answers to calls of another thread would wake that one by a system call each.
pub(crate) struct Link {
    client: Client,
    config: ConnectionManagerConfig,
    command_timeout: Duration,
    /// By calling thread. A program has a handful of them; those of one that has ended is kept, and closed.
    connections: Mutex<HashMap<ThreadId, Current>>,
}

/// Threads that have a connection of their own; beyond, the oldest connections are given up.
const MAX_CONNECTIONS: usize = 64;

#[derive(Clone)]
struct Current {
    manager: ConnectionManager,
    /// Calls that leave together.
    gather: Arc<Gather>,
    made_at: Instant,
    generation: u64,
}

impl Link {
    /// Prepares it; the first call opens it. Must be called inside a tokio runtime.
    pub(crate) fn new(client: Client, options: &RedisOptions) -> Result<Self, StoreError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(options.connect_timeout))
            // Each call has the limit of its own, the time to reconnect included: a second timer would never be the first.
            .set_response_timeout(None)
            // One pause per attempt keeps a server that is away from being hammered; more of them would hide the reason
            // (refused, wrong password, bad certificate) behind our own time-out.
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50))
            .set_pipeline_buffer_size(PIPELINE_BUFFER);
        let link = Self { client, config, command_timeout: options.command_timeout, connections: Mutex::default() };
        // What is wrong with the options is said here.
        link.current()?;
        Ok(link)
    }

    /// One call within the time limit.
    pub(crate) async fn call<T, F>(&self, job: impl FnOnce(ConnectionManager) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let Current { manager, generation, .. } = self.current()?;
        match tokio::time::timeout(self.command_timeout, job(manager)).await {
            Ok(answer) => self.judged(answer, generation),
            Err(_) => Err(self.timed_out()),
        }
    }

    /// One call of a script, within the same time limit, together with others that this thread makes now.
    pub(crate) async fn invoke<T: FromRedisValue>(&self, call: ScriptCall) -> Result<T, StoreError> {
        let Current { manager, gather, generation, .. } = self.current()?;
        match gather.ask(call, &manager, self.command_timeout).await {
            Ok(answer) => {
                let answer = answer.and_then(|value| T::from_redis_value(value).map_err(RedisError::from));
                self.judged(answer, generation)
            }
            Err(_) => Err(self.timed_out()),
        }
    }

    fn judged<T>(&self, answer: RedisResult<T>, generation: u64) -> Result<T, StoreError> {
        answer.map_err(|error| {
            if needs_new_connection(&error) {
                self.replace(generation);
            }
            error.into()
        })
    }

    fn timed_out(&self) -> StoreError {
        StoreError::Timeout { timeout_ms: self.command_timeout.as_millis() as u64 }
    }

    /// Opens new connections with the next calls, whatever the present ones lead to.
    pub(crate) fn renew(&self) {
        self.lock().clear();
    }

    /// The connection of this thread.
    fn current(&self) -> Result<Current, StoreError> {
        let mut connections = self.lock();
        if let Some(current) = connections.get(&std::thread::current().id()) {
            return Ok(current.clone());
        }
        if connections.len() >= MAX_CONNECTIONS {
            // Threads come and go only in tests and where requests have some of their own.
            connections.clear();
        }
        let manager = ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone())?;
        let (made_at, generation) = (Instant::now(), next_generation());
        let current = Current { manager, gather: Arc::default(), made_at, generation };
        connections.insert(std::thread::current().id(), current.clone());
        Ok(current)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ThreadId, Current>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up the connection of `generation`, unless another call already did: the next call opens a new one.
    fn replace(&self, generation: u64) {
        self.lock()
            .retain(|_, current| current.generation != generation || current.made_at.elapsed() < REPLACE_INTERVAL);
    }
}

fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The client that the options describe.
pub(crate) fn client(options: &RedisOptions) -> Result<Client, StoreError> {
    // rustls panics where no provider is chosen, or two are compiled in and none is chosen. A choice that the
    // program made earlier stands.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let bad_url = |error: RedisError| StoreError::Invalid(format!("store URL: {}", error.category()));
    // The peer may vanish without a word (a failover, a cut cable): the kernel then gives the connection up after this.
    let silence = (options.command_timeout * 2).max(Duration::from_secs(5));
    let keepalive = TcpKeepalive::new().with_time(silence).with_interval(silence / 4);
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(silence);
    let info = options.url.as_str().into_connection_info().map_err(bad_url)?.set_tcp_settings(tcp);
    if options.ca_pem.is_none() && options.client_certificate.is_none() {
        return Client::open(info).map_err(bad_url);
    }
    let client_tls = options
        .client_certificate
        .as_ref()
        .map(|own| ClientTlsConfig { client_cert: own.certificate_pem.clone(), client_key: own.key_pem.clone() });
    Client::build_with_tls(info, TlsCertificates { client_tls, root_cert: options.ca_pem.clone() })
        .map_err(|error| StoreError::Invalid(format!("store certificates: {error}")))
}
