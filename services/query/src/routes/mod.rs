//! One file for each family of routes.

pub mod docs;
pub mod explanation;
pub mod feed;
pub mod health;
pub mod label;
pub mod letters;
pub mod media;
pub mod models;
pub mod neighbours;
pub mod page;
pub mod posts;
pub mod songs;
pub mod status;
pub mod stream;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use serde::Serialize;

use crate::problem::Problem;

/// The answer of most routes.
pub type Answer = Result<HttpResponse, Problem>;

/// A value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).map_err(|error| Problem::internal(error.to_string()))?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(body))
}
