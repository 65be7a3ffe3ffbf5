use futures::future::BoxFuture;
use jtav_inference::{BoxedBackend, InferenceHandle};
use jtav_pipeline::{AudioEncoder, Encoded, FailPoint, Pcm, StageError, fail_point};

/// What the device threads take and give.
pub type Handle = InferenceHandle<BoxedBackend<Pcm, Result<Encoded, StageError>>>;

/// Clips queue for the device threads.
pub struct AudioStage {
    handle: Handle,
}

impl AudioStage {
    /// Before running device threads.
    pub fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

impl AudioEncoder for AudioStage {
    fn encode(&self, pcm: Pcm) -> BoxFuture<'static, Result<Encoded, StageError>> {
        fail_point::hit(FailPoint::AudioEncoderHandle, "");
        let answer = self.handle.submit(pcm);
        Box::pin(async move { answer.await? })
    }
}
