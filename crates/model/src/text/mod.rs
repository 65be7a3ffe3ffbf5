//! From the text parts of a post to the table rows that the text network reads.

mod input;
mod tokenizer;
mod vocabulary;

pub use input::{MAX_PROTAGONIST_WORDS, MAX_SUPPORTING_WORDS, TextInput, TokenisedText};
pub use tokenizer::Tokenizer;
pub use vocabulary::{Vocabulary, VocabularyConfig};
