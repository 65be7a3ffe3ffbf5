//! A bulkhead per host: a hanging one holds its own slots and nobody else's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Idle hosts are forgotten when there are more than this; feeds name hosts without end.
const MAX_IDLE_HOSTS: usize = 1024;

pub(crate) struct HostGates {
    gates: Mutex<HashMap<String, Arc<Semaphore>>>,
    slots: usize,
}

impl HostGates {
    pub(crate) fn new(slots: usize) -> Self {
        Self { gates: Mutex::default(), slots }
    }

    /// Waits for a slot of `host`; dropping the future leaves the queue.
    pub(crate) async fn enter(&self, host: &str) -> OwnedSemaphorePermit {
        let slot = self.gate(host).acquire_owned().await;
        slot.expect("Invariant: gates are never closed")
    }

    fn gate(&self, host: &str) -> Arc<Semaphore> {
        // Nothing can panic while the lock is held but allocation; the map stays whole.
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(host) {
            return gate.clone();
        }
        if gates.len() >= MAX_IDLE_HOSTS {
            // A gate that somebody waits at or has passed has a second owner.
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        let gate = Arc::new(Semaphore::new(self.slots));
        gates.insert(host.to_owned(), gate.clone());
        gate
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_full_host_keeps_only_itself_waiting() {
        let hosts = HostGates::new(2);
        let _held = (hosts.enter("a:80").await, hosts.enter("a:80").await);
        assert!(hosts.enter("a:80").now_or_never().is_none());
        assert!(hosts.enter("b:80").now_or_never().is_some());
    }

    #[tokio::test]
    async fn hosts_in_use_are_remembered_and_idle_ones_forgotten() {
        let hosts = HostGates::new(1);
        let _held = hosts.enter("busy:80").await;
        for i in 0..3 * MAX_IDLE_HOSTS {
            drop(hosts.enter(&format!("h{i}:80")).await);
        }
        assert!(hosts.gates.lock().unwrap().len() <= MAX_IDLE_HOSTS);
        assert!(hosts.enter("busy:80").now_or_never().is_none());
    }
}
