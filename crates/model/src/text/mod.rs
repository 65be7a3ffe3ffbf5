//! From the text parts of a post to what the text network reads.

mod bag;
mod front_end;
mod input;
mod lexicon;
mod ngrams;
mod steps;
mod tokenizer;
mod word;
mod wordpiece;

pub use bag::{Evidence, NgramBag, buckets, for_each_feature};
pub use front_end::{NO_LANGUAGE, TextFrontEnd};
pub use input::{Language, MAX_PROTAGONIST_WORDS, MAX_SUPPORTING_WORDS, ReadText, TextInput};
pub use ngrams::{Ngram, Ngrams};
pub use tokenizer::Tokenizer;
pub use word::Word;
pub use wordpiece::{MAX_PIECES, MAX_TEXT_CHARS, MAX_WORD_CHARS, Pieces, WordPieces};

#[cfg(test)]
pub(crate) use input::tests as tests_of_input;
