//! Box 5a: text to its vector by attBiGRU.
//!
//! The actor is a typed shell; text is made ready on the runtime's blocking threads, and the network lives on the device
//! threads of `jtav-inference` (ADR 4).

mod actor;
mod backend;
mod preparer;

pub use actor::{Handle, TextEncoderActor};
pub use backend::{TextBackend, stub};
pub use preparer::{PreparedText, TextPreparer};
