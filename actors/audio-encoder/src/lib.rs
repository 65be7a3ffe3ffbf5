//! Box 5b: sound to its vector by constant-Q transform and DCRNN.
//!
//! A queue before the device threads of `jtav-inference`, where the network lives (ADR 4).

mod backend;
mod stage;

pub use backend::{AudioBackend, stub};
pub use stage::{AudioStage, Handle};
