//! `GET /v1/posts/{id}` and `POST /v1/posts:batch`.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path, Payload, Query};
use futures::future::join_all;
use jtav_schemas::SentimentV1;
use jtav_store::{Found, FoundLabel, Source, StoreError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::IntoParams;

use super::{Answer, json};
use crate::App;
use crate::content::Content;
use crate::problem::Problem;

/// Ids of one batch.
pub const MAX_BATCH: usize = 500;
/// Of one whose posts' content is asked for, each of which is read from the input topic.
pub const MAX_BATCH_WITH_CONTENT: usize = 50;

/// Which label of a post is meant, and what else is asked.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub struct PostQuery {
    /// The model; without one, that which labelled the post last.
    pub model: Option<String>,
    /// Whether the post's texts and addresses are read from the input topic, too.
    pub content: bool,
}

/// Where the record stands that a label came from.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct SourceView {
    /// Partition of the input topic.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
}

impl From<Source> for SourceView {
    fn from(source: Source) -> Self {
        Self { partition: source.partition, offset: source.offset }
    }
}

/// A post with its label.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PostView {
    /// The post.
    pub post_id: String,
    /// Its revision.
    pub revision: u64,
    /// The input record.
    pub source: SourceView,
    /// The model that made this label.
    pub model_version: String,
    /// Every model that holds a label of the post.
    pub models: Vec<String>,
    /// The label as it was published.
    #[schemars(with = "SentimentV1")]
    pub sentiment: Value,
    /// What the post says; null where it was not asked for.
    pub content: Option<Content>,
}

impl PostView {
    pub(crate) fn new(post_id: String, found: FoundLabel) -> Result<Self, Problem> {
        let foreign = |_: serde_json::Error| {
            Problem::store(&StoreError::ForeignKey(format!("the record of `{post_id}` is no JSON")))
        };
        let sentiment = serde_json::from_slice(&found.sentiment_json).map_err(foreign)?;
        Ok(Self {
            post_id,
            revision: found.revision,
            source: found.source.into(),
            model_version: found.model_version,
            models: found.models,
            sentiment,
            content: None,
        })
    }
}

/// The label of a post.
#[utoipa::path(
    get, path = "/v1/posts/{id}", tag = "posts", operation_id = "getPost",
    params(("id" = String, Path, description = "Id of the post, percent-encoded: `/` is `%2F`"), PostQuery),
    responses(
        (status = 200, description = "The label, and the content if it was asked for", content_type = "application/json", body = ref("#/components/schemas/PostView")),
        (status = 404, description = "`unknown_or_lapsed`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 410, description = "`erased`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub async fn get(app: Data<App>, id: Path<String>, query: Query<PostQuery>) -> Answer {
    let mut view = find(&app, &id, query.model.as_deref()).await?;
    if query.content {
        view.content = Some(content(&app, &view).await);
    }
    json(&view)
}

/// The label of a post, without its content.
pub(crate) async fn find(app: &App, id: &str, model: Option<&str>) -> Result<PostView, Problem> {
    check_id(id)?;
    let looked = app.store.look_up(&[id.to_owned()], model).await.map_err(|error| Problem::store(&error))?;
    match looked.into_iter().next() {
        Some(Ok(Found::Label(found))) => PostView::new(id.to_owned(), *found),
        Some(Ok(Found::Erased)) => Err(Problem::erased()),
        Some(Ok(Found::Unknown { models })) => Err(unknown(model, models)),
        Some(Err(error)) => Err(Problem::store(&error)),
        None => Err(Problem::internal("the store gave no answer")),
    }
}

fn unknown(model: Option<&str>, models: Vec<String>) -> Problem {
    let detail = match model {
        Some(_) if !models.is_empty() => "this model holds no label of the post; `models` do",
        _ => "no label is held: never labelled, or its time in the store is over",
    };
    Problem::not_found("unknown_or_lapsed", detail).with("models", models)
}

pub(crate) fn check_id(id: &str) -> Result<(), Problem> {
    jtav_pipeline::check_post_id(id).map_err(|what| Problem::bad_request("invalid_id", format!("the id {what}")))
}

/// What the post of a label says.
pub(crate) async fn content(app: &App, view: &PostView) -> Content {
    let source = Source { partition: view.source.partition, offset: view.source.offset };
    match app.content.post(&view.post_id, source).await {
        Ok(post) => Content::from(&*post),
        Err(missing) => missing,
    }
}

/// Which posts are asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "if" = { "properties": { "content": { "const": true } }, "required": ["content"] },
    "then" = { "properties": { "ids": { "maxItems": 50 } } },
))]
pub struct BatchRequest {
    /// Up to 500, or up to 50 with their content.
    #[schemars(length(max = 500))]
    pub ids: Vec<String>,
    /// The model; without one, that which labelled each post last.
    #[serde(default)]
    pub model: Option<String>,
    /// Whether texts and addresses are read, too.
    #[serde(default)]
    pub content: bool,
}

