use actix::{Actor, Context, Handler, ResponseFuture};
use jtav_inference::{BoxedBackend, InferenceHandle};
use jtav_pipeline::messages::EncodeImage;
use jtav_pipeline::{Encoded, FailPoint, RgbImage, StageError, fail_point};

/// What the device threads take and give.
pub type Handle = InferenceHandle<BoxedBackend<RgbImage, Result<Encoded, StageError>>>;

/// Answers [`EncodeImage`] through the device threads. Its mailbox holds at most one message a post.
pub struct ImageEncoderActor {
    handle: Handle,
}

impl ImageEncoderActor {
    /// A shell around running device threads.
    pub fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

impl Actor for ImageEncoderActor {
    type Context = Context<Self>;
}

impl Handler<EncodeImage> for ImageEncoderActor {
    type Result = ResponseFuture<Result<Encoded, StageError>>;

    fn handle(&mut self, EncodeImage(image): EncodeImage, _: &mut Self::Context) -> Self::Result {
        fail_point::hit(FailPoint::ImageEncoderHandle, "");
        let answer = self.handle.submit(image);
        Box::pin(async move { answer.await? })
    }
}
