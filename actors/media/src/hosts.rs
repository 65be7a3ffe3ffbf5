//! A bulkhead and a circuit breaker per host: a hanging one holds its own slots and nobody else's, and once it is known
//! to be dead its posts do not wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jtav_schemas::AbsentReason;
use jtav_telemetry::{Metric, global};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::circuit::{Answer, CircuitParams, Circuits};

/// Idle hosts are forgotten when there are more than this; feeds name hosts without end.
const MAX_IDLE_HOSTS: usize = 1024;
/// How often a post that waits for a slot asks whether the host is still worth it.
const RECHECK: Duration = Duration::from_millis(200);

pub(crate) struct HostGates {
    gates: Mutex<HashMap<String, Arc<Semaphore>>>,
    circuits: Arc<Mutex<Circuits>>,
    params: CircuitParams,
}

/// A request on the wire. Dropped without an answer, it speaks against the host only if the host had its time.
pub(crate) struct OnWire {
    circuits: Arc<Mutex<Circuits>>,
    host: String,
    is_probe: bool,
    since: Instant,
    patience: Duration,
    ended: bool,
}

impl HostGates {
    pub(crate) fn new(params: CircuitParams) -> Self {
        let circuits = Arc::new(Mutex::new(Circuits::new(params)));
        Self { gates: Mutex::default(), circuits, params }
    }

    /// Waits for a slot of `host` as long as its circuit is closed; dropping the future leaves the queue.
    ///
    /// # Errors
    /// The circuit is open: what the host's requests came to before.
    pub(crate) async fn enter(&self, host: &str) -> Result<OwnedSemaphorePermit, AbsentReason> {
        self.check(host)?;
        let waiting = self.gate(host).acquire_owned();
        tokio::pin!(waiting);
        loop {
            if let Ok(slot) = timeout(RECHECK, &mut waiting).await {
                return Ok(slot.expect("Invariant: gates are never closed"));
            }
            self.check(host)?;
        }
    }

    /// A request of somebody who has a slot goes on the wire.
    ///
    /// # Errors
    /// As [`HostGates::enter`].
    pub(crate) fn begin(&self, host: &str) -> Result<OnWire, AbsentReason> {
        let now = Instant::now();
        let begun = lock(&self.circuits).begin(host, now, rand::random());
        let is_probe = begun.inspect_err(|_| refused())?;
        let (circuits, host, patience) = (Arc::clone(&self.circuits), host.to_owned(), self.params.stall);
        Ok(OnWire { circuits, host, is_probe, since: now, patience, ended: false })
    }

    fn check(&self, host: &str) -> Result<(), AbsentReason> {
        let mut circuits = lock(&self.circuits);
        circuits.check(host, Instant::now(), rand::random()).inspect_err(|_| {
            refused();
            // It may have opened just now.
            export(&circuits);
        })
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
        let gate = Arc::new(Semaphore::new(self.params.slots));
        gates.insert(host.to_owned(), gate.clone());
        gate
    }
}

impl OnWire {
    /// The head of the answer or a good piece of its body is here.
    pub(crate) fn sign_of_life(&self) {
        lock(&self.circuits).sign_of_life(&self.host, Instant::now());
    }

    /// The request has ended.
    pub(crate) fn end(mut self, answer: Answer) {
        self.tell(answer);
    }

    fn tell(&mut self, answer: Answer) {
        self.ended = true;
        let mut circuits = lock(&self.circuits);
        circuits.end(&self.host, self.is_probe, answer, Instant::now(), rand::random());
        export(&circuits);
    }
}

impl Drop for OnWire {
    fn drop(&mut self) {
        if !self.ended {
            // The post's deadline cuts a trickle off before its own time-out does.
            let had_its_time = self.since.elapsed() >= self.patience;
            self.tell(if had_its_time { Answer::Failed(AbsentReason::Timeout) } else { Answer::Unknown });
        }
    }
}

fn lock(circuits: &Mutex<Circuits>) -> MutexGuard<'_, Circuits> {
    // As with the gates.
    circuits.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused() {
    global().inc(Metric::MediaRefusedByCircuit, &[]);
}

fn export(circuits: &Circuits) {
    global().set(Metric::MediaOpenCircuits, &[], circuits.open_hosts() as f64);
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn gates(slots: usize) -> HostGates {
        let second = Duration::from_secs(1);
        HostGates::new(CircuitParams { failures: 2, slots, stall: second, rest: second, max_rest: second })
    }

    #[tokio::test]
    async fn a_full_host_keeps_only_itself_waiting() {
        let hosts = gates(2);
        let _held = (hosts.enter("a:80").await, hosts.enter("a:80").await);
        assert!(hosts.enter("a:80").now_or_never().is_none());
        assert!(hosts.enter("b:80").now_or_never().is_some());
    }

    #[tokio::test]
    async fn hosts_in_use_are_remembered_and_idle_ones_forgotten() {
        let hosts = gates(1);
        let _held = hosts.enter("busy:80").await.unwrap();
        for i in 0..3 * MAX_IDLE_HOSTS {
            drop(hosts.enter(&format!("h{i}:80")).await);
        }
        assert!(hosts.gates.lock().unwrap().len() <= MAX_IDLE_HOSTS);
        assert!(hosts.enter("busy:80").now_or_never().is_none());
    }

    #[tokio::test]
    async fn whoever_waits_for_a_slot_stops_waiting_when_the_circuit_opens() {
        let hosts = gates(1);
        let _held = hosts.enter("dead:80").await.unwrap();
        let waiting = hosts.enter("dead:80");
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        for _ in 0..2 {
            hosts.begin("dead:80").unwrap().end(Answer::Failed(AbsentReason::FetchFailed));
        }
        assert_eq!(waiting.await.err(), Some(AbsentReason::FetchFailed));
    }

    #[test]
    fn a_request_that_is_dropped_at_once_says_nothing_of_its_host() {
        let hosts = gates(4);
        for _ in 0..10 {
            drop(hosts.begin("h:80").unwrap());
        }
        assert!(hosts.begin("h:80").is_ok());
    }
}
