//! Batched inference: one long-lived thread per model stream (ADR 4).
//!
//! An actor hands items to an [`InferenceHandle`]; a device thread owns the network, takes what has arrived while the
//! previous batch ran, and answers each item. No network is known here: [`Backend`] is the seam, so batching,
//! bisection and failure are tested without libtorch.
//!
//! Why threads of our own: libtorch keeps state per thread and its memory grows with their number (pytorch #64412),
//! and its no-grad guard is thread-local; a blocking pool that grows is the wrong home for it. A network without libtorch that answers
//! within microseconds needs none ([`at_once`]).

mod backend;
mod batch;
mod device_thread;
mod params;
mod runner;
mod stub;

pub use backend::{Backend, BackendError, BoxedBackend, FatalHook, SendBackend};
pub use batch::{BatchLimits, BatchLimitsError, take_batch};
pub use device_thread::{InferenceHandle, at_once, spawn};
pub use params::InferenceParams;
pub use stub::StubBackend;
