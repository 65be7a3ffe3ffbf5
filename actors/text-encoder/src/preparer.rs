//! Text made ready for the network: words, their pieces, their n-grams, the language. Beside the device thread and not on
//! it, so that a post with much text costs the others of its batch nothing; and where there is much of it, beside the lane's
//! thread too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jtav_model::{ModelError, TextFrontEnd, TextInput};
use jtav_pipeline::{Stage, StageError};
use jtav_schemas::{DeadLetterReason, TextPart};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Texts of no more bytes together are made ready by the caller: handing them to another thread and back costs more system
/// calls than nearly every post is worth, and these take a millisecond at worst.
const MAX_INLINE_BYTES: usize = 2_048;

/// Makes short texts ready at once, others on the runtime's blocking threads, as many at once as there are CPU cores. Cheap to
/// clone.
#[derive(Clone)]
pub struct TextPreparer {
    front_end: Arc<TextFrontEnd>,
    places: Arc<Semaphore>,
    long_texts: Arc<Semaphore>,
}

/// Long texts that are made ready, or wait for their network, at once. The settings' memory ceiling counts as many.
const LONG_TEXTS: usize = 64;

impl TextPreparer {
    /// With the front end of the checkpoint whose network reads what is made ready.
    pub fn new(front_end: Arc<TextFrontEnd>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { front_end, places: Arc::new(Semaphore::new(cores)), long_texts: Arc::new(Semaphore::new(LONG_TEXTS)) }
    }

    /// A place among the posts with long texts, to be held until the network has read them; none for a short one. Cancellation
    /// safe.
    pub async fn room(&self, texts: &[TextPart]) -> Option<OwnedSemaphorePermit> {
        match is_short(texts) {
            true => None,
            false => Arc::clone(&self.long_texts).acquire_owned().await.ok(),
        }
    }

    /// For a stand-in network, to which whether there is a word is all that counts.
    pub fn without_network() -> Self {
        Self::new(Arc::new(TextFrontEnd::without_pieces()))
    }

    /// Makes the texts of a post ready; `None` where no word remains (links, handles, punctuation).
    ///
    /// Takes time in proportion to the texts, which the router cuts, and no more than a bound of the front end. Cancellation safe: what waits for its place never
    /// begins, what has begun runs to its end and is dropped.
    ///
    /// # Errors
    /// Text that makes it fail or panic is a poison pill.
    pub async fn prepare(&self, texts: Vec<TextPart>) -> Result<Option<TextInput>, StageError> {
        let prepared = if is_short(&texts) {
            // Unwind safe: the front end is only read.
            catch_unwind(AssertUnwindSafe(|| prepared(&texts, &self.front_end))).map_err(|_| panicked())?
        } else {
            self.prepare_elsewhere(texts).await?
        };
        prepared.map_err(|error| StageError::permanent(Stage::TextEncoder, DeadLetterReason::PoisonPill, error))
    }

    async fn prepare_elsewhere(&self, texts: Vec<TextPart>) -> Result<Prepared, StageError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let front_end = Arc::clone(&self.front_end);
        let work = tokio::task::spawn_blocking(move || {
            let prepared = prepared(&texts, &front_end);
            drop(place);
            prepared
        });
        work.await.map_err(|error| match error.is_panic() {
            true => panicked(),
            false => StageError::retryable(Stage::TextEncoder, "runtime_ends", error),
        })
    }
}

fn is_short(texts: &[TextPart]) -> bool {
    texts.iter().map(|part| part.role.len() + part.text.len()).sum::<usize>() <= MAX_INLINE_BYTES
}

type Prepared = Result<Option<TextInput>, ModelError>;

fn panicked() -> StageError {
    StageError::permanent(Stage::TextEncoder, DeadLetterReason::PoisonPill, "making the text ready panicked")
}

fn prepared(texts: &[TextPart], front_end: &TextFrontEnd) -> Prepared {
    let parts: Vec<(&str, &str)> = texts.iter().map(|part| (part.role.as_str(), part.text.as_str())).collect();
    front_end.input(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn texts(text: &str) -> Vec<TextPart> {
        vec![TextPart { role: "body".to_owned(), text: text.to_owned() }]
    }

    #[tokio::test]
    async fn words_are_found_and_what_has_none_is_nothing() {
        let preparer = TextPreparer::without_network();
        let some = preparer.prepare(texts("so good :)")).await.unwrap().unwrap();
        let words: Vec<&str> = some.words().map(|word| word.text.as_str()).collect();
        assert_eq!((words, some.is_truncated), (vec!["so", "good", "smiling", "face"], false));
        assert!(preparer.prepare(texts(&"word ".repeat(161))).await.unwrap().unwrap().is_truncated);
        for something in ["😀", ":(", "<3", "❤️", "7"] {
            assert!(preparer.prepare(texts(something)).await.unwrap().is_some(), "{something}");
        }
        let nothing =
            ["", "@somebody", "https://a.example/b", "...!?", " \t\n", "\u{200B}\u{2060}\u{FEFF}", "\0\u{301}"];
        for nothing in nothing {
            assert_eq!(preparer.prepare(texts(nothing)).await.unwrap(), None, "{nothing:?}");
        }
    }

    /// A post that gave up while it waited costs no thread.
    #[tokio::test]
    async fn what_nobody_waits_for_any_more_never_begins() {
        let preparer = TextPreparer::without_network();
        let all = preparer.places.available_permits() as u32;
        let held = Arc::clone(&preparer.places).acquire_many_owned(all).await.unwrap();
        let long = "hello ".repeat(MAX_INLINE_BYTES);
        let mut waiting = Box::pin(preparer.prepare(texts(&long)));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(waiting);
        drop(held);
        assert_eq!(preparer.places.available_permits() as u32, all);
        assert!(preparer.prepare(texts(&long)).await.unwrap().is_some());
    }

    #[test]
    fn a_short_text_is_ready_at_once_and_without_a_runtime() {
        let preparer = TextPreparer::without_network();
        let short = "word ".repeat(MAX_INLINE_BYTES / 5 - 1);
        assert!(preparer.prepare(texts(&short)).now_or_never().unwrap().unwrap().is_some());
    }
}
