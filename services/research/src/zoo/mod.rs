//! The networks of the paper's Table 1: the profiles `paper` and `authors-code`, and what they are compared with.
//!
//! An [`Architecture`] says which network, [`table_1`] which network a row of the table needs, [`Settings::of`] how
//! its source trains it, and a [`Trainer`] trains it and predicts with it. As in [`jtav_training`], the
//! fusions read the vectors of trained encoders.
//!
//! ```no_run
//! use jtav_research::zoo::{Architecture, Example, Input, Profile, Settings, Trainer, WordVectors};
//!
//! # fn main() -> Result<(), jtav_model::ModelError> {
//! let architecture = Architecture::AttBiGru { profile: Profile::Paper, dimension: 300 };
//! let mut trainer = Trainer::new(architecture, Settings::of(&architecture), 1)?;
//! let lyrics = WordVectors::new(300, vec![0.1; 12 * 300])?.with_supporting(vec![0.2; 3 * 300])?;
//! let examples = vec![Example { input: Input::Text(lyrics.clone()), positive: true }; 2];
//! trainer.epoch(&examples)?;
//! let logits = trainer.predict(&[Input::Text(lyrics.clone())])?;
//! let vectors = trainer.features(&[Input::Text(lyrics)])?;
//! # let _ = (logits, vectors);
//! # Ok(())
//! # }
//! ```
//!
//! What each of them computes, and from which source, stands in docs/networks.md. Backbones start from random weights
//! unless [`Trainer::load_backbone`] reads published ones; a number measured with them must say which.

mod architecture;
mod input;
mod network;
pub(crate) mod networks;
mod settings;
mod trainer;
mod weights;

pub use architecture::{Architecture, Backbone, DcrnnForm, Profile, TableRow, Widths, table_1};
pub use input::{Example, Input, WordVectors};
pub use settings::{FineTuning, Settings};
pub use trainer::Trainer;

#[cfg(test)]
mod count_tests;
#[cfg(test)]
mod overfit_tests;
