//! The page: files that the program carries.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_FRAME_OPTIONS,
};
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use rust_embed::RustEmbed;

use super::Answer;
use crate::problem::Problem;

/// Nothing but what this server sends: no inline script, no style in attributes, nothing from elsewhere.
pub const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
     media-src 'self' blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "page/"]
struct Files;

/// The page itself, whatever it shows.
pub async fn index(request: HttpRequest) -> Answer {
    file(&request, "index.html")
}

/// One of its files.
pub async fn asset(request: HttpRequest, path: Path<String>) -> Answer {
    file(&request, &path)
}

fn file(request: &HttpRequest, path: &str) -> Answer {
    let found = Files::get(path).ok_or_else(|| Problem::not_found("no_such_file", "the page has no such file"))?;
    let tag = format!("\"{}\"", hex::encode(&found.metadata.sha256_hash()[..16]));
    let known = request.headers().get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((ETAG, tag))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .insert_header((X_FRAME_OPTIONS, "DENY"))
        .insert_header((CONTENT_TYPE, media_type(path)));
    Ok(if known { response.finish() } else { response.body(found.data.into_owned()) })
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("json") => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}
