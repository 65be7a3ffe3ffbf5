use actix::{Actor, Context, Handler, ResponseFuture};
use jtav_inference::{BoxedBackend, InferenceHandle};
use jtav_pipeline::messages::EncodeText;
use jtav_pipeline::{Encoded, FailPoint, StageError, fail_point};
use jtav_schemas::TextPart;

/// What the device threads take and give.
pub type Handle = InferenceHandle<BoxedBackend<Vec<TextPart>, Result<Option<Encoded>, StageError>>>;

/// Answers [`EncodeText`] through the device threads. Its mailbox holds at most one message a post.
pub struct TextEncoderActor {
    handle: Handle,
}

impl TextEncoderActor {
    /// A shell around running device threads.
    pub fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

impl Actor for TextEncoderActor {
    type Context = Context<Self>;
}

impl Handler<EncodeText> for TextEncoderActor {
    type Result = ResponseFuture<Result<Option<Encoded>, StageError>>;

    fn handle(&mut self, EncodeText(texts): EncodeText, _: &mut Self::Context) -> Self::Result {
        fail_point::hit(FailPoint::TextEncoderHandle, "");
        let answer = self.handle.submit(texts);
        Box::pin(async move { answer.await? })
    }
}
