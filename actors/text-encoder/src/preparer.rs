//! Text made ready for the network: words, their rows, their n-grams. Beside the device thread and not on it, so that a
//! post with much text costs the others of its batch nothing.

use std::sync::Arc;

use jtav_model::{Checkpoint, TextInput, Tokenizer, Vocabulary, VocabularyConfig};
use jtav_pipeline::{Stage, StageError};
use jtav_schemas::{DeadLetterReason, TextPart};
use tokio::sync::Semaphore;

/// What the network reads of a post.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedText {
    /// Words with rows and n-grams; at least one.
    pub input: TextInput,
    /// Whether the texts have more words than it reads.
    pub is_truncated: bool,
}

/// Makes texts ready on the runtime's blocking threads, as many at once as there are CPU cores. Cheap to clone.
#[derive(Clone)]
pub struct TextPreparer {
    words: Arc<Words>,
    places: Arc<Semaphore>,
}

/// Where the rows of words come from.
enum Words {
    Checkpoint(Arc<Checkpoint>),
    /// Of a stand-in network, which reads none: whether there is a word is all that counts.
    None(Box<Vocabulary>),
}

impl Words {
    fn vocabulary(&self) -> &Vocabulary {
        match self {
            Words::Checkpoint(checkpoint) => checkpoint.vocabulary(),
            Words::None(vocabulary) => vocabulary,
        }
    }
}

impl TextPreparer {
    /// For the network of a checkpoint.
    pub fn new(checkpoint: Arc<Checkpoint>) -> Self {
        Self::with(Words::Checkpoint(checkpoint))
    }

    /// For a stand-in network.
    pub fn without_network() -> Self {
        let vocabulary = Vocabulary::build(std::iter::empty::<Vec<String>>(), VocabularyConfig::default());
        Self::with(Words::None(Box::new(vocabulary)))
    }

    fn with(words: Words) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { words: Arc::new(words), places: Arc::new(Semaphore::new(cores)) }
    }

    /// Makes the texts of a post ready; `None` where no word remains (links, handles, punctuation).
    ///
    /// Takes time in proportion to the texts, which the router cuts. Cancellation safe: what waits for its place never
    /// begins, what has begun runs to its end and is dropped.
    ///
    /// # Errors
    /// Text that makes it panic is a poison pill.
    pub async fn prepare(&self, texts: Vec<TextPart>) -> Result<Option<PreparedText>, StageError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let words = Arc::clone(&self.words);
        let work = tokio::task::spawn_blocking(move || {
            let prepared = prepared(&texts, words.vocabulary());
            drop(place);
            prepared
        });
        work.await.map_err(|error| match error.is_panic() {
            true => {
                let message = "making the text ready panicked";
                StageError::permanent(Stage::TextEncoder, DeadLetterReason::PoisonPill, message)
            }
            false => StageError::retryable(Stage::TextEncoder, "runtime_ends", error),
        })
    }
}

fn prepared(texts: &[TextPart], vocabulary: &Vocabulary) -> Option<PreparedText> {
    let parts: Vec<(&str, &str)> = texts.iter().map(|part| (part.role.as_str(), part.text.as_str())).collect();
    let (input, is_truncated) = TextInput::of_parts(&Tokenizer::new(), vocabulary, &parts)?;
    Some(PreparedText { input, is_truncated })
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
        assert_eq!((some.input.protagonist.words.len(), some.is_truncated), (3, false));
        assert!(preparer.prepare(texts(&"word ".repeat(101))).await.unwrap().unwrap().is_truncated);
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
        let mut waiting = Box::pin(preparer.prepare(texts("hello")));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(waiting);
        drop(held);
        assert_eq!(preparer.places.available_permits() as u32, all);
        assert!(preparer.prepare(texts("hello")).await.unwrap().is_some());
    }
}
