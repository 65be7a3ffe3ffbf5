//! The server: followers, routes, limits, its end.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::dev::{Extensions, ServerHandle};
use actix_web::http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{Condition, from_fn};
use actix_web::web::{self, Data, PathConfig, QueryConfig, ServiceConfig};
use actix_web::{App as Actix, FromRequest, Handler, HttpServer, Resource, Responder};
use anyhow::Context as _;
use jtav_feed_processor::{Networks, StoreWatch, Worker};
use jtav_kafka::ClientSettings;
use jtav_media::DecodePool;
use jtav_model::retrieval::{BUNDLED_RETRIEVAL, BUNDLED_SONGS, SongRetriever};
use jtav_neighbours::{IndexSettings, NeighbourIndex};
use jtav_settings::{Settings, existing_or_bundled};
use jtav_store::{Store, VectorIndex};
use jtav_telemetry::{FollowedTopic, Metric, global};
use tokio::sync::{Semaphore, watch};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::App;
use crate::bodies::Bodies;
use crate::catch_up::{SentimentTopic, turns};
use crate::content::ContentReader;
use crate::follow::{Labels, Recent, Topic, TopicHealth, Vectors, follow};
use crate::guard::{Guard, guard};
use crate::judge::Judge;
use crate::keys::KeysFileWatch;
use crate::media_room::MediaRoom;
use crate::problem::Problem;
use crate::routes::{
    docs, explanation, feed, health, label, letters, media, models, neighbours, page, posts, songs, status, stream,
};
use crate::seats::Seats;
use crate::tls::Certificate;

/// Largest record of an output topic that is read; ours have a few kilobytes.
const MAX_RECORD_BYTES: u64 = 1 << 20;
/// A connection whose peer acknowledges nothing for so long is broken off by the kernel.
const UNACKNOWLEDGED_MS: u32 = 30_000;
/// From the first byte of a request's head to its last.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks at keys, certificate and rate.
const TEND_EVERY: Duration = Duration::from_secs(1);
/// What answers that are under way have when the server ends.
const LAST_ANSWERS_SECONDS: u64 = 2;

/// What a server is made of.
pub struct ServeParams {
    /// Everything that can be set.
    pub settings: Arc<Settings>,
    /// The brokers.
    pub client: ClientSettings,
    /// Where labels are read.
    pub store: Arc<dyn Store>,
    /// The index of vectors that workers write, where it is not in memory.
    pub vectors: Option<Arc<dyn VectorIndex>>,
    /// The worker in the same process, if one runs.
    pub worker: Option<Worker>,
    /// The networks, for what is labelled on request.
    pub networks: Option<Networks>,
    /// What decodes media; may be the worker's, too.
    pub decoders: DecodePool,
    /// Refuse what costs networks, except what the page needs.
    pub is_read_only: bool,
}

/// A running server.
pub struct Server {
    /// Where it listens; the port is real also where 0 was asked for.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub is_tls: bool,
    /// What its routes share.
    pub app: Data<App>,
    handle: ServerHandle,
    stopping: watch::Sender<bool>,
    followers: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts it. Must run inside an actix system.
    ///
    /// # Errors
    /// Keys or certificate that cannot be used; an address that is taken.
    pub fn start(params: ServeParams) -> anyhow::Result<Self> {
        // A counter that first appears at 1 has not risen. A worker in the same process has seen to it, and set gauges since.
        if params.worker.is_none() {
            global().start_from_zero();
            Metric::build_info(env!("CARGO_PKG_VERSION")).set(1.0);
        }
        let serve = &params.settings.serve;
        let certificate = match (&serve.tls_certificate_file, &serve.tls_key_file) {
            (Some(chain), Some(key)) => Some(Certificate::open(chain, key)?),
            _ => None,
        };
        let guard = Arc::new(make_guard(&params)?);
        let listener = TcpListener::bind(serve.listen)
            .with_context(|| format!("serve.listen {}: choose another port, or 0 for any", serve.listen))?;
        let address = listener.local_addr()?;
        let (stopping, is_stopping) = watch::channel(false);
        let (app, followers) = start_app(&params, &guard, is_stopping)?;
        let app = Data::new(app);
        tend(app.clone(), certificate.clone());
        let is_tls = certificate.is_some();
        let handle = start_http(&params.settings, app.clone(), Data::from(guard), listener, certificate)?;
        Ok(Self { address, is_tls, app, handle, stopping, followers })
    }

