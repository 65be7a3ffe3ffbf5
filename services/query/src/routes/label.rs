//! `POST /v1/label`: what a worker would say of a post. Nothing is published.

use actix_web::HttpRequest;
use actix_web::web::{Bytes, Data, Payload};
use jtav_explain::Explanation;
use jtav_schemas::{EmbeddingV1, PostV1, SentimentV1};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Answer, json};
use crate::App;
use crate::judge::{JudgeError, Judged};
use crate::problem::Problem;

/// What came of a post that was sent to be labelled.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum LabelAnswer {
    /// It got a label.
    Labelled {
        /// As it would be published.
        sentiment: Box<SentimentV1>,
        /// Why.
        explanation: Box<Explanation>,
    },
    /// It has nothing to label.
    Skipped {
        /// Why, for programs.
        reason: String,
    },
}

/// Labels a post through the worker's own boxes and limits. Nothing is published or stored.
#[utoipa::path(
    post, path = "/v1/label", tag = "posts", operation_id = "labelPost",
    request_body(content = ref("#/components/schemas/PostV1"), content_type = "application/json", description = "A post, as it would stand on the input topic"),
    responses(
        (status = 200, description = "What a worker would say", content_type = "application/json", body = ref("#/components/schemas/LabelAnswer")),
        (status = 422, description = "`not_labelled`, with `dead_letter_reason`: a worker would set it aside; `deletion`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub async fn post(app: Data<App>, request: HttpRequest, payload: Payload) -> Answer {
    let body = app.bodies.json(&request, payload).await?;
    match judge(&app, body.bytes.clone()).await? {
        Judged::Labelled { sentiment, .. } => {
            // It was read before: it is a post.
            let texts = serde_json::from_slice::<PostV1>(&body.bytes).map(|post| post.texts).ok();
            let explanation = Box::new(Explanation::of(&sentiment, texts.as_deref()));
            json(&LabelAnswer::Labelled { sentiment: Box::new(SentimentV1::clone(&sentiment)), explanation })
        }
        Judged::Skipped(reason) => json(&LabelAnswer::Skipped { reason: reason.to_owned() }),
        Judged::NotLabelled { reason, message, modalities } => {
            let problem = Problem::unprocessable("not_labelled", message).with("dead_letter_reason", reason);
            let modalities = modalities.and_then(|modalities| serde_json::to_value(modalities).ok());
            Err(problem.with("modalities", modalities.unwrap_or_default()))
        }
    }
}

/// Has a post judged.
pub(crate) async fn judge(app: &App, post: Bytes) -> Result<Judged, Problem> {
    let Some(judge) = &app.judge else {
        return Err(Problem::unavailable("no_networks", "this server has no networks; set serve.networks = true", 60));
    };
    judge.label(post).await.map_err(|error| problem(&error))
}

/// The vectors of a post that is labelled on the way.
pub(crate) async fn embedding(app: &App, post: Bytes) -> Result<std::sync::Arc<EmbeddingV1>, Problem> {
    match judge(app, post).await? {
        Judged::Labelled { embedding, .. } => Ok(embedding),
        Judged::Skipped(reason) => {
            Err(Problem::unprocessable("not_labelled", format!("the post was skipped: {reason}")))
        }
        Judged::NotLabelled { reason, message, .. } => {
            Err(Problem::unprocessable("not_labelled", message).with("dead_letter_reason", reason))
        }
    }
}

pub(crate) fn problem(error: &JudgeError) -> Problem {
    match error {
        JudgeError::Busy => Problem::too_many("busy", error.to_string(), 1),
        JudgeError::Invalid(rejection) => Problem::bad_request("invalid_post", rejection.message.clone())
            .with("dead_letter_reason", rejection.reason.as_str()),
        JudgeError::Deletion => Problem::unprocessable("deletion", error.to_string()),
        JudgeError::TimedOut => Problem::unavailable("timeout", error.to_string(), 5),
        JudgeError::Picture(reason) => {
            Problem::unprocessable("picture", error.to_string()).with("absent_reason", reason.as_str())
        }
        JudgeError::Failed(_) => Problem::unavailable("networks_failed", error.to_string(), 2),
    }
}
