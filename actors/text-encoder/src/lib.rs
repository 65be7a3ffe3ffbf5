//! Box 5a: text to its vector by attBiGRU.
//!
//! The actor is a typed shell; the network lives on the device threads of `jtav-inference` (design D10).

mod actor;
mod backend;

pub use actor::{Handle, TextEncoderActor};
pub use backend::{TextBackend, stub};
