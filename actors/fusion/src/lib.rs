//! Box 6: the vectors of a post to one label and one vector by CMF-AP.
//!
//! A queue before the device threads of `jtav-inference`, where the network lives (ADR 4).

mod backend;
mod stage;

pub use backend::{FusionBackend, stub};
pub use stage::{FusionStage, Handle};
