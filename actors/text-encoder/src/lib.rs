//! Box 5a: text to its vector by attBiGRU.
//!
//! Text is made ready on the runtime's blocking threads and queues for the device threads of `jtav-inference`, where the
//! network lives (ADR 4).

mod backend;
mod preparer;
mod stage;

pub use backend::{TextBackend, TextOutput, stub};
pub use preparer::TextPreparer;
pub use stage::{Handle, TextStage};
