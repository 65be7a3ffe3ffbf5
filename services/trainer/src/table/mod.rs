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
mod given;
mod material;
mod rows;
mod scores;
mod sentiment;
mod training;
mod view;

pub use cell::Training;
pub use congruence::{CongruenceOptions, congruence_tables};
pub use rows::{Method, PaperFigures, Row, Sound};
pub use scores::{SeedFigures, Spread};
pub use sentiment::{RowFigures, SentimentOptions, SentimentTable, sentiment_table, write_sentiment_table};
pub use training::BackboneWeights;
