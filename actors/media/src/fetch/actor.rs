//! The box as an actor: a typed address around [`Fetcher`].

use actix::{Actor, Context, Handler, ResponseFuture};
use jtav_pipeline::messages::{FetchMedia, RevalidateMedia};
use jtav_pipeline::{FailPoint, FetchedMedia, Revalidated, fail_point};
use jtav_schemas::AbsentReason;

use super::fetcher::Fetcher;

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
