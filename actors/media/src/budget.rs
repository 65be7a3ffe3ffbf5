//! The byte budget of media in flight (design D3).

use std::sync::Arc;

use jtav_telemetry::Metric;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that downloads may hold together, and the one lane in which a body may have the full cap.
pub(crate) struct ByteBudget {
    bytes: Arc<Semaphore>,
    oversize_lane: Arc<Semaphore>,
}

/// A share of the budget, given back when it is dropped.
pub(crate) struct Reservation {
    permit: OwnedSemaphorePermit,
    /// Held while an oversize body is on its way. Its bytes come out of the same budget, so the sum never exceeds it.
    lane: Option<OwnedSemaphorePermit>,
}

impl ByteBudget {
    pub(crate) fn new(bytes: u32) -> Self {
        Self { bytes: Arc::new(Semaphore::new(bytes as usize)), oversize_lane: Arc::new(Semaphore::new(1)) }
    }

    /// Waits for `bytes`, first come first served. Nothing is held while waiting; dropping the future leaves the queue.
    pub(crate) async fn reserve(&self, bytes: u32) -> Reservation {
        Reservation::new(acquire(&self.bytes, bytes).await, None)
    }

    /// Waits for the lane, then for the full cap.
    pub(crate) async fn reserve_oversize(&self, cap: u32) -> Reservation {
        let lane = acquire(&self.oversize_lane, 1).await;
        Reservation::new(acquire(&self.bytes, cap).await, Some(lane))
    }
}

async fn acquire(semaphore: &Arc<Semaphore>, permits: u32) -> OwnedSemaphorePermit {
    let permit = semaphore.clone().acquire_many_owned(permits).await;
    permit.expect("Invariant: these semaphores are never closed")
}

impl Reservation {
    fn new(permit: OwnedSemaphorePermit, lane: Option<OwnedSemaphorePermit>) -> Self {
        jtav_telemetry::global().add(Metric::InFlightBytes, &[], permit.num_permits() as f64);
        Self { permit, lane }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.permit.num_permits()
    }

    /// Gives back what the finished body did not need, and the lane.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.lane = None;
        let surplus = self.bytes().saturating_sub(bytes);
        if self.permit.split(surplus).is_some() {
            jtav_telemetry::global().add(Metric::InFlightBytes, &[], -(surplus as f64));
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        jtav_telemetry::global().add(Metric::InFlightBytes, &[], -(self.bytes() as f64));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn shares_never_exceed_the_budget_and_come_back_when_dropped() {
        let budget = ByteBudget::new(100);
        let mut first = budget.reserve(70).await;
        assert!(budget.reserve(31).now_or_never().is_none());
        first.shrink_to(20);
        assert_eq!(first.bytes(), 20);
        let second = budget.reserve(80).await;
        assert!(budget.reserve(1).now_or_never().is_none());
        drop((first, second));
        assert_eq!(budget.reserve(100).await.bytes(), 100);
    }

    #[tokio::test]
    async fn only_one_oversize_body_is_on_its_way() {
        let budget = ByteBudget::new(100);
        let mut first = budget.reserve_oversize(40).await;
        assert!(budget.reserve_oversize(40).now_or_never().is_none());
        // Finished: the bytes stay, the lane is free.
        first.shrink_to(40);
        assert!(budget.reserve_oversize(60).now_or_never().is_some());
    }
}
