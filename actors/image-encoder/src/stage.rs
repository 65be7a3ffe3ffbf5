use futures::future::BoxFuture;
use jtav_inference::{BoxedBackend, InferenceHandle};
use jtav_pipeline::{Encoded, FailPoint, ImageEncoder, RgbImage, StageError, fail_point};

/// What the device threads take and give.
pub type Handle = InferenceHandle<BoxedBackend<RgbImage, Result<Encoded, StageError>>>;

/// Pictures queue for the device threads.
pub struct ImageStage {
    handle: Handle,
}

impl ImageStage {
    /// Before running device threads.
    pub fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

impl ImageEncoder for ImageStage {
    fn encode(&self, image: RgbImage) -> BoxFuture<'static, Result<Encoded, StageError>> {
        fail_point::hit(FailPoint::ImageEncoderHandle, "");
        let answer = self.handle.submit(image);
        Box::pin(async move { answer.await? })
    }
}
