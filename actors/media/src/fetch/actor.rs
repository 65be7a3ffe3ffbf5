//! The two boxes of the diagram as actors: typed addresses around [`Fetcher`] and [`DecodePool`].

use actix::{Actor, Context, Handler, ResponseFuture};
use jtav_pipeline::messages::{DecodeMedia, FetchMedia, RevalidateMedia};
use jtav_pipeline::{Decoded, FailPoint, FetchedMedia, Revalidated, StageError, fail_point};
use jtav_schemas::AbsentReason;

use crate::fetch::Fetcher;
use crate::pool::DecodePool;

/// URL to bytes.
pub struct FetchActor(Fetcher);

impl FetchActor {
    /// Around a fetcher, which others may share.
    pub fn new(fetcher: Fetcher) -> Self {
        Self(fetcher)
    }
}

impl Actor for FetchActor {
    type Context = Context<Self>;
}

impl Handler<FetchMedia> for FetchActor {
    type Result = ResponseFuture<Result<FetchedMedia, AbsentReason>>;

    fn handle(&mut self, FetchMedia(request): FetchMedia, _: &mut Self::Context) -> Self::Result {
        fail_point::hit(FailPoint::FetchBefore, &request.media.url);
        let fetcher = self.0.clone();
        Box::pin(async move { fetcher.fetch(request).await })
    }
}

impl Handler<RevalidateMedia> for FetchActor {
    type Result = ResponseFuture<Result<Revalidated, AbsentReason>>;

    fn handle(&mut self, RevalidateMedia((request, earlier)): RevalidateMedia, _: &mut Self::Context) -> Self::Result {
        fail_point::hit(FailPoint::FetchBefore, &request.media.url);
        let fetcher = self.0.clone();
        Box::pin(async move { fetcher.revalidate(request, earlier).await })
    }
}

/// Bytes to sound or picture.
pub struct DecodeActor(DecodePool);

impl DecodeActor {
    /// Around running workers, which others may share.
    pub fn new(pool: DecodePool) -> Self {
        Self(pool)
    }
}

impl Actor for DecodeActor {
    type Context = Context<Self>;
}

impl Handler<DecodeMedia> for DecodeActor {
    type Result = ResponseFuture<Result<Result<Decoded, AbsentReason>, StageError>>;

    fn handle(&mut self, DecodeMedia(media): DecodeMedia, _: &mut Self::Context) -> Self::Result {
        fail_point::hit(FailPoint::DecodeBefore, media.modality.as_str());
        let pool = self.0.clone();
        Box::pin(async move { pool.decode(media).await })
    }
}
