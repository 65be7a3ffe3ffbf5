//! DNS under the address policy, at the moment of connecting.

use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::lookup::Lookup;
use super::peers::Peers;
use crate::fetch::address::AddressPolicy;

/// The resolver of one client, and so of one port. The HTTP client asks for a name without its port, and the policy
/// judges an address with it; that is why the fetcher keeps a client for each open port.
///
/// What this returns is what gets connected to: between check and use there is no second question to DNS.
pub(crate) struct GuardedResolver {
    pub(crate) policy: Arc<AddressPolicy>,
    pub(crate) lookup: Arc<dyn Lookup>,
    /// May have asked already.
    pub(crate) peers: Arc<Peers>,
    pub(crate) port: u16,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        let port = self.port;
        let answer = match self.peers.take_answer(name.as_str(), port) {
            Some(answer) => Box::pin(async move { answer }),
            None => self.lookup.lookup(name.as_str().to_owned(), port),
        };
        Box::pin(async move {
            let addresses = answer.await?;
            policy.check_answer(&addresses)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
