//! The paper's tables, made with its networks on data that is at hand.
//!
//! ```text
//! DataPack ─► Media (word vectors, spectrograms, MFCC, pictures) ┐
//! vectors that others made ──────────────────────────────────────┴─► cells (row x seed x fold) ─► figures ─► Markdown, JSON
//! ```
//!
//! A cell is one training; finished cells lie in the work folder, so that a killed run goes on where it stood.

mod cell;
mod congruence;
mod figures;
mod given;
mod material;
mod rows;
mod scores;
mod sentiment;
mod training;
mod view;

pub use cell::Training;
pub use congruence::{CongruenceOptions, congruence_tables};
pub use figures::{RowFigures, SentimentTable, write_sentiment_table};
pub use rows::{Method, PaperFigures, Row, Sound};
pub use scores::{SeedFigures, Spread};
pub use sentiment::{SentimentOptions, sentiment_table};
pub use training::BackboneWeights;