    /// `http://127.0.0.1:9700`.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.address)
    }

    /// Ends it: streams are told, answers have a moment.
    pub async fn stop(self) {
        let _ = self.stopping.send(true);
        self.handle.stop(true).await;
        if let Some(judge) = &self.app.judge {
            judge.stop();
        }
        let followers = self.followers;
        let _ = tokio::task::spawn_blocking(move || followers.into_iter().map(JoinHandle::join).for_each(drop)).await;
    }
}

fn make_guard(params: &ServeParams) -> anyhow::Result<Guard> {
    let serve = &params.settings.serve;
    let per_second = NonZeroU32::new(serve.requests_per_second).unwrap_or(NonZeroU32::MIN);
    let keys = serve.keys_file.as_deref().map(|path| KeysFileWatch::open(path, per_second)).transpose()?;
    // With keys a foreign page could do nothing: it has none.
    let hosts = keys.is_none().then(|| {
        let own = serve.listen.ip();
        let own = if own.is_ipv6() { format!("[{own}]") } else { own.to_string() };
        let loopback = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        loopback.into_iter().chain([own]).chain(serve.hosts.iter().cloned()).collect()
    });
    Ok(Guard::new(keys, hosts, per_second, serve.request_timeout(), params.is_read_only))
}

type Started = (App, Vec<JoinHandle<()>>);

fn start_app(params: &ServeParams, guard: &Arc<Guard>, stopping: watch::Receiver<bool>) -> anyhow::Result<Started> {
    let ServeParams { settings, client, store, worker, .. } = params;
    let (recent, labels_health) =
        (Arc::new(Recent::new(settings.serve.recent_events)), Arc::new(TopicHealth::default()));
    let counts = Arc::default();
    let topic = |name: &str, kind| Topic {
        client: client.clone(),
        name: name.to_owned(),
        kind,
        max_record_bytes: MAX_RECORD_BYTES,
    };
    let media = MediaRoom::new(settings, params.decoders.clone())?;
    let judge = params.networks.clone().map(|networks| Judge::start(settings, networks, params.decoders.clone()));
    let judge = judge.transpose()?;
    let labels =
        Labels::new(Arc::clone(&recent), Arc::clone(&counts), settings.serve.recent_events, forget_media(&media));
    let sentiment = &settings.kafka.sentiment_topic;
    let vectors_health = Arc::new(TopicHealth::default());
    let window_ms = i64::try_from(settings.index.window_hours).unwrap_or(i64::MAX).saturating_mul(3_600_000);
    let max_bytes = usize::try_from(settings.index.max_bytes).unwrap_or(usize::MAX);
    let index = (max_bytes > 0 && params.vectors.is_none())
        .then(|| Arc::new(NeighbourIndex::new(IndexSettings { window_ms, max_bytes })));
    let of_labels = topic(sentiment, FollowedTopic::Sentiment);
    let mut followers =
        vec![follow(of_labels, labels, Arc::clone(&labels_health), stopping.clone()).context("a thread")?];
    if let Some(index) = &index {
        let (vectors, health) = (Vectors::new(Arc::clone(index), window_ms), Arc::clone(&vectors_health));
        let embeddings = topic(&settings.kafka.embeddings_topic, FollowedTopic::Embeddings);
        followers.push(follow(embeddings, vectors, health, stopping.clone()).context("a thread")?);
    }
    let app = App {
        settings: Arc::clone(settings),
        store: Arc::clone(store),
        store_watch: StoreWatch::default(),
        bodies: bodies(settings),
        content: ContentReader::new(client.clone(), &settings.kafka.input_topic, settings.ingest.max_record_bytes),
        media,
        drawings: Arc::new(Semaphore::new(settings.serve.max_media)),
        judge,
        songs: open_songs(params)?,
        index,
        vectors: params.vectors.clone(),
        vectors_health,
        searches: Arc::new(Semaphore::new(settings.serve.thread_count())),
        recent,
        counts,
        rate: Arc::default(),
        labels_health,
        sentiment: SentimentTopic { client: client.clone(), name: sentiment.clone() },
        catch_ups: turns(),
        seats: Seats::new(settings.serve.max_streams, settings.serve.max_streams_per_reader),
        guard: Arc::clone(guard),
        model_version: params.networks.as_ref().map(|networks| Arc::clone(&networks.model_version)),
        worker: worker.clone(),
        stopping,
    };
    Ok((app, followers))
}

