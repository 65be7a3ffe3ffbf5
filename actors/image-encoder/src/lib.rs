//! Box 5c: picture to its vector by DenseNet-121.
//!
//! The actor is a typed shell; the network lives on the device threads of `jtav-inference` (ADR 4).

mod actor;
mod backend;

pub use actor::{Handle, ImageEncoderActor};
pub use backend::{ImageBackend, stub};
