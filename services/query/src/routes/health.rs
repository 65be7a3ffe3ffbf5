//! For operators: `/healthz`, `/readyz`, `/metrics`.

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Query};
use jtav_telemetry::global;
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use super::Answer;
use crate::App;
use crate::problem::Problem;

/// 200 while the process answers.
#[utoipa::path(get, path = "/healthz", tag = "operators", operation_id = "healthz",
    responses((status = 200, description = "It answers", content_type = "application/json", body = Object)))]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "alive": true }))
}

/// What is asked for beside the store and the topics.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub struct ReadyQuery {
    /// Not ready either before the index holds what was there when the server started: for a start probe, so that a server that
    /// takes another's place answers for neighbours.
    pub complete: bool,
}

/// 200 while the store answers and the topics are followed.
#[utoipa::path(get, path = "/readyz", tag = "operators", operation_id = "readyz", params(ReadyQuery),
    responses(
        (status = 200, description = "Ready", content_type = "application/json", body = Object),
        (status = 503, description = "`unready`, with why", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    ))]
pub async fn readyz(app: Data<App>, query: Query<ReadyQuery>) -> Answer {
    let index = || {
        let awaits = query.complete && !app.index_is_complete();
        awaits.then(|| "the index is being filled from the embeddings topic".to_owned())
    };
    match app.unready().or_else(index) {
        None => Ok(HttpResponse::Ok().json(json!({ "ready": true, "index_complete": app.index_is_complete() }))),
        Some(why) => Err(Problem::unavailable("unready", why, 1)),
    }
}

/// Prometheus metrics.
#[utoipa::path(get, path = "/metrics", tag = "operators", operation_id = "metrics",
    responses((status = 200, description = "Prometheus text", content_type = "text/plain", body = String)))]
pub async fn metrics(app: Data<App>) -> Answer {
    app.refresh_metrics();
    let text = global().render().map_err(|error| Problem::internal(error.to_string()))?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body(text))
}
