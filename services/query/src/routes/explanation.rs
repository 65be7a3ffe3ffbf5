//! `GET /v1/posts/{id}/explanation`: why.

use actix_web::web::{Data, Path, Query};
use jtav_explain::Explanation;
use jtav_schemas::{SentimentV1, TextPart};
use jtav_store::StoreError;

use super::posts::{PostQuery, PostView, content, find};
use super::{Answer, json};
use crate::App;
use crate::content::Content;
use crate::problem::Problem;

/// The words, seconds and cells that weighed, what each part moved, and sentences for a person.
#[utoipa::path(
    get, path = "/v1/posts/{id}/explanation", tag = "posts", operation_id = "getExplanation",
    params(("id" = String, Path, description = "Id of the post, percent-encoded"), PostQuery),
    responses(
        (status = 200, description = "Why; with `content=true` words have their places in the texts", content_type = "application/json", body = ref("#/components/schemas/Explanation")),
        (status = 404, description = "`unknown_or_lapsed`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 410, description = "`erased`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub async fn get(app: Data<App>, id: Path<String>, query: Query<PostQuery>) -> Answer {
    let view = find(&app, &id, query.model.as_deref()).await?;
    let texts = match query.content {
        true => texts_of(content(&app, &view).await),
        false => None,
    };
    json(&explain(&view, texts.as_deref())?)
}

fn texts_of(content: Content) -> Option<Vec<TextPart>> {
    match content {
        Content::Available { texts, .. } => Some(texts),
        Content::Unavailable { .. } => None,
    }
}

/// Explains the label of a post.
pub(crate) fn explain(view: &PostView, texts: Option<&[TextPart]>) -> Result<Explanation, Problem> {
    let sentiment: SentimentV1 = serde::Deserialize::deserialize(&view.sentiment).map_err(|error| {
        Problem::store(&StoreError::ForeignKey(format!("the record of `{}`: {error}", view.post_id)))
    })?;
    Ok(Explanation::of(&sentiment, texts))
}
