//! Which network a host lies in, before its turn to be asked: a thousand names of one address are one peer.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jtav_pipeline::network_of;
use tokio::time::timeout;

use super::lookup::Lookup;

/// Hosts that are remembered at most; a stranger chooses their names.
const MAX_HOSTS: usize = 4096;
/// A host is asked for again after this.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// An answer that was looked up to know the network is connected to within this, or not at all.
const ANSWER_HOLDS: Duration = Duration::from_secs(10);

/// Name and port.
type Host = (String, u16);

/// What DNS last said.
pub(crate) struct Peers {
    lookup: Arc<dyn Lookup>,
    patience: Duration,
    known: Mutex<HashMap<Host, Known>>,
}

struct Known {
    network: Option<Arc<str>>,
    at: Instant,
    /// Until somebody connects by it, so that DNS is asked once.
    answer: Option<io::Result<Vec<SocketAddr>>>,
}

impl Peers {
    /// Asks `lookup`, for `patience` at most.
    pub(crate) fn new(lookup: Arc<dyn Lookup>, patience: Duration) -> Self {
        Self { lookup, patience, known: Mutex::default() }
    }

    /// The network of the first address of a host; none if it has none, or DNS does not say so in time. Only for sharing
    /// out: what may be connected to is decided at that moment. Cancellation safe.
    pub(crate) async fn network(&self, name: &str, port: u16) -> Option<Arc<str>> {
        let host = (name.to_owned(), port);
        if let Some(known) = self.lock().get(&host).filter(|known| known.at.elapsed() < KNOWN_FOR) {
            return known.network.clone();
        }
        let looking = self.lookup.lookup(host.0.clone(), port);
        let answer = match timeout(self.patience, looking).await {
            Ok(answer) => answer,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer from DNS")),
        };
        let first = answer.as_ref().ok().and_then(|addresses| addresses.first());
        let network = first.map(|address| network_of(address.ip()));
        let mut known = self.lock();
        make_room(&mut known);
        known.insert(host, Known { network: network.clone(), at: Instant::now(), answer: Some(answer) });
        network
    }

    /// What was found when the network was asked for, once.
    pub(crate) fn take_answer(&self, name: &str, port: u16) -> Option<io::Result<Vec<SocketAddr>>> {
        let mut known = self.lock();
        let known = known.get_mut(&(name.to_owned(), port))?;
        let answer = known.answer.take()?;
        if answer.is_err() {
            // The next one asks again.
            known.at = known.at.checked_sub(KNOWN_FOR).unwrap_or(known.at);
        }
        (known.at.elapsed() < ANSWER_HOLDS || answer.is_err()).then_some(answer)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Host, Known>> {
        // Nothing can panic while it is held but allocation; the map stays whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets what is stale, or the older half.
fn make_room(known: &mut HashMap<Host, Known>) {
    if known.len() < MAX_HOSTS {
        return;
    }
    known.retain(|_, host| host.at.elapsed() < KNOWN_FOR);
    if known.len() >= MAX_HOSTS {
        let mut times: Vec<Instant> = known.values().map(|host| host.at).collect();
        let middle = times.len() / 2;
        let newest_to_go = *times.select_nth_unstable(middle).1;
        known.retain(|_, host| host.at > newest_to_go);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use futures::future::BoxFuture;

    use super::*;

    /// Another address at every question; none for `gone`.
    struct Counting(AtomicU8);

    impl Lookup for Counting {
        fn lookup(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            let number = self.0.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                match host.as_str() {
                    "gone" => Err(io::ErrorKind::NotFound.into()),
                    "hangs" => std::future::pending().await,
                    _ => Ok(vec![SocketAddr::from(([192, 0, number, 1], port))]),
                }
            })
        }
    }

    fn peers() -> Peers {
        Peers::new(Arc::new(Counting(AtomicU8::new(0))), Duration::from_millis(20))
    }

    #[tokio::test]
    async fn a_host_is_asked_for_once_a_while_and_who_connects_gets_that_very_answer_once() {
        let peers = peers();
        for _ in 0..3 {
            assert_eq!(peers.network("a", 80).await.as_deref(), Some("192.0.0.0/24"));
        }
        let answer = peers.take_answer("a", 80).unwrap().unwrap();
        assert_eq!(answer, [SocketAddr::from(([192, 0, 0, 1], 80))]);
        assert!(peers.take_answer("a", 80).is_none(), "later connections ask for themselves");
        assert!(peers.take_answer("a", 443).is_none());
    }

    #[tokio::test]
    async fn a_name_without_answer_has_no_network_and_costs_no_second_wait() {
        let peers = peers();
        for name in ["gone", "hangs"] {
            assert_eq!(peers.network(name, 80).await, None);
            assert!(peers.take_answer(name, 80).unwrap().is_err(), "{name}");
            assert!(peers.take_answer(name, 80).is_none());
        }
    }

    #[tokio::test]
    async fn hosts_that_are_remembered_are_bounded() {
        let peers = peers();
        for i in 0..3 * MAX_HOSTS {
            peers.network(&format!("h{i}"), 80).await;
        }
        assert!(peers.lock().len() <= MAX_HOSTS);
    }
}
