//! Bytes to sound or picture, in processes that cannot hurt, behind one bounded queue.

mod params;
mod pool;
mod process;
mod queue;

pub use params::{DecodeParams, Isolation, ProcessParams};
pub use pool::DecodePool;
pub use process::{GiveBack, OneByOne, Usage, serve as serve_decode_workers};
