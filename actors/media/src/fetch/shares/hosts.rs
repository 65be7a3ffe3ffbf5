//! A bulkhead and a circuit breaker per host: a hanging one holds its own slots and nobody else's, and once it is known
//! to be dead its posts do not wait.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jtav_delivery::{Demand, FairQueue, Share, Shares};
use jtav_pipeline::site_of_host;
use jtav_schemas::AbsentReason;
use jtav_telemetry::{Metric, ShareKind};
use tokio::time::timeout;

use super::circuit::{Answer, CircuitParams, Circuits};

/// How often a post that waits for a slot asks whether the host is still worth it.
const RECHECK: Duration = Duration::from_millis(200);

pub(crate) struct HostGates {
    slots: Shares<Group>,
    /// Downloads that one site or one network has at most.
    most_of_one: usize,
    circuits: Arc<Mutex<Circuits>>,
    params: CircuitParams,
}

/// On whose account a download is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    /// Host and port: it is not asked for more at once, whoever else is there.
    Host(Arc<str>),
    /// Whoever has a name can have a thousand below it.
    Site(Arc<str>),
    /// Whoever has an address can have a thousand names for it.
    Network(Arc<str>),
}

/// Where a download goes.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Host and port.
    pub(crate) host: Arc<str>,
    pub(crate) site: Arc<str>,
    /// None: nobody could say.
    pub(crate) network: Option<Arc<str>>,
}

impl Peer {
    pub(crate) fn new(name: &str, port: u16) -> Self {
        Self { host: format!("{name}:{port}").into(), site: site_of_host(name), network: None }
    }
}

/// A request on the wire. Dropped without an answer, it speaks against the host only if the host had its time.
pub(crate) struct OnWire {
    circuits: Arc<Mutex<Circuits>>,
    host: String,
    is_probe: bool,
    since: Instant,
    patience: Duration,
    /// The host has done its part and waits for us.
    waits_for_us: AtomicBool,
    excused_ms: AtomicU64,
    ended: bool,
}

impl HostGates {
    /// With so many `downloads` at once.
    pub(crate) fn new(params: CircuitParams, downloads: usize) -> Self {
        let circuits = Arc::new(Mutex::new(Circuits::new(params)));
        // A download can last for seconds and cannot be taken back: the last quarter is left for who comes next.
        let most_of_one = (downloads - downloads / 4).max(1);
        Self { slots: Shares::new(FairQueue::new(downloads)), most_of_one, circuits, params }
    }

    /// Waits for a slot of the host as long as its circuit is closed, behind those whose site and network hold fewer;
    /// dropping the future leaves the queue.
    ///
    /// # Errors
    /// The circuit is open: what the host's requests came to before.
    pub(crate) async fn enter(&self, peer: &Peer) -> Result<Share<Group>, AbsentReason> {
        self.check(&peer.host)?;
        let network = peer.network.clone().map(Group::Network);
        let shares: Vec<Group> = network.into_iter().chain([Group::Site(Arc::clone(&peer.site))]).collect();
        let host = (Group::Host(Arc::clone(&peer.host)), self.params.slots);
        let limits = shares.iter().map(|share| (share.clone(), self.most_of_one)).chain([host]).collect();
        let demand = Demand { places: 1, shares, limits };
        if let Some(slot) = self.slots.try_take(demand.clone()) {
            return Ok(slot);
        }
        let since = Instant::now();
        let waiting = self.slots.take(demand);
        tokio::pin!(waiting);
        let entered = loop {
            if let Ok(slot) = timeout(RECHECK, &mut waiting).await {
                break Ok(slot);
            }
            if let Err(reason) = self.check(&peer.host) {
                break Err(reason);
            }
        };
        Metric::share_wait_seconds(ShareKind::Download).observe(since.elapsed().as_secs_f64());
        entered
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
        Ok(OnWire {
            circuits,
            host,
            is_probe,
            since: now,
            patience,
            waits_for_us: AtomicBool::new(false),
            excused_ms: AtomicU64::new(0),
            ended: false,
        })
    }

    /// Whether the host is worth asking.
    ///
    /// # Errors
    /// As [`HostGates::enter`].
    pub(crate) fn check(&self, host: &str) -> Result<(), AbsentReason> {
        let mut circuits = lock(&self.circuits);
        circuits.check(host, Instant::now(), rand::random()).inspect_err(|_| {
            refused();
            // It may have opened just now.
            export(&circuits);
        })
    }
}

impl OnWire {
    /// The head of the answer or a good piece of its body is here.
    pub(crate) fn sign_of_life(&self) {
        lock(&self.circuits).sign_of_life(&self.host, Instant::now());
    }

