//! `GET /v1/dead-letters`: what was set aside, with its reason and without its content.

use actix_web::web::{Data, Query};
use jtav_dead_letters::{DeadLetterTopic, Scanned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::IntoParams;

use super::{Answer, json};
use crate::App;
use crate::problem::Problem;

/// Longest wait for a record.
const PATIENCE: Duration = Duration::from_secs(3);
const MAX_LETTERS: usize = 500;

/// How many.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LettersQuery {
    /// At most so many, the last ones; 1 to 500.
    #[serde(default = "fifty")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: usize,
}

fn fifty() -> usize {
    50
}

/// One dead letter, without its content.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LetterView {
    /// Partition of the dead-letter topic.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
    /// The post, where the record had a key that can be read.
    pub post_id: Option<String>,
    /// Why it was set aside.
    pub reason: String,
    /// Which box gave up.
    pub stage: String,
    /// What it said.
    pub message: String,
    /// When, milliseconds since 1970.
    pub at_ms: Option<i64>,
}

/// The last dead letters.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Letters {
    /// Newest first.
    pub letters: Vec<LetterView>,
}

/// The last dead letters, newest first. `jtav dead-letters` shows them whole and replays them.
#[utoipa::path(
    get, path = "/v1/dead-letters", tag = "operators", operation_id = "getDeadLetters",
    params(LettersQuery),
    responses((status = 200, description = "Newest first", content_type = "application/json", body = ref("#/components/schemas/Letters")))
)]
pub async fn get(app: Data<App>, query: Query<LettersQuery>) -> Answer {
    let limit = query.limit;
    if !(1..=MAX_LETTERS).contains(&limit) {
        return Err(Problem::bad_request("limit", format!("limit is {limit}; give 1 to {MAX_LETTERS}")));
    }
    let _turn =
        app.catch_ups.try_acquire().map_err(|_| Problem::too_many("busy", "too many topics are read at once", 2))?;
    let topic = DeadLetterTopic {
        client: app.sentiment.client.clone(),
        name: app.settings.kafka.dead_letters_topic.clone(),
        patience: PATIENCE,
    };
    let read = tokio::task::spawn_blocking(move || last(&topic, limit)).await;
    let letters = read
        .map_err(|error| Problem::internal(error.to_string()))?
        .map_err(|error| Problem::unavailable("dead_letters_topic_unreachable", format!("{error:#}"), 2))?;
    json(&Letters { letters })
}

fn last(topic: &DeadLetterTopic, limit: usize) -> anyhow::Result<Vec<LetterView>> {
    let mut ranges = topic.ranges(None)?;
    for range in &mut ranges {
        range.start = range.start.max(range.end - limit as i64);
    }
    let mut letters = Vec::new();
    topic.walk(&ranges, |scanned| {
        // A record that is no dead letter is somebody else's.
        if let Scanned::Letter(letter) = scanned {
            letters.push(LetterView {
                partition: letter.position.partition,
                offset: letter.position.offset,
                post_id: letter.post_id(),
                at_ms: Some(letter.time_ms()),
                reason: letter.facts.reason.as_str().to_owned(),
                stage: letter.facts.stage.clone(),
                message: letter.facts.message.clone(),
            });
        }
        Ok(true)
    })?;
    letters.sort_by_key(|letter| std::cmp::Reverse((letter.at_ms, letter.offset)));
    letters.truncate(limit);
    Ok(letters)
}
