use futures::future::BoxFuture;
use jtav_inference::{InferenceHandle, SendBackend};
use jtav_pipeline::{FailPoint, FuseRequest, Fused, Fusion, StageError, fail_point};

/// What the network takes and gives.
pub type Handle = InferenceHandle<SendBackend<FuseRequest, Result<Fused, StageError>>>;

/// Posts are fused with the vectors that they have.
pub struct FusionStage {
    handle: Handle,
}

impl FusionStage {
    /// Before a running network.
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
