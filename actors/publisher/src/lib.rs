//! The last box of the diagram: a finished post becomes durable in the store and on the output topics; a tombstone
//! erases; a post that cannot be processed goes to the dead-letter topic untouched.
//!
//! The store decides first (compare-and-set by revision and source), then the topics follow; then the store is asked once
//! more, because another worker may have been faster, and the last record of a post is the newest label or null. Every reply means that the effect is acknowledged; a call that fails may be repeated as
//! often as needed, because each step recognises what is already done (ADR 3).

mod dead_letter;
mod params;
mod publishing;
mod setting_aside;
mod sink;
mod stage;
mod validate;
mod way_out;

#[cfg(test)]
mod interleavings;

pub use dead_letter::{LetterParams, dead_letter_record};
pub use params::{OutputTopics, PublisherParams, Reach};
pub use sink::RecordSink;
pub use stage::PublisherStage;
pub use way_out::WayOut;
