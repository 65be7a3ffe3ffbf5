//! Routes that misbehave in known ways.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::rt::time::sleep;
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use futures::stream;

/// A JPEG that ends inside its quantisation table: every decoder knows what it is and none can read it.
const BROKEN_JPEG: [u8; 41] = [
    0xFF, 0xD8, // start of image
    0xFF, 0xE0, 0x00, 0x10, b'J', b'F', b'I', b'F', 0x00, 0x01, 0x01, 0x00, 0x00, 0x01, 0x00, 0x01, 0x00, 0x00, 0xFF,
    0xDB, 0x00, 0x43, 0x00, // quantisation table, 67 bytes announced, 16 there
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
];

/// Between two bytes of `/slow`.
const DRIP: Duration = Duration::from_secs(1);

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/broken.jpg").to(broken))
        .service(web::resource("/slow").to(slow))
        .service(web::resource("/endless").to(endless))
        .service(web::resource("/status/{code}").to(status))
        .service(web::resource("/redirect").to(redirect));
}

async fn broken() -> HttpResponse {
    HttpResponse::Ok().content_type("image/jpeg").body(BROKEN_JPEG.to_vec())
}

/// Answers at once, then sends one byte a second and never ends.
async fn slow() -> HttpResponse {
    let drip = stream::unfold((), |()| async {
        sleep(DRIP).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b"x")), ()))
    });
    HttpResponse::Ok().content_type("image/jpeg").streaming(drip)
}

/// As fast as the client reads, and never ends.
async fn endless() -> HttpResponse {
    let chunk = Bytes::from(vec![0; 64 * 1024]);
    HttpResponse::Ok()
        .content_type("image/jpeg")
        .streaming(stream::repeat_with(move || Ok::<_, Infallible>(chunk.clone())))
}

/// Any status from 200 to 599, without a body.
async fn status(code: web::Path<u16>) -> HttpResponse {
    match StatusCode::from_u16(*code) {
        Ok(code) if (200..600).contains(&code.as_u16()) => HttpResponse::build(code).finish(),
        _ => HttpResponse::BadRequest().body("a status is a number from 200 to 599"),
    }
}

/// 302 to wherever the query says.
async fn redirect(query: web::Query<HashMap<String, String>>) -> HttpResponse {
    match query.get("to").map(|to| header::HeaderValue::from_str(to)) {
        Some(Ok(to)) => HttpResponse::Found().insert_header((header::LOCATION, to)).finish(),
        _ => HttpResponse::BadRequest().body("where to? /redirect?to=URL"),
    }
}
