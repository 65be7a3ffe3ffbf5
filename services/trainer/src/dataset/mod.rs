//! Data packs: a folder with posts and the media beside them, in one of three layouts (`docs/data-packs.md`): the
//! project's own `posts.jsonl` (`dataset-post.v1` lines), a plain `labels.csv`, or `shuttersong.csv` with a folder per
//! song. Any of them may have `dataset.json` (counts and the hash of the posts) and `extra-texts.jsonl` (texts for the
//! training side only).
//!
//! Reading is strict. A pack that leaks between splits gives figures that look fine and mean nothing, so a medium
//! or a text that stands in two splits is an error and not a warning.

mod bytes;
mod deal;
mod error;
mod files;
mod folder;
mod leaks;
mod lines;
mod pack;
mod post;
mod shuttersong;
mod table;

pub use bytes::sha256_hex;
pub use error::DatasetError;
pub(crate) use leaks::comparable;
pub use pack::{DataPack, LAYOUTS, layout};
pub use post::{ExtraText, MOODS, MediaFile, Post, Split};

#[cfg(test)]
mod tests;
