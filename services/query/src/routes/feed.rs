//! `GET /v1/feed`: the last events from memory, for a page that begins.

use actix_web::web::{Data, Query};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::IntoParams;

use super::{Answer, json};
use crate::App;
use crate::filter::{Filter, FilterQuery};
use crate::problem::Problem;

/// Events of one answer.
const MAX_EVENTS: usize = 1_000;

/// How many events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FeedQuery {
    /// At most so many, the last ones; 1 to 1000.
    #[serde(default = "hundred")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: usize,
}

fn hundred() -> usize {
    100
}

/// One event.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FeedEvent {
    /// `label` or `erasure`.
    pub event: &'static str,
    /// As in the stream.
    pub data: Value,
}

/// The last events.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Feed {
    /// In order, newest last.
    pub events: Vec<FeedEvent>,
    /// After the last of them: where the stream goes on, as `last_event_id`.
    pub position: String,
}

/// The last labels and erasures.
#[utoipa::path(
    get, path = "/v1/feed", tag = "stream", operation_id = "getFeed",
    params(FeedQuery, FilterQuery),
    responses(
        (status = 200, description = "Newest last", content_type = "application/json", body = ref("#/components/schemas/Feed")),
        (status = 503, description = "`sentiment_topic_unreachable`: nothing has been read yet", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub async fn get(app: Data<App>, query: Query<FeedQuery>, filter: Query<FilterQuery>) -> Answer {
    if !(1..=MAX_EVENTS).contains(&query.limit) {
        return Err(Problem::bad_request("limit", format!("limit is {}; give 1 to {MAX_EVENTS}", query.limit)));
    }
    let filter = Filter::read(&filter).map_err(|what| Problem::bad_request("filter", what))?;
    let mut cursor = app.recent.live(&filter, query.limit);
    if let (true, Some(problem)) = (cursor.positions.0.is_empty(), app.labels_health.problem()) {
        // What was read before the topic went is told all the same; here there is nothing.
        return Err(Problem::unavailable("sentiment_topic_unreachable", problem, 2));
    }
    let mut events = Vec::new();
    while events.len() < query.limit {
        let taken = app.recent.take(&mut cursor, &filter, query.limit - events.len());
        for (event, _) in &taken.events {
            let data = serde_json::from_slice(&event.data).map_err(|error| Problem::internal(error.to_string()))?;
            events.push(FeedEvent { event: event.name(), data });
        }
        if !taken.has_more {
            break;
        }
    }
    json(&Feed { events, position: cursor.positions.to_string() })
}
