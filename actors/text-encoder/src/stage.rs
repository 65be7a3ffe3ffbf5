use futures::future::BoxFuture;
use jtav_inference::{BoxedBackend, InferenceHandle};
use jtav_model::TextInput;
use jtav_pipeline::{EncodedText, FailPoint, Language, StageError, TextEncoder, fail_point};
use jtav_schemas::TextPart;

use crate::{TextOutput, TextPreparer};

/// What the device threads take and give.
pub type Handle = InferenceHandle<BoxedBackend<TextInput, Result<TextOutput, StageError>>>;

/// Texts are made ready, then they queue for the device threads.
pub struct TextStage {
    preparer: TextPreparer,
    handle: Handle,
}

impl TextStage {
    /// Before running device threads.
    pub fn new(preparer: TextPreparer, handle: Handle) -> Self {
        Self { preparer, handle }
    }
}

impl TextEncoder for TextStage {
    fn encode(&self, texts: Vec<TextPart>) -> BoxFuture<'static, Result<Option<EncodedText>, StageError>> {
        fail_point::hit(FailPoint::TextEncoderHandle, "");
        let (preparer, handle) = (self.preparer.clone(), self.handle.clone());
        Box::pin(async move {
            let _room = preparer.room(&texts).await;
            let Some(prepared) = preparer.prepare(texts).await? else { return Ok(None) };
            let is_truncated = prepared.is_truncated;
            let lang = prepared.language.clone().map(|language| {
                let jtav_model::Language { code, probability } = language;
                Language { code, probability }
            });
            let TextOutput { encoded, semantic } = handle.submit(prepared).await??;
            Ok(Some(EncodedText { encoded, is_truncated, lang, semantic }))
        })
    }
}
