//! Box 6: the vectors of a post to one label and one vector by CMF-AP.
//!
//! The actor is a typed shell; the network lives on the device threads of `jtav-inference` (ADR 4).

mod actor;
mod backend;

pub use actor::{FusionActor, Handle};
pub use backend::{FusionBackend, stub};
