//! Bodies that are being sent. All together have a bound: otherwise every connection could hold as much memory as a picture may
//! have, for as long as its sender takes.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpMessage as _, HttpRequest};
use jtav_schemas::reading::Object;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::problem::Problem;

/// What is counted in: so that the largest bound fits a count of permits.
const UNIT_BYTES: usize = 1_024;

/// The bound.
pub struct Bodies {
    units: Arc<Semaphore>,
    max_json_bytes: usize,
    max_picture_bytes: usize,
    patience: Duration,
}

/// A body, and its share of the bound for as long as it is held.
pub struct Body {
    /// Cheap to clone, but a clone does not keep the share.
    pub bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

impl Body {
    /// As JSON: an object.
    ///
    /// # Errors
    /// It is none, or not the one that is asked for.
    pub fn object<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let wrong = |error: serde_json::Error| Problem::bad_request("invalid_body", error.to_string());
        serde_json::from_slice(&self.bytes).map(|Object(object)| object).map_err(wrong)
    }
}

impl Bodies {
    /// So many bytes of all; of one as `serve.max_body_bytes` and `media.max_image_bytes` say. A body that takes longer than
    /// `patience` to come is given up.
    pub fn new(max_bytes: usize, max_json_bytes: usize, max_picture_bytes: usize, patience: Duration) -> Self {
        let units = (max_bytes / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)), max_json_bytes, max_picture_bytes, patience }
    }

    /// Reads a body of JSON. Cancellation safe.
    ///
    /// # Errors
    /// Another media type, and those of [`Self::picture`].
    pub async fn json(&self, request: &HttpRequest, payload: Payload) -> Result<Body, Problem> {
        let named = request.content_type();
        // A form of another page can send a body without asking first, but not with this type.
        if !named.trim().eq_ignore_ascii_case("application/json") {
            return Err(Problem::media_type("send `Content-Type: application/json`"));
        }
        self.read(request, payload, self.max_json_bytes, "serve.max_body_bytes").await
    }

    /// Reads the bytes of a picture. Cancellation safe.
    ///
    /// # Errors
    /// A body that is too large, one for which there is no room now, one that does not come, a connection that broke.
    pub async fn picture(&self, request: &HttpRequest, payload: Payload) -> Result<Body, Problem> {
        self.read(request, payload, self.max_picture_bytes, "media.max_image_bytes").await
    }

    /// The share is taken before the first byte: what the body's length says, or the most where it says none.
    async fn read(
        &self,
        request: &HttpRequest,
        payload: Payload,
        max_bytes: usize,
        key: &str,
    ) -> Result<Body, Problem> {
        let too_large = || Problem::too_large(format!("the body has more than {key}, {max_bytes} bytes"));
        let said = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let reserved = said.unwrap_or(max_bytes);
        if reserved > max_bytes {
            return Err(too_large());
        }
        let units = u32::try_from(reserved.div_ceil(UNIT_BYTES).max(1)).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.units)
            .try_acquire_many_owned(units)
            .map_err(|_| Problem::too_many("busy", "as much is being sent as serve.max_bodies_bytes allows", 1))?;
        let late = |_| {
            let seconds = self.patience.as_secs_f32();
            Problem::request_timeout("timeout", format!("the body did not come within {seconds:.0} s"))
        };
        match timeout(self.patience, payload.to_bytes_limited(max_bytes)).await.map_err(late)? {
            Ok(Ok(bytes)) => Ok(Body { bytes, _share: share }),
            Ok(Err(error)) => Err(Problem::bad_request("invalid_body", error.to_string())),
            Err(_) => Err(too_large()),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::FromRequest as _;
    use actix_web::http::header::CONTENT_TYPE;
    use actix_web::test::TestRequest;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum BodyKind {
        Json,
        Picture,
    }

    async fn read(bodies: &Bodies, bytes: usize, said: Option<usize>, kind: BodyKind) -> Result<Body, Problem> {
        let request = TestRequest::post().insert_header((CONTENT_TYPE, "application/json"));
        let request = match said {
            Some(said) => request.insert_header((CONTENT_LENGTH, said)),
            None => request,
        };
        let mut sent = actix_web::dev::Payload::from(Bytes::from(vec![b'x'; bytes]));
        let request = request.to_http_request();
        let payload = Payload::from_request(&request, &mut sent).await.unwrap();
        match kind {
            BodyKind::Json => bodies.json(&request, payload).await,
            BodyKind::Picture => bodies.picture(&request, payload).await,
        }
    }

    #[actix_rt::test]
    async fn all_bodies_together_have_a_bound_and_each_gives_back_its_share() {
        let bodies = Bodies::new(10 * UNIT_BYTES, 4 * UNIT_BYTES, 8 * UNIT_BYTES, Duration::from_secs(5));
        let first = read(&bodies, 8_000, Some(8_000), BodyKind::Picture).await.ok().unwrap();
        assert_eq!(first.bytes.len(), 8_000);
        assert!(read(&bodies, 100, Some(100), BodyKind::Json).await.is_ok(), "a small one has room beside it");
        let problem = read(&bodies, 3_000, Some(3_000), BodyKind::Json).await.err().unwrap();
        assert_eq!(problem.reason(), "busy");
        // One that does not say its length may be as large as any.
        let problem = read(&bodies, 10, None, BodyKind::Json).await.err().unwrap();
        assert_eq!(problem.reason(), "busy");
        drop(first);
        assert!(read(&bodies, 10, None, BodyKind::Json).await.is_ok());
    }

    #[actix_rt::test]
    async fn each_kind_of_body_has_its_own_largest_size_whatever_it_says_of_itself() {
        let bodies = Bodies::new(1 << 20, 1_000, 2_000, Duration::from_secs(5));
        for (kind, most) in [(BodyKind::Json, 1_000), (BodyKind::Picture, 2_000)] {
            assert!(read(&bodies, most, Some(most), kind).await.is_ok(), "{kind:?}");
            for (bytes, said) in [(most + 1, Some(most + 1)), (most + 1, Some(1)), (most + 1, None)] {
                let problem = read(&bodies, bytes, said, kind).await.err().unwrap();
                assert_eq!(problem.reason(), "too_large", "{kind:?}: {bytes} bytes that say {said:?}");
            }
        }
    }
}
