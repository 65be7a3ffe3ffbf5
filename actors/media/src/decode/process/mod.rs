//! Decoding in processes of its own, where it cannot hurt (ADR 20).
//!
//! ```text
//! jtav ──exec── jtav decode-worker (fork server: one thread, touches no medium)
//!   │                 └─fork─► worker: memory, CPU time and system calls limited; decodes one medium after the other
//!   └── socket of each worker: job ─► decode ─► reply; a worker that ends costs one medium its reason and is forked anew,
//!       after a crash from a fork server that was started anew
//! ```
//!
//! Starting the program takes as long as loading libtorch does; forking the fork server, which has done so already, takes
//! milliseconds and shares its pages. The worker shares nothing else with `jtav`: no network, no files, no threads.

mod confine;
mod engine;
mod fork_server;
mod keeper;
mod orders;
mod remote;
mod scratch;
mod wire;
mod worker;

pub use engine::{OneByOne, Usage};
pub use fork_server::serve;
pub use scratch::GiveBack;

pub(crate) use engine::Engine;
pub(crate) use keeper::Keeper;
