use futures::future::BoxFuture;
use jtav_inference::{BoxedBackend, InferenceHandle};
use jtav_pipeline::{FailPoint, FuseRequest, Fused, Fusion, StageError, fail_point};

/// What the device threads take and give.
pub type Handle = InferenceHandle<BoxedBackend<FuseRequest, Result<Fused, StageError>>>;

/// Posts queue for the device thread with the vectors that they have.
pub struct FusionStage {
    handle: Handle,
}

impl FusionStage {
    /// Before running device threads.
    pub fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

impl Fusion for FusionStage {
    fn fuse(&self, request: FuseRequest) -> BoxFuture<'static, Result<Fused, StageError>> {
        fail_point::hit(FailPoint::FusionHandle, "");
        let answer = self.handle.submit(request);
        Box::pin(async move { answer.await? })
    }
}
