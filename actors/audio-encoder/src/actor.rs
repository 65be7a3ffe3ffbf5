use actix::{Actor, Context, Handler, ResponseFuture};
use jtav_inference::{BoxedBackend, InferenceHandle};
use jtav_pipeline::messages::EncodeAudio;
use jtav_pipeline::{Encoded, FailPoint, Pcm, StageError, fail_point};

/// What the device threads take and give.
pub type Handle = InferenceHandle<BoxedBackend<Pcm, Result<Encoded, StageError>>>;

/// Answers [`EncodeAudio`] through the device threads. Its mailbox holds at most one message a post.
pub struct AudioEncoderActor {
    handle: Handle,
}

impl AudioEncoderActor {
    /// A shell around running device threads.
    pub fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

impl Actor for AudioEncoderActor {
    type Context = Context<Self>;
}

impl Handler<EncodeAudio> for AudioEncoderActor {
    type Result = ResponseFuture<Result<Encoded, StageError>>;

    fn handle(&mut self, EncodeAudio(pcm): EncodeAudio, _: &mut Self::Context) -> Self::Result {
        fail_point::hit(FailPoint::AudioEncoderHandle, "");
        let answer = self.handle.submit(pcm);
        Box::pin(async move { answer.await? })
    }
}
