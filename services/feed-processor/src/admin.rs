//! HTTP for operators: `/metrics`, `/healthz`, `/readyz`, `/describe`. Nothing of a post is ever shown.
//!
//! Whoever can reach it is a stranger too: a connection has one deadline from its beginning to its end, a request one
//! size, a peer its share of the connections, and no answer asks anything outside this process.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use jtav_ingest::Describe;
use jtav_model::Choice;
use jtav_router::DescribeLane;
use jtav_telemetry::global;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use crate::http::{Answer, JSON, MAX_HEAD_BYTES, METRICS, TEXT, head_end, parse};
use crate::seats::Seats;
use crate::worker::Worker;

/// Connections at once, and those of one address.
const MAX_CONNECTIONS: usize = 64;
const MAX_CONNECTIONS_OF_ONE_PEER: usize = 8;
/// Longest life of a connection, from its acceptance to the last byte of the answer.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for what a box says of itself; one that hangs is left out.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait, when the worker ends, for answers that are under way.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// After a failure to accept (no descriptor is left): the listener would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running admin server.
pub struct Admin {
    /// Where it listens; the port is real also where 0 was asked for.
    pub address: SocketAddr,
    stop: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Admin {
    /// Starts the server on its own thread.
    ///
    /// # Errors
    /// The address is taken or not ours; no thread.
    pub fn start(worker: Worker, listen: SocketAddr) -> anyhow::Result<Self> {
        Self::serve(listen, move |path| {
            let worker = worker.clone();
            async move { answer(&worker, &path).await }
        })
    }

    fn serve<F>(listen: SocketAddr, answer: impl Fn(String) -> F + Send + Sync + 'static) -> anyhow::Result<Self>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind(listen)
            .with_context(|| format!("admin.listen {listen}: choose another port, or 0 for any"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                if let Err(error) = runtime.block_on(accept(listener, Arc::new(answer), stopped)) {
                    tracing::error!(%error, "the admin server does not run");
                }
            })
            .context("a thread for the admin server")?;
        Ok(Self { address, stop: Mutex::new(Some((stop, thread))) })
    }

    /// Stops the server, letting open answers finish for a moment.
    pub async fn stop(&self) {
        let running = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = running {
            let _ = stop.send(());
            // Joining blocks, for at most the time that last answers have.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

/// Accepts until told to stop.
async fn accept<F>(
    listener: TcpListener,
    answer: Arc<impl Fn(String) -> F + Send + Sync + 'static>,
    mut stopped: oneshot::Receiver<()>,
) -> std::io::Result<()>
where
    F: Future<Output = Answer> + Send + 'static,
{
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let seats = Arc::new(Mutex::new(Seats::<AbortHandle>::new(MAX_CONNECTIONS, MAX_CONNECTIONS_OF_ONE_PEER)));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = &mut stopped => break,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let mut taken = seats.lock().unwrap_or_else(PoisonError::into_inner);
        let number = taken.next_number();
        let (answer, own) = (Arc::clone(&answer), Arc::clone(&seats));
        let connection = connections.spawn(async move {
            // A connection that breaks or is too slow is the peer's loss.
            let _ = tokio::time::timeout(CONNECTION_DEADLINE, converse(stream, &*answer)).await;
            own.lock().unwrap_or_else(PoisonError::into_inner).leave(number);
        });
        if let Some(oldest) = taken.sit(peer.ip(), connection) {
            oldest.abort();
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(LAST_ANSWERS, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

/// One request and one answer.
async fn converse<F>(mut stream: TcpStream, answer: &impl Fn(String) -> F) -> std::io::Result<()>
where
    F: Future<Output = Answer>,
{
    let mut head = Vec::with_capacity(1024);
    let complete = loop {
        if let Some(end) = head_end(&head) {
            head.truncate(end);
            break true;
        }
        if head.len() >= MAX_HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
            break false;
        }
    };
    let (answer, head_only) = match parse(&head) {
        _ if !complete => (Answer::plain(if head.len() >= MAX_HEAD_BYTES { 431 } else { 400 }), false),
        Ok(request) => (answer(request.path.to_owned()).await, request.head_only),
        Err(status) => (Answer::plain(status), false),
    };
    stream.write_all(&answer.bytes(head_only)).await?;
    stream.shutdown().await?;
    // What a client sends beside its request is taken in, a little of it: closing on unread bytes would take the answer back.
    let mut rest = [0; 1024];
    for _ in 0..64 {
        if stream.read(&mut rest).await? == 0 {
            break;
        }
    }
    Ok(())
}

async fn answer(worker: &Worker, path: &str) -> Answer {
    match path {
        "/" => Answer::new(
            200,
            TEXT,
            "jtav worker\n\n/metrics   Prometheus metrics\n/healthz   200 while the worker is alive\n\
             /readyz    200 while it takes posts\n/describe  what every box is doing, as JSON\n",
        ),
        "/metrics" => match global().render() {
            Ok(text) => Answer::new(200, METRICS, text),
            Err(error) => Answer::new(500, TEXT, error.to_string()),
        },
        "/healthz" => state("alive", worker.ailment()),
        "/readyz" => state("ready", worker.unready()),
        "/describe" => describe(worker).await,
        _ => Answer::plain(404),
    }
}

fn state(what: &str, problem: Option<String>) -> Answer {
    match problem {
        None => Answer::new(200, JSON, json!({ what: true }).to_string()),
        Some(reason) => Answer::new(503, JSON, json!({ what: false, "reason": reason }).to_string()),
    }
}

async fn describe(worker: &Worker) -> Answer {
    let params = worker.params();
    let networks = &params.boxes.networks;
    let (mut ingest, mut lanes) = (None, Vec::new());
    if let Some(running) = worker.running() {
        let asked = futures::future::join_all(running.lanes.lanes().iter().map(|lane| lane.send(DescribeLane)));
        let asked = futures::future::join(running.ingest.addr.send(Describe), asked);
        if let Ok((of_ingest, of_lanes)) = tokio::time::timeout(DESCRIBE_TIMEOUT, asked).await {
            ingest = of_ingest.ok();
            lanes.extend(of_lanes.into_iter().filter_map(Result::ok));
        }
    }
    let cache = params.boxes.cache.stats();
    let engine = |(network, choice): (&&str, &Choice)| {
        ((*network).to_owned(), json!({ "engine": choice.engine.as_str(), "because": choice.because }))
    };
    let engines: Map<String, Value> = networks.engines.iter().map(engine).collect();
    let text = json!({
        "generation": worker.generation(),
        "model_version": &*networks.model_version,
        "engines": engines,
        "permits": {
            "in_flight": params.permits.in_flight(), "parked": params.permits.parked(),
            "capacity": params.permits.capacity(),
        },
        "conservation_gap": params.conservation.gap(params.permits.in_flight()),
        "ingest": ingest,
        "router": { "lanes": lanes },
        "cache": { "hits": cache.hits, "misses": cache.misses },
        "queues": {
            "text_encoder": networks.text.queue_len(), "audio_encoder": networks.audio.queue_len(),
            "image_encoder": networks.image.queue_len(), "fusion": networks.fusion.queue_len(),
        },
    });
    Answer::new(200, JSON, text.to_string())
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
