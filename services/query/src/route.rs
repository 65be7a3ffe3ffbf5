//! What a request asks for, by method and path alone: whose key it needs, and under which name it is counted. Pure.

use actix_web::http::Method;
use jtav_telemetry::QueryRoute;

use crate::keys::Scope;

/// What a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// For metrics.
    pub route: QueryRoute,
    /// What its key must allow; none where nothing of a post is told.
    pub scope: Option<Scope>,
    /// It costs networks, or goes to servers of strangers.
    pub is_costly: bool,
}

impl Asked {
    fn open(route: QueryRoute) -> Self {
        Self { route, scope: None, is_costly: false }
    }

    fn with(route: QueryRoute, scope: Scope) -> Self {
        Self { route, scope: Some(scope), is_costly: false }
    }

    /// Of a request. What is not known below `/v1` needs a key like the rest, so that nobody without one learns what is.
    pub fn of(method: &Method, path: &str) -> Self {
        let Some(rest) = path.strip_prefix("/v1/") else { return Self::outside(path) };
        let costly = |route, scope| Self { route, scope: Some(scope), is_costly: true };
        let post = rest.strip_prefix("posts/").and_then(|rest| rest.split_once('/'));
        match (rest, post) {
            (_, Some((_, "explanation"))) => Self::with(QueryRoute::Explanation, Scope::Read),
            (_, Some((_, "neighbours"))) => Self::with(QueryRoute::Neighbours, Scope::Read),
            (_, Some((_, "picture.png" | "sound.wav" | "spectrogram.png"))) => costly(QueryRoute::Media, Scope::Read),
            ("posts:batch", _) => Self::with(QueryRoute::Batch, Scope::Read),
            ("neighbours", _) if method == Method::POST => costly(QueryRoute::Neighbours, Scope::Score),
            ("label", _) => costly(QueryRoute::Label, Scope::Score),
            ("retrieve/image2song", _) => costly(QueryRoute::Retrieve, Scope::Score),
            ("stream", _) => Self::with(QueryRoute::Stream, Scope::Read),
            ("feed", _) => Self::with(QueryRoute::Feed, Scope::Read),
            ("status", _) => Self::with(QueryRoute::Status, Scope::Read),
            ("models", _) => Self::with(QueryRoute::Models, Scope::Read),
            ("dead-letters", _) => Self::with(QueryRoute::DeadLetters, Scope::Admin),
            (rest, None) if rest.starts_with("posts/") => Self::with(QueryRoute::Posts, Scope::Read),
            _ => Self::with(QueryRoute::Unknown, Scope::Read),
        }
    }

    fn outside(path: &str) -> Self {
        match path {
            "/metrics" => Self::with(QueryRoute::Operators, Scope::Admin),
            "/healthz" | "/readyz" => Self::open(QueryRoute::Operators),
            "/openapi.json" => Self::open(QueryRoute::Docs),
            path if path == "/docs" || path.starts_with("/docs/") => Self::open(QueryRoute::Docs),
            path if path == "/" || path == "/songs" || path == "/dead-letters" => Self::open(QueryRoute::Page),
            path if path.starts_with("/p/") || path.starts_with("/assets/") => Self::open(QueryRoute::Page),
            _ => Self::open(QueryRoute::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_tells_of_a_post_needs_a_key() {
        let scope = |method: Method, path: &str| Asked::of(&method, path).scope;
        for path in [
            "/v1/posts/a",
            "/v1/posts/a/explanation",
            "/v1/stream",
            "/v1/feed",
            "/v1/x",
            "/v1/posts/a/b/c",
            "/v1/models",
        ] {
            assert_eq!(scope(Method::GET, path), Some(Scope::Read), "{path}");
        }
        for path in ["/v1/label", "/v1/neighbours", "/v1/retrieve/image2song"] {
            assert_eq!(scope(Method::POST, path), Some(Scope::Score), "{path}");
        }
        for path in ["/metrics", "/v1/dead-letters"] {
            assert_eq!(scope(Method::GET, path), Some(Scope::Admin), "{path}");
        }
        for path in ["/", "/healthz", "/p/a%2Fb", "/assets/app.js", "/openapi.json", "/docs/index.html", "/nothing"] {
            assert_eq!(scope(Method::GET, path), None, "{path}");
        }
    }

    #[test]
    fn a_post_that_is_called_like_a_route_is_a_post() {
        assert_eq!(Asked::of(&Method::GET, "/v1/posts/neighbours").route, QueryRoute::Posts);
        assert_eq!(Asked::of(&Method::GET, "/v1/posts/x%2Fneighbours").route, QueryRoute::Posts);
    }
}
