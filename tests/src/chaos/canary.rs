use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

/// A listener that nobody may reach: posts name it, and no address that is not public is to be fetched (S7).
pub struct Canary {
    address: SocketAddr,
    visits: Arc<AtomicUsize>,
}

impl Canary {
    /// Listens on a free loopback port until the process ends.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let visits = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&visits);
        std::thread::Builder::new().name("canary".to_owned()).spawn(move || {
            for _ in listener.incoming() {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        Ok(Self { address, visits })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far.
    pub fn visits(&self) -> usize {
        self.visits.load(Ordering::Relaxed)
    }
}
