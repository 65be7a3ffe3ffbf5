//! The box as an actor: a typed address around [`DecodePool`].

use actix::{Actor, Context, Handler, ResponseFuture};
use jtav_pipeline::messages::DecodeMedia;
use jtav_pipeline::{Decoded, FailPoint, StageError, fail_point};
use jtav_schemas::AbsentReason;

use super::pool::DecodePool;

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
