use std::sync::Arc;

use crate::{AbandonCause, DeliveryTag, Outcome};

/// What a guard reports to the owner of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    pub tag: DeliveryTag,
    pub outcome: Outcome,
    /// Why it was abandoned, where it was.
    pub cause: AbandonCause,
}

/// Receives settlements. Called from any thread, also while unwinding: it must neither block nor panic.
pub trait SettlementSink: Send + Sync {
    /// Takes one settlement.
    fn settled(&self, settlement: Settlement);
}

impl SettlementSink for std::sync::mpsc::Sender<Settlement> {
    fn settled(&self, settlement: Settlement) {
        // The receiver is gone only when the poll thread has ended; the record then comes again after a restart.
        let _ = self.send(settlement);
    }
}

/// The responsibility for one record. Whoever holds it must [`settle`](Self::settle) it; dropping it says
/// [`Outcome::Abandoned`], so a panic, a cancelled task or a forgotten branch holds the offset and never releases it.
#[must_use = "a guard that is dropped holds the offset back"]
pub struct DeliveryGuard {
    tag: DeliveryTag,
    sink: Option<Arc<dyn SettlementSink>>,
}

impl DeliveryGuard {
    /// Makes the guard of one delivery.
    pub fn new(tag: DeliveryTag, sink: Arc<dyn SettlementSink>) -> Self {
        Self { tag, sink: Some(sink) }
    }

    /// Which delivery this is.
    pub fn tag(&self) -> DeliveryTag {
        self.tag
    }

    /// Says what became of the record, once.
    pub fn settle(mut self, outcome: Outcome) {
        self.report(outcome, AbandonCause::NotTheRecord);
    }

    /// Abandons the record and says why.
    pub fn abandon(mut self, cause: AbandonCause) {
        self.report(Outcome::Abandoned, cause);
    }

    fn report(&mut self, outcome: Outcome, cause: AbandonCause) {
        if let Some(sink) = self.sink.take() {
            sink.settled(Settlement { tag: self.tag, outcome, cause });
        }
    }
}

impl Drop for DeliveryGuard {
    fn drop(&mut self) {
        self.report(Outcome::Abandoned, AbandonCause::NotTheRecord);
    }
}

impl std::fmt::Debug for DeliveryGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeliveryGuard").field("tag", &self.tag).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AssignmentEpoch;
    use std::sync::mpsc;

    fn guard() -> (DeliveryGuard, mpsc::Receiver<Settlement>) {
        let (sender, receiver) = mpsc::channel();
        let tag = DeliveryTag { partition: 0, offset: 7, epoch: AssignmentEpoch(1) };
        (DeliveryGuard::new(tag, Arc::new(sender)), receiver)
    }

    #[test]
    fn a_guard_dropped_while_unwinding_reports_abandoned() {
        let (guard, receiver) = guard();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = guard;
            panic!("stage failed");
        }));
        assert!(result.is_err());
        assert_eq!(receiver.recv().unwrap().outcome, Outcome::Abandoned);
    }

    #[test]
    fn a_settled_guard_reports_exactly_once() {
        let (guard, receiver) = guard();
        guard.settle(Outcome::Published);
        assert_eq!(receiver.recv().unwrap().outcome, Outcome::Published);
        assert!(receiver.recv().is_err());
    }
}
