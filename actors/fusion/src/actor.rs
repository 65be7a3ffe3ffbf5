use actix::{Actor, Context, Handler, ResponseFuture};
use jtav_inference::{BoxedBackend, InferenceHandle};
use jtav_pipeline::messages::FusePost;
use jtav_pipeline::{FailPoint, FuseRequest, Fused, StageError, fail_point};

/// What the device threads take and give.
pub type Handle = InferenceHandle<BoxedBackend<FuseRequest, Result<Fused, StageError>>>;

/// Answers [`FusePost`] through the device threads. Its mailbox holds at most one message a post.
pub struct FusionActor {
    handle: Handle,
}

impl FusionActor {
    /// A shell around running device threads.
    pub fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

impl Actor for FusionActor {
    type Context = Context<Self>;
}

impl Handler<FusePost> for FusionActor {
    type Result = ResponseFuture<Result<Fused, StageError>>;

    fn handle(&mut self, FusePost(request): FusePost, _: &mut Self::Context) -> Self::Result {
        fail_point::hit(FailPoint::FusionHandle, "");
        let answer = self.handle.submit(request);
        Box::pin(async move { answer.await? })
    }
}
