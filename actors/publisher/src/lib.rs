//! The last box of the diagram: a finished post becomes durable in the store and on the output topics; a tombstone
//! erases; a post that cannot be processed goes to the dead-letter topic untouched.
//!
//! The store decides first (compare-and-set by revision and source), then the topics follow, so nothing that is stale
//! or erased is ever produced. Every reply means that the effect is acknowledged; a call that fails may be repeated as
//! often as needed, because each step recognises what is already done (design D6).

mod actor;
mod dead_letter;
mod publishing;
mod sink;
mod validate;

pub use actor::{OutputTopics, PublisherActor, PublisherParams};
pub use dead_letter::dead_letter_record;
pub use sink::RecordSink;
