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
//! [`table`] makes the paper's Table 1, [`retrieval`] its image2song table.
//!
//! [`evaluate`] scores a checkpoint or a file of predictions; [`inspect`] shows what the encoders see of one medium.
//!
//! This crate holds no network: those are `jtav-model`'s, in training as in service.

pub mod bootstrap;
mod card;
pub mod classical;
pub mod dataset;
mod decode;
pub mod deletion;
pub mod evaluate;
pub mod evaluation;
pub mod features;
mod fit;
pub mod inspect;
pub mod metrics;
mod npy;
mod options;
mod progress;
mod report;
pub mod retrieval;
mod sound;
pub mod table;
mod train;
pub mod words;

pub use card::model_card;
pub use dataset::DataPack;
pub use fit::{CurvePoint, FitPlan, FitReport, Validation};
pub use npy::npy_f32;
pub use options::{DEFAULT_CACHE_DIR, Profile, Stage, TrainOptions, resolve_data};
pub use progress::{Progress, Silent, Terminal};
pub use report::{SplitSize, StageRecord, TrainReport, curves_csv, curves_png};
pub use train::{score_checkpoint, train, train_encoders};
