//! `GET /v1/posts/{id}/neighbours` and `POST /v1/neighbours`: the posts that are like one.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::web::{Data, Path, Payload, Query};
use jiff::Timestamp;
use jtav_neighbours::{Found, Hit, Query as Search, VectorKind};
use jtav_schemas::{EmbeddingV1, Label, Modality, PostV1};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::label::embedding;
use super::posts::find;
use super::{Answer, json};
use crate::App;
use crate::problem::Problem;

/// Neighbours of one answer.
const MAX_K: usize = 100;
/// Largest number of half precision (IEEE 754 binary16).
const MAX_COMPONENT: f32 = 65_504.0;

/// Which neighbours.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub struct NeighboursQuery {
    /// By what they are compared: `semantic` (what the texts are about), `u` (all parts fused), `text`, `audio`, `image`.
    #[param(example = "semantic", pattern = "^(semantic|u|text|audio|image)$")]
    pub by: Option<String>,
    /// How many, 1 to 100; 10 without it.
    #[param(minimum = 1, maximum = 100)]
    pub k: Option<usize>,
    /// Only posts with this label.
    #[param(pattern = "^(negative|neutral|positive)$")]
    pub label: Option<String>,
    /// Only certain labels, or only uncertain ones.
    pub certain: Option<bool>,
    /// Only posts since then: RFC 3339, or milliseconds since 1970.
    #[param(
        example = "2026-01-28T12:00:00Z",
        pattern = "^([0-9]{1,15}|[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$"
    )]
    pub since: Option<String>,
    /// Only posts in this language, ISO 639.
    #[param(pattern = "^[a-z]{2,3}$")]
    pub lang: Option<String>,
    /// The model; vectors of two are never compared.
    pub model: Option<String>,
}

/// One neighbour.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NeighbourView {
    /// The post.
    pub post_id: String,
    /// Cosine, -1 to 1.
    pub similarity: f32,
    /// Its label.
    pub label: Label,
    /// Whether that is certain.
    pub certain: bool,
    /// Language of its text.
    pub lang: Option<String>,
    /// When it was labelled, milliseconds since 1970.
    pub labelled_at_ms: i64,
    /// When it was posted, milliseconds since 1970.
    pub event_time_ms: Option<i64>,
    /// Its revision.
    pub revision: u64,
}

/// The nearest posts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Neighbours {
    /// By what.
    pub by: &'static str,
    /// Whose vectors.
    pub model_version: String,
    /// How many were asked for.
    pub k: usize,
    /// Vectors that were compared: those that pass the filters.
    pub searched: u64,
    /// From when on no post is missing, milliseconds since 1970; null where there is none of this model.
    pub reaches_back_to_ms: Option<i64>,
    /// Nearest first.
    pub neighbours: Vec<NeighbourView>,
}

impl From<Hit> for NeighbourView {
    fn from(hit: Hit) -> Self {
        let Hit { post_id, similarity, label, certain, lang, event_time_ms, labelled_at_ms, revision } = hit;
        Self { post_id, similarity, label, certain, lang, labelled_at_ms, event_time_ms, revision }
    }
}

/// A question that has been read.
struct Asked {
    kind: VectorKind,
    k: usize,
    label: Option<Label>,
    certain: Option<bool>,
    since_ms: Option<i64>,
    lang: Option<String>,
}

impl Asked {
    fn read(query: &NeighboursQuery) -> Result<Self, Problem> {
        let wrong = |reason, detail: String| Problem::bad_request(reason, detail);
        let by = query.by.as_deref().unwrap_or("semantic");
        let kind = VectorKind::from_name(by)
            .ok_or_else(|| wrong("by", format!("by `{by}` is none of semantic, u, text, audio, image")))?;
        let k = query.k.unwrap_or(10);
        if !(1..=MAX_K).contains(&k) {
            return Err(wrong("k", format!("k is {k}; give 1 to {MAX_K}")));
        }
        let label = query.label.as_deref().map(|name| {
            Label::from_name(name)
                .ok_or_else(|| wrong("label", format!("label `{name}` is none of negative, neutral, positive")))
        });
        if let Some(lang) = query.lang.as_deref().filter(|lang| !jtav_schemas::is_language_code(lang)) {
            return Err(wrong("lang", format!("lang `{lang}` is no ISO 639 code such as en")));
        }
        let since_ms = query.since.as_deref().map(since).transpose()?;
        let (label, certain, lang) = (label.transpose()?, query.certain, query.lang.clone());
        Ok(Self { kind, k, label, certain, since_ms, lang })
    }
}

