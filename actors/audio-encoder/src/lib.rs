//! Box 5b: sound to its vector by constant-Q transform and DCRNN.
//!
//! The actor is a typed shell; the network lives on the device threads of `jtav-inference` (ADR 4).

mod actor;
mod backend;

pub use actor::{AudioEncoderActor, Handle};
pub use backend::{AudioBackend, stub};
