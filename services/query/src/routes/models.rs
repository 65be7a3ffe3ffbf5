//! `GET /v1/models`: which models labelled what is at hand, and what their vectors are like.

use actix_web::web::Data;
use jtav_neighbours::{KindStats, ModelStats};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

use super::{Answer, json};
use crate::App;

/// The vectors of one kind by one model.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct VectorsView {
    /// Vectors at hand.
    pub count: u64,
    /// Components of each.
    pub dimensions: usize,
    /// Mean of the Euclidean lengths.
    pub mean_norm: f64,
    /// Their standard deviation.
    pub std_norm: f64,
    /// 1 less the cosine between the mean direction of the newest 24 hours and that of the time before; null where one of the two
    /// has none. 0: nothing has moved.
    pub drift: Option<f64>,
}

impl From<&KindStats> for VectorsView {
    fn from(stats: &KindStats) -> Self {
        let KindStats { count, dimensions, mean_norm, std_norm, drift, .. } = *stats;
        Self { count, dimensions, mean_norm, std_norm, drift }
    }
}

/// One model.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ModelView {
    /// Name and weights.
    pub model_version: String,
    /// When its newest label at hand was made, milliseconds since 1970.
    pub newest_ms: Option<i64>,
    /// Its posts at hand.
    pub posts: u64,
    /// By kind: `semantic`, `u`, `text`, `audio`, `image`.
    pub vectors: BTreeMap<&'static str, VectorsView>,
}

impl From<ModelStats> for ModelView {
    fn from(model: ModelStats) -> Self {
        Self {
            model_version: model.model,
            newest_ms: Some(model.newest_ms),
            posts: model.posts,
            vectors: model.kinds.iter().map(|kind| (kind.kind.as_str(), VectorsView::from(kind))).collect(),
        }
    }
}

/// Every model whose vectors are at hand.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Models {
    /// Newest first.
    pub models: Vec<ModelView>,
}

/// The models whose labels are at hand, with what their vectors are like.
#[utoipa::path(
    get, path = "/v1/models", tag = "vectors", operation_id = "getModels",
    responses((status = 200, description = "Newest first", content_type = "application/json", body = ref("#/components/schemas/Models")))
)]
pub async fn get(app: Data<App>) -> Answer {
    let stats = app.index.as_ref().map(|index| index.stats()).unwrap_or_default();
    json(&Models { models: stats.into_iter().map(ModelView::from).collect() })
}
