//! Labels a part of the input topic again with another model, beside the live workers.
//!
//! [`backfill`] reads in a consumer group of its own through the boxes, the ledger and the commits of the live feed, so
//! that a post is no more lost here than there, and a second call goes on where the first ended. Before that every
//! tombstone of the topic is looked at, wherever it lies: erasure is terminal, and a label must not come back because the
//! post lies before its tombstone. Then labels go to the keys of the new model alone.

mod account;
mod dry_run;
mod plan;
mod run;
mod tombstones;
mod walk;

pub use account::Account;
pub use plan::{InputTopic, Plan};
pub use run::{Backfill, End, Options, Phase, Progress, backfill, default_group};
