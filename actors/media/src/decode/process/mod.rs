//! Decoding in processes of its own, where it cannot hurt (ADR 20).
//!
//! ```text
//! jtav ──exec── jtav decode-worker (nursery: one thread, touches no medium)
//!   │                 └─fork─► worker: memory, CPU time and system calls limited; decodes one medium after the other
//!   └── socket of each worker: job ─► decode ─► reply; a worker that ends costs one medium its reason and is forked anew,
//!       after a crash from a nursery that was started anew
//! ```
//!
//! Starting the program takes as long as loading libtorch does; forking the nursery, which has done so already, takes
//! milliseconds and shares its pages. The worker shares nothing else with `jtav`: no network, no files, no threads.

mod confine;
mod engine;
mod keeper;
mod nursery;
mod orders;
mod remote;
mod room;
mod wire;
mod worker;

pub use engine::{OneByOne, Usage};
pub use nursery::serve;
pub use room::GiveBack;

pub(crate) use engine::Engine;
pub(crate) use keeper::Keeper;