fn since(text: &str) -> Result<i64, Problem> {
    let ms = text.parse::<i64>().ok();
    let ms = ms.or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond));
    ms.ok_or_else(|| {
        let detail =
            format!("since `{text}` is neither a time such as 2026-01-31T12:00:00Z nor milliseconds since 1970");
        Problem::bad_request("since", detail)
    })
}

/// The posts that are most like this one, among those that the index reaches back to.
#[utoipa::path(
    get, path = "/v1/posts/{id}/neighbours", tag = "vectors", operation_id = "getNeighbours",
    params(("id" = String, Path, description = "Id of the post, percent-encoded"), NeighboursQuery),
    responses(
        (status = 200, description = "Nearest first", content_type = "application/json", body = ref("#/components/schemas/Neighbours")),
        (status = 404, description = "`unknown_or_lapsed`, `no_index`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "`no_such_vector`: the post has none of this kind", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 410, description = "`erased`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub async fn get(app: Data<App>, id: Path<String>, query: Query<NeighboursQuery>) -> Answer {
    let asked = Asked::read(&query)?;
    let view = find(&app, &id, query.model.as_deref()).await?;
    let at_hand = match &app.vectors {
        Some(_) => None,
        None => app.ready_index()?.vector_of(&id, &view.model_version, asked.kind),
    };
    let vector = match at_hand {
        Some(vector) => Some(vector),
        // In Redis, older than the index, or on its way to it.
        None => stored_vector(&app, &id, &view.model_version, asked.kind).await?,
    };
    let vector = vector.ok_or_else(|| {
        let detail = format!("the post has no vector `{}`: it lacks what that is made from", asked.kind.as_str());
        Problem::conflict("no_such_vector", detail)
    })?;
    search(&app, asked, view.model_version, vector, Some(id.into_inner())).await
}

async fn stored_vector(app: &App, id: &str, model: &str, kind: VectorKind) -> Result<Option<Vec<f32>>, Problem> {
    let Some(stored) = app.store.read(id, model).await.map_err(|error| Problem::store(&error))? else {
        return Ok(None);
    };
    let modality = |modality: Modality| stored.modality(modality);
    let vector = match kind {
        VectorKind::U => stored.embedding().map(Some),
        VectorKind::Text => modality(Modality::Text),
        VectorKind::Audio => modality(Modality::Audio),
        VectorKind::Image => modality(Modality::Image),
        VectorKind::Semantic => stored.semantic.as_deref().map(jtav_schemas::embedding::f32_from_f16_le).transpose(),
    };
    vector.map_err(|error| Problem::internal(error.to_string()))
}

/// What neighbours are asked of: a vector, or a post that is labelled on the way.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "if" = { "required": ["vector"], "properties": { "vector": { "type": "array" } } },
    "then" = { "properties": { "post": { "type": "null" } } },
    "else" = { "required": ["post"], "properties": { "post": { "type": "object" } } },
))]
pub struct NeighboursRequest {
    /// A vector of the kind that `by` names, of numbers that fit half precision, as all vectors are kept.
    #[serde(default)]
    #[schemars(inner(range(min = -65504.0, max = 65504.0)))]
    pub vector: Option<Vec<f32>>,
    /// A post; give either this or `vector`.
    #[serde(default)]
    pub post: Option<PostV1>,
    /// As in the query of the other route.
    #[serde(default)]
    #[schemars(regex(pattern = "^(semantic|u|text|audio|image)$"))]
    pub by: Option<String>,
    /// As there.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub k: Option<usize>,
    /// As there.
    #[serde(default)]
    #[schemars(regex(pattern = "^(negative|neutral|positive)$"))]
    pub label: Option<String>,
    /// As there.
    #[serde(default)]
    pub certain: Option<bool>,
    /// As there.
    #[serde(default)]
    #[schemars(regex(
        pattern = "^([0-9]{1,15}|[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$"
    ))]
    pub since: Option<String>,
    /// As there.
    #[serde(default)]
    #[schemars(regex(pattern = "^[a-z]{2,3}$"))]
    pub lang: Option<String>,
    /// As there; without it that of the newest label.
    #[serde(default)]
    pub model: Option<String>,
}

