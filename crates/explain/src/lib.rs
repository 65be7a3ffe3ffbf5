//! Why a post was labelled as it was: a `sentiment.v1` record, and the post where it is at hand, made into words, seconds and
//! cells that can be shown, and into sentences for a person.
//!
//! ```text
//! SentimentV1 (+ texts) ─► Explanation: parts, words with their places, fragments of sound and picture, sentences
//! 224 × 224 RGB + cells ─► picture_png        PCM ─► SpectrogramDrawer, wav
//! ```
//!
//! Pure: no network, no file, no clock. What it says of a post it takes from the record; nothing is computed anew.

mod drawing;
mod error;
mod explain;
mod explanation;
mod fragments;
mod located;
mod sentences;
mod sound;

pub use drawing::{Lens, MAX_BLUR_PX, picture_png};
pub use error::ExplainError;
pub use explanation::{CellWeight, Explanation, Part, Second, Word};
pub use fragments::{CELLS_PER_ROW, id_in_path, is_path_segment, picture_fragment, sound_fragment};
pub use sound::{SpectrogramDrawer, wav};
