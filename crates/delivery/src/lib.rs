//! Who holds a record, until when, and which offset may be committed. Pure: no broker, no runtime.
//!
//! *A permit lets a post in; a guard follows it; only a settled guard moves the offset.*
//!
//! - [`PostPermits`] bound the number of posts inside the system (design D3).
//! - [`DeliveryGuard`] travels with the post; dropped without [`DeliveryGuard::settle`] it reports
//!   [`Outcome::Abandoned`] and the offset is held (design D4).
//! - [`PartitionLedger`] orders by receipt and yields the contiguous settled prefix (design D5, invariants L1–L7).

mod guard;
mod ledger;
mod outcome;
mod permits;
mod tag;

pub use guard::{DeliveryGuard, Settlement, SettlementSink};
pub use ledger::{PartitionLedger, SettleEffect};
pub use outcome::{Outcome, SkipReason};
pub use permits::{PostPermit, PostPermits};
pub use tag::{AssignmentEpoch, DeliveryTag};

#[cfg(test)]
mod ledger_properties;