/// The posts that are most like a vector, or like a post that nobody has published.
#[utoipa::path(
    post, path = "/v1/neighbours", tag = "vectors", operation_id = "findNeighbours",
    request_body(content = ref("#/components/schemas/NeighboursRequest"), content_type = "application/json", description = "Like what, and which"),
    responses(
        (status = 200, description = "Nearest first", content_type = "application/json", body = ref("#/components/schemas/Neighbours")),
        (status = 404, description = "`no_index`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "`no_such_vector`: the post has none of this kind", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 422, description = "`not_labelled`, `vector`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub async fn post(app: Data<App>, request: HttpRequest, payload: Payload) -> Answer {
    let body = app.bodies.json(&request, payload).await?;
    let wrong = |detail: String| Problem::bad_request("invalid_body", detail);
    let NeighboursRequest { vector, post, by, k, label, certain, since, lang, model } = body.object()?;
    let query = NeighboursQuery { by, k, label, certain, since, lang, model };
    let asked = Asked::read(&query)?;
    match (vector, post) {
        (Some(vector), None) => {
            if let Some(at) = vector.iter().position(|component| component.abs() > MAX_COMPONENT) {
                let problem = format!("component {at} is {}; half precision ends at {MAX_COMPONENT}", vector[at]);
                return Err(Problem::unprocessable("vector", problem));
            }
            let model = match query.model {
                Some(model) => model,
                None => newest_model(&app)?,
            };
            search(&app, asked, model, vector, None).await
        }
        (None, Some(post)) => {
            if app.guard.is_read_only {
                return Err(Problem::forbidden("read_only", "this server labels nothing; send a vector"));
            }
            let (id, post) = (post.id.clone(), serde_json::to_vec(&post).map_err(|error| wrong(error.to_string()))?);
            let embedding = embedding(&app, post.into()).await?;
            let vector = vector_in(&embedding, asked.kind)?.ok_or_else(|| {
                Problem::conflict("no_such_vector", format!("the post has no vector `{}`", asked.kind.as_str()))
            })?;
            search(&app, asked, embedding.model_version.clone(), vector, Some(id)).await
        }
        _ => Err(wrong("give either `vector` or `post`".to_owned())),
    }
}

/// The model of the newest label; vectors in Redis do not say which that is, so that there the networks of this server count.
fn newest_model(app: &App) -> Result<String, Problem> {
    let newest = match &app.vectors {
        None => app.ready_index()?.newest_model(),
        Some(_) => app.model_version.as_deref().map(str::to_owned),
    };
    newest.ok_or_else(|| Problem::bad_request("model", "no label is at hand to tell a model by; name one"))
}

fn vector_in(embedding: &EmbeddingV1, kind: VectorKind) -> Result<Option<Vec<f32>>, Problem> {
    let vector = match kind {
        VectorKind::U => Some(&embedding.fused),
        VectorKind::Semantic => embedding.semantic.as_ref(),
        VectorKind::Text => embedding.modalities.text.as_ref(),
        VectorKind::Audio => embedding.modalities.audio.as_ref(),
        VectorKind::Image => embedding.modalities.image.as_ref(),
    };
    let unpacked = vector.map(jtav_schemas::Vector::unpack).transpose();
    unpacked.map_err(|error| Problem::internal(error.to_string()))
}

/// A question with what it is asked of.
struct Wanted {
    asked: Asked,
    model: String,
    vector: Vec<f32>,
    exclude: Option<String>,
}

impl Wanted {
    fn query(&self) -> Search<'_> {
        let Asked { kind, k, label, certain, since_ms, ref lang } = self.asked;
        Search {
            label,
            certain,
            since_ms,
            lang: lang.as_deref(),
            exclude_post: self.exclude.as_deref(),
            ..Search::new(&self.model, kind, &self.vector, k)
        }
    }
}

async fn search(app: &App, asked: Asked, model: String, vector: Vec<f32>, exclude: Option<String>) -> Answer {
    let wanted = Arc::new(Wanted { asked, model, vector, exclude });
    let found = match &app.vectors {
        Some(vectors) => vectors.search(&wanted.query()).await.map_err(|error| Problem::store(&error))?,
        None => search_memory(app, Arc::clone(&wanted)).await?,
    };
    let Found { hits, searched, reaches_back_to_ms } = found;
    let Asked { kind, k, .. } = wanted.asked;
    let neighbours = hits.into_iter().map(NeighbourView::from).collect();
    let model_version = wanted.model.clone();
    json(&Neighbours { by: kind.as_str(), model_version, k, searched, reaches_back_to_ms, neighbours })
}

/// Beside the threads that answer: a million vectors take some milliseconds.
async fn search_memory(app: &App, wanted: Arc<Wanted>) -> Result<Found, Problem> {
    let index = app.ready_index()?;
    let turn = app.searches.clone().acquire_owned().await;
    let turn = turn.map_err(|_| Problem::unavailable("ending", "the server is ending", 1))?;
    let searched = tokio::task::spawn_blocking(move || {
        let found = index.search(&wanted.query());
        drop(turn);
        found
    });
    let found = searched.await.map_err(|error| Problem::internal(error.to_string()))?;
    found.map_err(|error| Problem::unprocessable("vector", error.to_string()))
}
