//! The texts that the text network learns from: rated texts, with the votes of their raters as soft targets, and what is
//! made of them.
//!
//! ```text
//! rated-texts.jsonl ─► RatedTexts ─┬─ nine tenths ─► Pool: the texts themselves, a changed copy of each, two in one,
//!                                  │                 post and caption, a plain text with an emoji; and templates
//!                                  │                   └─► Pool::epoch: which of them an epoch reads
//!                                  └─ sealed tenth: never in a pool
//! ```
//!
//! A pool is made once a run, so that word vectors are computed once for each text. What was made of rated texts keeps
//! their fold, and a text of two rated texts is made of two of the same fold: one pool serves all folds, and an epoch
//! leaves out what the held-out fold had a part in.
//!
//! Everything here is a function of its arguments: equal texts and equal seeds give equal pools and equal epochs.

mod augment;
mod compose;
mod item;
mod lists;
mod pool;
mod rated;
mod templates;

pub use augment::augmented;
pub use compose::{Pair, pairs};
pub use item::{BODY_ROLE, CAPTION_ROLE, Origin, Rating, TrainingText};
pub use pool::{Pool, Sizes};
pub use rated::{FOLDS, MAX_RATED_CHARS, RatedText, RatedTexts, RatedTextsError, fold, is_sealed};

#[cfg(test)]
mod tests;