fn bodies(settings: &Settings) -> Bodies {
    let max_picture_bytes = usize::try_from(settings.media.max_image_bytes).unwrap_or(usize::MAX);
    let serve = &settings.serve;
    // The rest of a request's time is for its answer.
    let patience = serve.request_timeout() / 3 * 2;
    Bodies::new(serve.max_bodies_bytes, serve.max_body_bytes, max_picture_bytes, patience)
}

/// The catalogue that the settings name, or the bundled one where it fits the networks; none without networks.
fn open_songs(params: &ServeParams) -> anyhow::Result<Option<Arc<SongRetriever>>> {
    let Some(networks) = &params.networks else { return Ok(None) };
    let named = params.settings.serve.songs_file.as_deref();
    let folder = existing_or_bundled(BUNDLED_RETRIEVAL);
    let opened = || -> anyhow::Result<SongRetriever> {
        let file = match named {
            Some(file) => file.to_owned(),
            None => existing_or_bundled(BUNDLED_SONGS)?,
        };
        let songs = SongRetriever::open(&folder?, &file)?;
        songs.check_encoder(&networks.model_version)?;
        Ok(songs)
    };
    match opened() {
        Ok(songs) => Ok(Some(Arc::new(songs))),
        Err(error) if named.is_some() => Err(error.context("serve.songs_file")),
        Err(error) => {
            tracing::info!(error = format!("{error:#}"), "image2song has no songs");
            Ok(None)
        }
    }
}

/// What is kept of an erased post's media goes at once.
fn forget_media(media: &MediaRoom) -> Box<dyn Fn(&str) + Send> {
    let (media, here) = (media.clone(), tokio::runtime::Handle::current());
    Box::new(move |post_id| here.block_on(media.forget(post_id)))
}

/// Looks after what may change while the server runs, until it ends.
fn tend(app: Data<App>, certificate: Option<Arc<Certificate>>) {
    actix_rt::spawn(async move {
        let mut stopping = app.stopping.clone();
        let look = async {
            loop {
                let labels = jtav_schemas::Label::ALL.into_iter().map(|label| app.counts.of(label)).sum();
                app.rate.read(labels);
                app.guard.tend();
                if let Some(certificate) = &certificate {
                    certificate.tend();
                }
                tokio::time::sleep(TEND_EVERY).await;
            }
        };
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => {}
            () = app.store_watch.ask(&*app.store) => {}
            () = look => {}
        }
    });
}

fn start_http(
    settings: &Settings,
    app: Data<App>,
    guard_data: Data<Guard>,
    listener: TcpListener,
    certificate: Option<Arc<Certificate>>,
) -> anyhow::Result<ServerHandle> {
    let serve = settings.serve.clone();
    let threads = serve.thread_count();
    let make = move || {
        Actix::new()
            .app_data(app.clone())
            .app_data(guard_data.clone())
            .configure(readers)
            .configure(routes)
            .wrap(from_fn(guard))
            .wrap(Condition::new(!serve.allow_origins.is_empty(), cors(&serve.allow_origins)))
    };
    let server = HttpServer::new(make)
        .workers(threads)
        .max_connections(settings.serve.max_connections.div_ceil(threads))
        .client_request_timeout(HEAD_DEADLINE)
        .shutdown_timeout(LAST_ANSWERS_SECONDS)
        .on_connect(|connection, _: &mut Extensions| break_off_when_silent(connection))
        .disable_signals();
    let server = match certificate {
        Some(certificate) => server.listen_rustls_0_23(listener, certificate.config()?)?,
        None => server.listen(listener)?,
    };
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the server of the API has ended");
        }
    });
    Ok(handle)
}

