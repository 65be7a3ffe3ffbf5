//! The streaming worker: assembles the boxes, watches them, drains them. It owns no logic of a stage.
//!
//! [`topology`] is the diagram as code; [`worker`] runs it as supervised generations until it is asked to stop;
//! [`admin`] answers operators over HTTP.

pub mod admin;
mod erasures;
pub mod exit;
mod http;
pub mod networks;
mod receipts;
pub mod rereading;
mod seats;
mod specimens;
mod store_watch;
pub mod topology;
pub mod worker;

pub use networks::{Networks, model_version};
pub use rereading::Rereading;
pub use topology::{Boxes, BoxesParams, Pipeline, PipelineParams};
pub use worker::{Worker, WorkerExit};