    /// Does something of ours while the host waits; that is not its time.
    pub(crate) async fn excused<T>(&self, ours: impl Future<Output = T>) -> T {
        let since = Instant::now();
        self.waits_for_us.store(true, Ordering::Relaxed);
        tokio::pin!(ours);
        let done = loop {
            match timeout(RECHECK, &mut ours).await {
                Ok(done) => break done,
                // Nor has it stalled.
                Err(_) => self.sign_of_life(),
            }
        };
        self.waits_for_us.store(false, Ordering::Relaxed);
        self.excused_ms.fetch_add(since.elapsed().as_millis() as u64, Ordering::Relaxed);
        done
    }

    /// What is left to the host of `total`, but no more than `most`.
    pub(crate) fn time_left(&self, total: Duration, most: Duration) -> Duration {
        total.saturating_sub(self.host_time()).min(most)
    }

    fn host_time(&self) -> Duration {
        self.since.elapsed().saturating_sub(Duration::from_millis(self.excused_ms.load(Ordering::Relaxed)))
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
            let had_its_time = !self.waits_for_us.load(Ordering::Relaxed) && self.host_time() >= self.patience;
            self.tell(if had_its_time { Answer::Failed(AbsentReason::Timeout) } else { Answer::Unknown });
        }
    }
}

fn lock(circuits: &Mutex<Circuits>) -> MutexGuard<'_, Circuits> {
    // As with the gates.
    circuits.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused() {
    Metric::media_refused_by_circuit().inc();
}

fn export(circuits: &Circuits) {
    Metric::media_open_circuits().set(circuits.open_hosts() as f64);
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn gates(slots: usize) -> HostGates {
        let second = Duration::from_secs(1);
        HostGates::new(CircuitParams { failures: 2, slots, stall: second, rest: second, max_rest: second }, 16)
    }

    fn peer(name: &str, network: &str) -> Peer {
        Peer { network: Some(network.into()), ..Peer::new(name, 80) }
    }

    #[tokio::test]
    async fn a_full_host_keeps_only_itself_waiting() {
        let hosts = gates(2);
        let _held = (hosts.enter(&peer("a", "1")).await, hosts.enter(&peer("a", "1")).await);
        assert!(hosts.enter(&peer("a", "1")).now_or_never().is_none());
        assert!(hosts.enter(&peer("b", "1")).now_or_never().is_some());
    }

    #[tokio::test]
    async fn neither_a_name_for_every_request_nor_a_site_for_every_request_keeps_others_out() {
        let one_site = |i: u32| peer(&format!("n{i}.evil.example"), &i.to_string());
        let one_address = |i: u32| peer(&format!("evil{i}.example"), "66");
        for evil in [one_site, one_address] {
            let hosts = gates(2);
            let (mut held, mut waiting) = (Vec::new(), Vec::new());
            for i in 0..200 {
                let (hosts, peer) = (&hosts, evil(i));
                let mut entering = Box::pin(async move { hosts.enter(&peer).await });
                match entering.as_mut().now_or_never() {
                    Some(slot) => held.push(slot),
                    None => waiting.push(entering),
                }
            }
            assert_eq!(held.len(), 12, "three quarters of the downloads");
            assert!(hosts.enter(&peer("good.example", "1")).now_or_never().is_some());
            assert!(hosts.enter(&peer("other.example", "2")).now_or_never().is_some());
        }
    }

    #[tokio::test]
    async fn the_time_in_which_a_host_waits_for_us_is_not_its_own() {
        let hosts = gates(1);
        let spent = |waits_for_us: bool| {
            let mut on_wire = hosts.begin("h:80").unwrap();
            on_wire.patience = Duration::ZERO;
            on_wire.waits_for_us.store(waits_for_us, Ordering::Relaxed);
        };
        for _ in 0..5 {
            spent(true);
        }
        let on_wire = hosts.begin("h:80").unwrap();
        on_wire.excused(tokio::time::sleep(Duration::from_millis(50))).await;
        assert!(on_wire.host_time() < Duration::from_millis(40), "{:?}", on_wire.host_time());
        on_wire.end(Answer::Alive);
        for _ in 0..2 {
            spent(false);
        }
        assert!(hosts.begin("h:80").is_err(), "the rest is");
    }

    #[tokio::test]
    async fn whoever_waits_for_a_slot_stops_waiting_when_the_circuit_opens() {
        let hosts = gates(1);
        let dead = peer("dead", "1");
        let _held = hosts.enter(&dead).await.unwrap();
        let waiting = hosts.enter(&dead);
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
