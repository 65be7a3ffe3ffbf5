//! From the text parts of a post to the table rows that the text network reads.

mod bag;
mod input;
mod ngrams;
mod steps;
mod tokenizer;
mod vocabulary;

pub use bag::{Evidence, NgramBag, buckets, for_each_feature};
pub use input::{MAX_PROTAGONIST_WORDS, MAX_SUPPORTING_WORDS, TextInput, TokenisedText};
pub use ngrams::{Ngram, Ngrams};
pub use tokenizer::Tokenizer;
pub use vocabulary::{Vocabulary, VocabularyConfig};
