use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use jtav_schemas::redis_key::{erased_key, label_key};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, ClientTlsConfig, IntoConnectionInfo as _, RedisError, RedisResult, TlsCertificates};

use crate::error::needs_new_connection;
use crate::{Applied, LabelWrite, SharedCache, Standing, Store, StoreError, StoredLabel, script};

/// A certificate to show to the server.
#[derive(Clone)]
pub struct ClientCertificate {
    /// PEM.
    pub certificate_pem: Vec<u8>,
    /// PEM.
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
}

impl RedisOptions {
    /// With 2 s for a command and 2 s to connect.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            command_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
            ca_pem: None,
            client_certificate: None,
        }
    }
}

/// A connection that could not serve is replaced no more often than this, so that a server that refuses us is not
/// flooded with handshakes.
const REPLACE_INTERVAL: Duration = Duration::from_millis(250);

/// Commands that may wait to be written; they leave in one write when the socket is free. The callers' permits bound
/// them, this only keeps them from waiting for each other.
const PIPELINE_BUFFER: usize = 4_096;

/// Redis over one multiplexed connection: concurrent calls share it and travel in batches. It reconnects by itself;
/// calls that were under way then fail with a retryable error.
#[derive(Clone)]
pub struct RedisStore {
    link: Arc<Link>,
}

struct Link {
    client: Client,
    config: ConnectionManagerConfig,
    command_timeout: Duration,
    current: Mutex<Current>,
}

#[derive(Clone)]
struct Current {
    manager: ConnectionManager,
    made_at: Instant,
    generation: u64,
}

impl std::fmt::Debug for RedisStore {
    /// The address alone: the URL may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedisStore({})", self.link.client.get_connection_info().addr())
    }
}

impl RedisStore {
    /// Prepares the connection; the first call opens it, and [`ping`](Store::ping) says whether it can be had. Must be
    /// called inside a tokio runtime.
    pub fn new(options: RedisOptions) -> Result<Self, StoreError> {
        let client = client(&options)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(options.connect_timeout))
            .set_response_timeout(Some(options.command_timeout))
            // One pause per attempt keeps a server that is away from being hammered; more of them would hide the reason
            // (refused, wrong password, bad certificate) behind our own time-out.
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50))
            .set_pipeline_buffer_size(PIPELINE_BUFFER);
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config.clone())?;
        let current = Mutex::new(Current { manager, made_at: Instant::now(), generation: 0 });
        Ok(Self { link: Arc::new(Link { client, config, command_timeout: options.command_timeout, current }) })
    }

    pub(crate) fn call<T, F>(
        &self,
        job: impl FnOnce(ConnectionManager) -> F + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>>
    where
        F: Future<Output = RedisResult<T>> + Send,
        T: Send + 'static,
    {
        let link = Arc::clone(&self.link);
        async move {
            let Current { manager, generation, .. } = link.current();
            match tokio::time::timeout(link.command_timeout, job(manager)).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => {
                    if needs_new_connection(&error) {
                        link.replace(generation);
                    }
                    Err(error.into())
                }
                Err(_) => Err(StoreError::Timeout { timeout_ms: link.command_timeout.as_millis() as u64 }),
            }
        }
        .boxed()
    }
}

impl Link {
    fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens a new connection in place of the one of `generation`, unless another call already did.
    fn replace(&self, generation: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.generation != generation || current.made_at.elapsed() < REPLACE_INTERVAL {
            return;
        }
        match ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone()) {
            Ok(manager) => *current = Current { manager, made_at: Instant::now(), generation: generation + 1 },
            Err(error) => tracing::warn!(%error, "no new connection to the store"),
        }
    }
}

fn client(options: &RedisOptions) -> Result<Client, StoreError> {
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

impl Store for RedisStore {
    fn apply(&self, write: &LabelWrite) -> BoxFuture<'static, Result<Applied, StoreError>> {
        if let Err(error) = write.check() {
            return ready(Err(error)).boxed();
        }
        let script = script::apply(write);
        let answer = self.call(move |mut redis| async move { script.invoke_async::<String>(&mut redis).await });
        answer
            .map(|answer| match answer?.as_str() {
                "written" => Ok(Applied::Written),
                "same" => Ok(Applied::Same),
                "stale" => Ok(Applied::Stale),
                "erased" => Ok(Applied::Erased),
                other => Err(StoreError::ForeignKey(format!("the script answered `{other}`"))),
            })
            .boxed()
    }

    fn erase(&self, post_id: &str, revision: u64, ttl: Duration) -> BoxFuture<'static, Result<u32, StoreError>> {
        let script = script::erase(post_id, revision, ttl);
        self.call(move |mut redis| async move { script.invoke_async(&mut redis).await })
    }

    fn read(&self, post_id: &str, model_version: &str) -> BoxFuture<'static, Result<Option<StoredLabel>, StoreError>> {
        let key = label_key(post_id, model_version);
        let mut command = redis::cmd("HMGET");
        command.arg(&key).arg(&script::FIELDS);
        self.call(move |mut redis| async move { command.query_async::<Vec<Option<Bytes>>>(&mut redis).await })
            .map(move |values| script::stored_label(&key, values?))
            .boxed()
    }

    fn standing(&self, post_id: &str, model_version: &str) -> BoxFuture<'static, Result<Standing, StoreError>> {
        let key = label_key(post_id, model_version);
        let mut both = redis::pipe();
        both.cmd("EXISTS").arg(erased_key(post_id));
        both.cmd("HMGET").arg(&key).arg(&script::STANDING_FIELDS);
        self.call(move |mut redis| async move {
            both.query_async::<(bool, (Option<Bytes>, Option<Bytes>))>(&mut redis).await
        })
        .map(move |answer| {
            let (erased, (revision, source)) = answer?;
            Ok(Standing { erased, newest: script::identity(&key, revision, source)? })
        })
        .boxed()
    }

    fn is_erased(&self, post_id: &str) -> BoxFuture<'static, Result<bool, StoreError>> {
        let mut command = redis::cmd("EXISTS");
        command.arg(erased_key(post_id));
        self.call(move |mut redis| async move { command.query_async(&mut redis).await })
    }

    fn shared_cache(&self) -> Option<Arc<dyn SharedCache>> {
        Some(Arc::new(self.clone()))
    }

    fn ping(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        self.call(move |mut redis| async move { redis::cmd("PING").query_async::<String>(&mut redis).await.map(drop) })
    }
}
