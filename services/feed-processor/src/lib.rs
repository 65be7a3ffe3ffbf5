//! The streaming worker: assembles the boxes, watches them, drains them. It owns no logic of a stage.
//!
//! [`topology`] is the diagram as code, [`parameters`] what the settings tell each box; [`worker`] runs it as supervised generations until it is asked to stop;
//! [`admin`] answers operators over HTTP.

pub mod admin;
mod erasures;
pub mod exit;
mod generation;
mod http;
mod intake;
pub mod networks;
mod output_limits;
pub mod parameters;
mod progress;
mod receipts;
pub mod rereading;
mod seats;
mod specimens;
mod store_watch;
pub mod topology;
pub mod vitals;
pub mod worker;

pub use networks::{Networks, model_version};
pub use parameters::{BoxesParams, PipelineParams};
pub use rereading::Rereading;
pub use store_watch::StoreWatch;
pub use topology::{Boxes, Pipeline};
pub use worker::{Worker, WorkerExit};
