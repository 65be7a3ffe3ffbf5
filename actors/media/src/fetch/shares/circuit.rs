//! A circuit breaker per host, so that a dead one costs its posts no waiting, and the others no permits.
//!
//! ```text
//!            failures in a row, or all slots busy and no sign of life
//!   closed ──────────────────────────────────────────────────────────► open ◄─────┐
//!     ▲                                                      rest over │          │ probe failed: longer rest
//!     └───────────── any request answered ◄──────────── one probe ◄────┘──────────┘
//! ```
//!
//! Pure: the caller says what time it is. Only hosts in use or in trouble are remembered.
//!
//! Our own, because breakers of libraries count answers, and a host that hangs gives none: here busy slots without a sign of
//! life open it, too.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jtav_schemas::AbsentReason;

/// Hosts that are remembered at most; a stranger chooses their names. About a megabyte.
const MAX_HOSTS: usize = 4096;

/// When a circuit opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CircuitParams {
    /// Failures in a row; 0: circuits never open.
    pub failures: u32,
    /// Requests that a host has on the wire at once at most.
    pub slots: usize,
    /// With all slots busy, so long without a sign of life opens the circuit too: whoever waits for a slot holds one of
    /// the worker's permits, and the time-outs of the first requests are far away.
    pub stall: Duration,
    /// The first rest; it doubles with every probe that fails.
    pub rest: Duration,
    /// The longest rest.
    pub max_rest: Duration,
}

/// How a request ended, as far as it speaks of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It answered, if only with a 404.
    Alive,
    /// It timed out, broke the connection or reported a failure of its own.
    Failed(AbsentReason),
    /// Nobody waited for the answer.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open { until: Instant },
    Probing,
}

#[derive(Debug)]
struct Circuit {
    phase: Phase,
    failures: u32,
    openings: u32,
    reason: AbsentReason,
    on_wire: usize,
    /// One of them is a probe. It may outlast the rest that it ended: an answer to an older request closes the circuit too.
    has_probe: bool,
    /// The last sign of life, or when the first of those on the wire began.
    alive_at: Instant,
    touched_at: Instant,
}

/// The circuits of all hosts.
#[derive(Debug)]
pub(crate) struct Circuits {
    params: CircuitParams,
    hosts: HashMap<String, Circuit>,
}

impl Circuits {
    pub(crate) fn new(params: CircuitParams) -> Self {
        Self { params, hosts: HashMap::new() }
    }

    /// Whether it is worth waiting for this host.
    ///
    /// # Errors
    /// The circuit is open: what its requests came to before.
    pub(crate) fn check(&mut self, host: &str, now: Instant, jitter: f64) -> Result<(), AbsentReason> {
        let params = self.params;
        let Some(circuit) = self.hosts.get_mut(host) else { return Ok(()) };
        match circuit.phase {
            Phase::Closed => {
                let stalled = circuit.on_wire >= params.slots && now.duration_since(circuit.alive_at) >= params.stall;
                if params.failures == 0 || !stalled {
                    return Ok(());
                }
                circuit.open(&params, AbsentReason::Timeout, now, jitter);
                Err(circuit.reason)
            }
            // With its slots still held by requests that hang there is no room for a probe, and nobody waits for one.
            Phase::Open { until } if now >= until && circuit.on_wire < params.slots && !circuit.has_probe => Ok(()),
            Phase::Open { .. } | Phase::Probing => Err(circuit.reason),
        }
    }

    /// A request goes on the wire; true if it is the probe of a circuit whose rest is over.
    ///
    /// # Errors
    /// As [`Circuits::check`]: things may have changed while the request waited.
    pub(crate) fn begin(&mut self, host: &str, now: Instant, jitter: f64) -> Result<bool, AbsentReason> {
        self.check(host, now, jitter)?;
        if !self.hosts.contains_key(host) {
            self.make_room();
        }
        let circuit = self.hosts.entry(host.to_owned()).or_insert_with(|| Circuit {
            phase: Phase::Closed,
            failures: 0,
            openings: 0,
            reason: AbsentReason::Timeout,
            on_wire: 0,
            has_probe: false,
            alive_at: now,
            touched_at: now,
        });
        if circuit.on_wire == 0 {
            circuit.alive_at = now;
        }
        circuit.on_wire += 1;
        circuit.touched_at = now;
        let is_probe = matches!(circuit.phase, Phase::Open { .. });
        if is_probe {
            circuit.phase = Phase::Probing;
            circuit.has_probe = true;
        }
        Ok(is_probe)
    }

    /// The head of an answer or a good piece of a body has come.
    pub(crate) fn sign_of_life(&mut self, host: &str, now: Instant) {
        if let Some(circuit) = self.hosts.get_mut(host) {
            circuit.alive_at = now;
        }
    }

    /// A request that was begun has ended.
    pub(crate) fn end(&mut self, host: &str, was_probe: bool, answer: Answer, now: Instant, jitter: f64) {
        let params = self.params;
        // Forgotten only while nothing of it was on the wire; then there is nothing to end.
        let Some(circuit) = self.hosts.get_mut(host) else { return };
        circuit.on_wire = circuit.on_wire.saturating_sub(1);
        circuit.touched_at = now;
        circuit.has_probe &= !was_probe;
        match answer {
            Answer::Alive => {
                (circuit.phase, circuit.failures, circuit.openings) = (Phase::Closed, 0, 0);
                circuit.alive_at = now;
            }
            Answer::Failed(reason) => {
                circuit.failures = circuit.failures.saturating_add(1);
                let enough = params.failures > 0 && circuit.failures >= params.failures;
                // Those that were under way when it opened tell nothing new.
                if was_probe || (circuit.phase == Phase::Closed && enough) {
                    circuit.open(&params, reason, now, jitter);
                }
            }
            // The next one probes.
            Answer::Unknown if was_probe && circuit.phase == Phase::Probing => {
                circuit.phase = Phase::Open { until: now };
            }
            Answer::Unknown => {}
        }
        if circuit.on_wire == 0 && circuit.phase == Phase::Closed && circuit.failures == 0 {
            self.hosts.remove(host);
        }
    }

    /// Hosts whose circuit is not closed.
    pub(crate) fn open_hosts(&self) -> usize {
        self.hosts.values().filter(|circuit| circuit.phase != Phase::Closed).count()
    }

    /// Forgets the half that was used longest ago, but none that is in use. What is forgotten must fail anew.
    fn make_room(&mut self) {
        if self.hosts.len() < MAX_HOSTS {
            return;
        }
        let mut idle: Vec<Instant> =
            self.hosts.values().filter(|circuit| circuit.on_wire == 0).map(|circuit| circuit.touched_at).collect();
        if idle.is_empty() {
            return;
        }
        let middle = idle.len() / 2;
        let newest_to_go = *idle.select_nth_unstable(middle).1;
        self.hosts.retain(|_, circuit| circuit.on_wire > 0 || circuit.touched_at > newest_to_go);
    }
}

impl Circuit {
    fn open(&mut self, params: &CircuitParams, reason: AbsentReason, now: Instant, jitter: f64) {
        self.openings = self.openings.saturating_add(1);
        self.reason = reason;
        let doublings = (self.openings - 1).min(16);
        let rest = params.rest.saturating_mul(1 << doublings).min(params.max_rest);
        // Half is certain: with full jitter a rest could be none.
        self.phase = Phase::Open { until: now + rest.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0)) };
    }
}

#[cfg(test)]
#[path = "circuit_tests.rs"]
mod tests;
