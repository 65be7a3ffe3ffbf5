//! `GET /v1/models`: which models labelled what is at hand, and what their vectors are like.

use actix_web::web::Data;
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
    json(&Models { models: app.models() })
}
