//! Box 5c: picture to its vector by the features of a network that knows photographs (EfficientNet-Lite0, or a DenseNet-121 of one's own).
//!
//! A queue before the device threads of `jtav-inference`, where the network lives (ADR 4).

mod backend;
mod stage;

pub use backend::{ImageBackend, stub};
pub use stage::{Handle, ImageStage};
