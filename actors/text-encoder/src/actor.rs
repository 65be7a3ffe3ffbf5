use actix::{Actor, Context, Handler};
use jtav_inference::{BoxedBackend, InferenceHandle};
use jtav_model::TextInput;
use jtav_pipeline::messages::{EncodeText, WhileWanted};
use jtav_pipeline::{Encoded, EncodedText, FailPoint, StageError, fail_point};

use crate::TextPreparer;

/// What the device threads take and give.
pub type Handle = InferenceHandle<BoxedBackend<TextInput, Result<Encoded, StageError>>>;

/// Answers [`EncodeText`]: makes the text ready, then hands it to the device threads. Its mailbox holds at most one
/// message a post.
pub struct TextEncoderActor {
    preparer: TextPreparer,
    handle: Handle,
}

impl TextEncoderActor {
    /// A shell around running device threads.
    pub fn new(preparer: TextPreparer, handle: Handle) -> Self {
        Self { preparer, handle }
    }
}

impl Actor for TextEncoderActor {
    type Context = Context<Self>;
}

impl Handler<EncodeText> for TextEncoderActor {
    type Result = WhileWanted<Result<Option<EncodedText>, StageError>>;

    fn handle(&mut self, EncodeText(texts): EncodeText, _: &mut Self::Context) -> Self::Result {
        fail_point::hit(FailPoint::TextEncoderHandle, "");
        let (preparer, handle) = (self.preparer.clone(), self.handle.clone());
        WhileWanted::new(async move {
            let Some(prepared) = preparer.prepare(texts).await? else { return Ok(None) };
            let encoded = handle.submit(prepared.input).await??;
            Ok(Some(EncodedText { encoded, is_truncated: prepared.is_truncated }))
        })
    }
}
