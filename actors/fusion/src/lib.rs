//! Box 6: the vectors of a post to one label and one vector by CMF-AP.
//!
//! On a CPU computed by whoever asks, which takes less time than to hand a post to another thread and back; on a GPU a queue before the
//! device thread of `jtav-inference` (ADR 4).

mod backend;
mod stage;

pub use backend::{FusionBackend, stub};
pub use stage::{FusionStage, Handle};
