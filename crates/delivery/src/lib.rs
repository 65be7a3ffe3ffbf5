//! Who holds a record, until when, and which offset may be committed. Pure: no broker, no runtime.
//!
//! *A permit lets a post in; a guard follows it; only a settled guard moves the offset.*
//!
//! - [`PostPermits`] bound the number of posts inside the system (ADR 1), and how many of them wait for media.
//! - [`FairQueue`] shares places out among groups so that nobody keeps them from the others; [`Shares`] is one to wait at.
//! - [`DeliveryGuard`] travels with the post; dropped without [`DeliveryGuard::settle`] it reports
//!   [`Outcome::Abandoned`] and the offset is held (ADR 2).
//! - [`PartitionLedger`] orders by receipt and yields the contiguous settled prefix (ADR 2, invariants L1–L7).

mod fair_queue;
mod guard;
mod ledger;
mod limit;
mod outcome;
mod permits;
mod shares;
mod tag;

pub use fair_queue::{Demand, FairQueue, Ticket};
pub use guard::{DeliveryGuard, Settlement, SettlementSink};
pub use ledger::{PartitionLedger, SettleEffect};
pub use limit::PostLimit;
pub use outcome::{AbandonCause, Hang, Outcome, SkipReason};
pub use permits::{MediaAccounts, MediaPlace, PostBounds, PostPermit, PostPermits};
pub use shares::{Share, Shares};
pub use tag::{AssignmentEpoch, DeliveryTag};

#[cfg(test)]
mod ledger_properties;
