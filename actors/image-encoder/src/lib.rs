//! Box 5c: picture to its vector by DenseNet-121.
//!
//! A queue before the device threads of `jtav-inference`, where the network lives (ADR 4).

mod backend;
mod stage;

pub use backend::{ImageBackend, stub};
pub use stage::{Handle, ImageStage};
