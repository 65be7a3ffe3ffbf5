//! Errors as RFC 9457 problem details: what, why as a code, what to do next.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use jtav_store::StoreError;
use problem_details::ProblemDetails;
use serde::Serialize;
use serde_json::{Map, Value};

/// Media type of a problem (RFC 9457, 3).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request has no answer. The body is `application/problem+json` with `reason`, a code for programs.
#[derive(Debug, Clone)]
pub struct Problem(Box<Facts>);

#[derive(Debug, Clone)]
struct Facts {
    status: StatusCode,
    reason: &'static str,
    detail: String,
    retry_after_seconds: Option<u64>,
    more: Map<String, Value>,
}

#[derive(Serialize)]
struct Extensions<'a> {
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(flatten)]
    more: &'a Map<String, Value>,
}

impl Problem {
    /// The code for programs.
    #[cfg(test)]
    pub(crate) fn reason(&self) -> &'static str {
        self.0.reason
    }

    fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Facts { status, reason, detail: detail.into(), retry_after_seconds: None, more: Map::new() }))
    }

    /// 400.
    pub fn bad_request(reason: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason, detail)
    }

    /// 401: no key, an unknown one, or one that is over.
    pub fn unauthorized(reason: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, reason, detail)
    }

    /// 403.
    pub fn forbidden(reason: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, reason, detail)
    }

    /// 404.
    pub fn not_found(reason: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, reason, detail)
    }

    /// 409.
    pub fn conflict(reason: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, reason, detail)
    }

    /// 410: the post is erased.
    pub fn erased() -> Self {
        Self::new(StatusCode::GONE, "erased", "the post was erased; nothing of it is kept")
    }

    /// 408: the rest of the request did not come.
    pub fn request_timeout(reason: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, reason, detail)
    }

    /// 413.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    /// 415.
    pub fn media_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", detail)
    }

    /// 421: asked under a name that is not ours.
    pub fn misdirected(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", detail)
    }

    /// 422.
    pub fn unprocessable(reason: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, reason, detail)
    }

    /// 429: come again after so many seconds.
    pub fn too_many(reason: &'static str, detail: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, reason, detail).after(retry_after_seconds)
    }

    /// 502: somebody else's server has not given what was asked.
    pub fn bad_gateway(reason: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, reason, detail)
    }

    /// 503: come again after so many seconds.
    pub fn unavailable(reason: &'static str, detail: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason, detail).after(retry_after_seconds)
    }

    /// 500.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// Of a status that a library chose.
    pub fn of_status(status: StatusCode) -> Self {
        let (reason, detail) = match status {
            StatusCode::NOT_FOUND => ("no_such_route", "there is no such route; /openapi.json lists them"),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("method_not_allowed", "this route takes another method; /openapi.json says which")
            }
            StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "the body is too large"),
            StatusCode::REQUEST_TIMEOUT => ("timeout", "the request did not come in time"),
            _ => ("refused", "the request cannot be read"),
        };
        Self::new(status, reason, detail)
    }

    fn after(mut self, seconds: u64) -> Self {
        self.0.retry_after_seconds = Some(seconds.max(1));
        self
    }

    /// Adds a member.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(name.to_owned(), value.into());
        self
    }

    /// Of the store.
    pub fn store(error: &StoreError) -> Self {
        match error {
            StoreError::ForeignKey(what) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "foreign_key",
                format!("the store's key is not ours: {what}"),
            ),
            error => Self::unavailable("store_unavailable", format!("the store does not answer: {error}"), 1),
        }
    }

    /// As it is sent.
    pub fn body(&self, request_id: Option<&str>) -> String {
        let status = http::StatusCode::from_u16(self.0.status.as_u16()).unwrap_or_default();
        let details = ProblemDetails::from_status_code(status)
            .with_detail(self.0.detail.clone())
            .with_extensions(Extensions { reason: self.0.reason, request_id, more: &self.0.more });
        serde_json::to_string(&details).unwrap_or_else(|_| format!(r#"{{"reason":"{}"}}"#, self.0.reason))
    }

    fn headers(&self, response: &mut HttpResponseBuilder) {
        response.insert_header((CONTENT_TYPE, PROBLEM_JSON));
        if let Some(seconds) = self.0.retry_after_seconds {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
    }

    /// The answer, with the request's id in it.
    pub fn response(&self, request_id: Option<&str>) -> HttpResponse {
        let mut response = HttpResponse::build(self.0.status);
        self.headers(&mut response);
        response.body(self.body(request_id))
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0.reason, self.0.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse {
        self.response(None)
    }
}