/// A reader that takes nothing would hold its connection for ever: the kernel ends it.
fn break_off_when_silent(connection: &dyn std::any::Any) {
    if let Some(stream) = connection.downcast_ref::<tokio::net::TcpStream>() {
        // Where the kernel has no such option the connection lives on; seats and connections are bounded all the same.
        let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED_MS);
        let _ = stream.set_nodelay(true);
    }
}

fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods([Method::GET, Method::POST])
        .allowed_headers([AUTHORIZATION, CONTENT_TYPE, HeaderName::from_static("last-event-id")])
        .max_age(600);
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

/// What is said of paths and queries that cannot be read.
fn readers(config: &mut ServiceConfig) {
    let query = QueryConfig::default()
        .error_handler(|error, _| Problem::bad_request("invalid_query", error.to_string()).into());
    let path =
        PathConfig::default().error_handler(|error, _| Problem::bad_request("invalid_path", error.to_string()).into());
    config.app_data(query).app_data(path);
}

/// Every route; `openapi` lists those of the API, and a test holds the two together.
fn routes(config: &mut ServiceConfig) {
    let docs = SwaggerUi::new("/docs/{_:.*}").config(Config::new(["/openapi.json"]));
    config
        .service(at("/v1/posts:batch", POST, posts::batch))
        .service(at("/v1/posts/{id}", GET, posts::get))
        .service(at("/v1/posts/{id}/explanation", GET, explanation::get))
        .service(at("/v1/posts/{id}/picture.png", GET, media::picture))
        .service(at("/v1/posts/{id}/sound.wav", GET, media::sound))
        .service(at("/v1/posts/{id}/spectrogram.png", GET, media::spectrogram))
        .service(at("/v1/posts/{id}/neighbours", GET, neighbours::get))
        .service(at("/v1/neighbours", POST, neighbours::post))
        .service(at("/v1/retrieve/image2song", POST, songs::image2song))
        .service(at("/v1/label", POST, label::post))
        .service(at("/v1/stream", STREAM, stream::get))
        .service(at("/v1/feed", GET, feed::get))
        .service(at("/v1/status", GET, status::get))
        .service(at("/v1/models", GET, models::get))
        .service(at("/v1/dead-letters", GET, letters::get))
        .service(at("/healthz", GET, health::healthz))
        .service(at("/readyz", GET, health::readyz))
        .service(at("/metrics", GET, health::metrics))
        .service(at("/openapi.json", GET, docs::document))
        .service(web::redirect("/docs", "/docs/"))
        .service(docs)
        .service(at("/", GET, page::index))
        .service(at("/songs", GET, page::index))
        .service(at("/dead-letters", GET, page::index))
        .service(at("/p/{id}", GET, page::index))
        .service(at("/assets/{path:.*}", GET, page::asset))
        .default_service(web::to(async || Problem::of_status(StatusCode::NOT_FOUND).response(None)));
}

/// Of what can be got: it has a head, too (RFC 9110, 9.3.2).
const GET: &[Method] = &[Method::GET, Method::HEAD];
/// Of a stream, which has no end, and so no head alone.
const STREAM: &[Method] = &[Method::GET];
/// Of a question with a body.
const POST: &[Method] = &[Method::POST];

/// A route; another method than its own is told which those are (RFC 9110, 15.5.6), and not that there is nothing.
fn at<F, Args>(path: &str, methods: &'static [Method], answer: F) -> Resource
where
    F: Handler<Args> + Clone,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let refuse = move || {
        let mut refused = Problem::of_status(StatusCode::METHOD_NOT_ALLOWED).response(None);
        let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
        if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", ")) {
            refused.headers_mut().insert(ALLOW, allowed);
        }
        std::future::ready(refused)
    };
    let route = |resource: Resource, method: &Method| resource.route(web::method(method.clone()).to(answer.clone()));
    methods.iter().fold(web::resource(path), route).default_service(web::to(refuse))
}
