//! Training and evaluation: from a data pack to a checkpoint that serves, with a model card that says what it is worth.
//!
//! ```text
//! DataPack ─► Features (decoded once) ─► text, audio, image encoder, each with its own head
//!                                            └─► frozen vectors ─► fusion ─► calibration ─► checkpoint + model card
//!                                                                                └─► Evaluation (seven subsets)
//! ```
//!
//! ```no_run
//! use jtav_trainer::{Terminal, TrainOptions, train};
//!
//! # fn main() -> anyhow::Result<()> {
//! jtav_model::device::open_cuda_library();
//! let options = TrainOptions::new("polarity-posts", "models/mine");
//! let report = train(&options, &Terminal::new())?;
//! println!("{}", report.model_version);
//! # Ok(())
//! # }
//! ```
//!
//! [`evaluate`] scores a checkpoint or a file of predictions; [`inspect`] shows what the encoders see of one medium.
//!
//! This crate holds no network: those are `jtav-model`'s, in training as in service, and the loops that move their
//! weights are `jtav-training`'s.

pub mod bootstrap;
mod card;
mod certainty;
pub mod dataset;
pub mod decode;
pub mod evaluate;
pub mod evaluation;
pub mod features;
pub mod files;
pub mod fit;
pub mod inspect;
pub mod items;
pub mod metrics;
mod npy;
mod options;
mod progress;
mod report;
pub mod texts;
pub mod three_way;
mod train;

pub use card::model_card;
pub use dataset::DataPack;
pub use npy::npy_f32;
pub use options::{CheckpointProfile, DEFAULT_CACHE_DIR, RATED_TEXTS, Stage, TrainOptions, resolve_data};
pub use progress::{Progress, Silent, Terminal};
pub use report::{SplitSize, StageRecord, TrainReport, curves_csv, curves_png};
pub use train::{Encoders, encode_with_checkpoint, parts, picture_input, score_checkpoint, train, train_encoders};
