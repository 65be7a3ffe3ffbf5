//! HTTP for operators: `/metrics`, `/healthz`, `/readyz`, `/describe`. Nothing of a post is ever shown.

use std::net::SocketAddr;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context as _;
use jtav_ingest::Describe;
use jtav_router::DescribeLane;
use jtav_telemetry::global;
use serde_json::json;

use crate::worker::Worker;

/// A running admin server.
pub struct Admin {
    /// Where it listens; the port is real also where 0 was asked for.
    pub address: SocketAddr,
    handle: ServerHandle,
}

impl Admin {
    /// Starts the server on its own thread. Must run inside an actix system.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn start(worker: Worker, listen: SocketAddr) -> anyhow::Result<Self> {
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(worker.clone()))
                .route("/", web::get().to(index))
                .route("/metrics", web::get().to(metrics))
                .route("/healthz", web::get().to(healthz))
                .route("/readyz", web::get().to(readyz))
                .route("/describe", web::get().to(describe))
        })
        .workers(1)
        .disable_signals()
        .bind(listen)
        .with_context(|| format!("admin.listen {listen}: choose another port, or 0 for any"))?;
        let address = server.addrs().first().copied().unwrap_or(listen);
        let server = server.run();
        let handle = server.handle();
        actix_rt::spawn(server);
        Ok(Self { address, handle })
    }

    /// Stops the server, letting open answers finish.
    pub async fn stop(&self) {
        self.handle.stop(true).await;
    }
}

async fn index() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(
        "jtav worker\n\n/metrics   Prometheus metrics\n/healthz   200 while the worker is alive\n\
         /readyz    200 while it takes posts\n/describe  what every box is doing, as JSON\n",
    )
}

async fn metrics() -> HttpResponse {
    match global().render() {
        Ok(text) => HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

async fn healthz(worker: web::Data<Worker>) -> HttpResponse {
    answer("alive", worker.ailment())
}

async fn readyz(worker: web::Data<Worker>) -> HttpResponse {
    answer("ready", worker.unready().await)
}

fn answer(what: &str, problem: Option<String>) -> HttpResponse {
    match problem {
        None => HttpResponse::Ok().json(json!({ what: true })),
        Some(reason) => HttpResponse::ServiceUnavailable().json(json!({ what: false, "reason": reason })),
    }
}

async fn describe(worker: web::Data<Worker>) -> HttpResponse {
    let params = worker.params();
    let networks = &params.boxes.networks;
    let (mut ingest, mut lanes) = (None, Vec::new());
    if let Some(running) = worker.running() {
        ingest = running.ingest.addr.send(Describe).await.ok();
        for lane in running.lanes.lanes() {
            lanes.extend(lane.send(DescribeLane).await.ok());
        }
    }
    let cache = params.boxes.cache.stats();
    HttpResponse::Ok().json(json!({
        "generation": worker.generation(),
        "model_version": &*networks.model_version,
        "permits": { "in_flight": params.permits.in_flight(), "capacity": params.permits.capacity() },
        "conservation_gap": params.conservation.gap(params.permits.in_flight()),
        "ingest": ingest,
        "router": { "lanes": lanes },
        "cache": { "hits": cache.hits, "misses": cache.misses },
        "queues": {
            "text_encoder": networks.text.queue_len(), "audio_encoder": networks.audio.queue_len(),
            "image_encoder": networks.image.queue_len(), "fusion": networks.fusion.queue_len(),
        },
    }))
}