/// Whether a post of a batch was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// It is there.
    Found,
    /// No label is held.
    Unknown,
    /// It was erased.
    Erased,
    /// Its id is none, or the store's key is somebody else's.
    Invalid,
}

/// One of a batch.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BatchItem {
    /// As it was asked for.
    pub post_id: String,
    /// What was found.
    pub status: BatchStatus,
    /// The post, where it was.
    pub post: Option<PostView>,
}

/// The posts of a batch, in the order in which they were asked for.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BatchAnswer {
    /// One for each id.
    pub posts: Vec<BatchItem>,
}

/// The labels of many posts, in one request to the store.
#[utoipa::path(
    post, path = "/v1/posts:batch", tag = "posts", operation_id = "getPosts",
    request_body(content = ref("#/components/schemas/BatchRequest"), content_type = "application/json", description = "Which posts"),
    responses(
        (status = 200, description = "One item for each id, in order", content_type = "application/json", body = ref("#/components/schemas/BatchAnswer")),
    )
)]
pub async fn batch(app: Data<App>, request: HttpRequest, payload: Payload) -> Answer {
    let body = app.bodies.json(&request, payload).await?;
    let BatchRequest { ids, model, content: with_content } = body.object()?;
    let most = if with_content { MAX_BATCH_WITH_CONTENT } else { MAX_BATCH };
    if ids.len() > most {
        return Err(Problem::bad_request("too_many_ids", format!("{} ids; at most {most} in one batch", ids.len())));
    }
    let good: Vec<String> = ids.iter().filter(|id| check_id(id).is_ok()).cloned().collect();
    let looked = app.store.look_up(&good, model.as_deref()).await.map_err(|error| Problem::store(&error))?;
    let mut looked = looked.into_iter();
    let mut posts: Vec<BatchItem> = ids
        .into_iter()
        .map(|id| {
            let found = if check_id(&id).is_ok() { looked.next() } else { None };
            item(id, found)
        })
        .collect();
    if with_content {
        let app = &app;
        join_all(posts.iter_mut().filter_map(|item| item.post.as_mut()).map(async |post| {
            post.content = Some(content(app, post).await);
        }))
        .await;
    }
    json(&BatchAnswer { posts })
}

fn item(post_id: String, found: Option<Result<Found, StoreError>>) -> BatchItem {
    let (status, post) = match found {
        Some(Ok(Found::Label(found))) => match PostView::new(post_id.clone(), *found) {
            Ok(view) => (BatchStatus::Found, Some(view)),
            Err(_) => (BatchStatus::Invalid, None),
        },
        Some(Ok(Found::Erased)) => (BatchStatus::Erased, None),
        Some(Ok(Found::Unknown { .. })) => (BatchStatus::Unknown, None),
        Some(Err(_)) | None => (BatchStatus::Invalid, None),
    };
    BatchItem { post_id, status, post }
}
