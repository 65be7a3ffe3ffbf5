//! One file per command: its arguments, its run, its output.

pub mod costs;
pub mod hostile;
pub mod isolation;
pub mod list;
pub mod scenario;
pub mod serve;
mod shared;
pub mod soak;
pub mod zipf;
