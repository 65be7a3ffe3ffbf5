//! `/openapi.json`, and `/docs` to look at it.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Data;

use crate::{App, openapi};

/// The OpenAPI document.
pub async fn document(app: Data<App>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(openapi::text(app.guard.needs_key()))
}
