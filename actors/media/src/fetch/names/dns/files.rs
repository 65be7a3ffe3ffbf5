//! What this machine's files say: whom to ask, and names that nobody need be asked for.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// As many as glibc asks.
const MAX_SERVERS: usize = 3;
const PORT: u16 = 53;
/// Longer files are read as far as this.
const MAX_FILE_BYTES: usize = 4 << 20;
/// A change of the files shows after so long.
const READ_EVERY: Duration = Duration::from_secs(30);

/// `/etc/resolv.conf` and `/etc/hosts` as they were a moment ago.
#[derive(Debug)]
pub(super) struct Files {
    servers: Vec<SocketAddr>,
    hosts: HashMap<String, Vec<IpAddr>>,
    read_at: Instant,
}

impl Files {
    pub(super) fn read() -> Self {
        let text = |path: &str| {
            let bytes = std::fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_FILE_BYTES)]).into_owned()
        };
        let (servers, hosts) = (servers(&text("/etc/resolv.conf")), hosts(&text("/etc/hosts")));
        Self { servers, hosts, read_at: Instant::now() }
    }

    pub(super) fn refresh(&mut self) {
        if self.read_at.elapsed() > READ_EVERY {
            *self = Self::read();
        }
    }

    pub(super) fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// Addresses of a name in lower case.
    pub(super) fn addresses(&self, name: &str) -> Option<&[IpAddr]> {
        self.hosts.get(name).map(Vec::as_slice)
    }
}

/// Of resolv.conf(5). Search lists are left out on purpose: a stranger's `db` is not the `db` of our cluster.
fn servers(text: &str) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        // A zone (`fe80::1%eth0`) cannot be kept; such a server is asked where it is of the only interface.
        let ip = words.next().filter(|word| *word == "nameserver").and(words.next())?.split('%').next()?;
        Some(SocketAddr::new(ip.parse().ok()?, PORT))
    });
    let named: Vec<_> = named.take(MAX_SERVERS).collect();
    if named.is_empty() { vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT)] } else { named }
}

/// Of hosts(5).
fn hosts(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(ip) = words.next().and_then(|ip| ip.parse().ok()) else { continue };
        for name in words {
            hosts.entry(name.to_ascii_lowercase()).or_default().push(ip);
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_servers_are_asked_and_else_this_machine() {
        let text = "# nameserver 9.9.9.9\nsearch corp.example\nnameserver 10.0.0.1\n nameserver\t2001:db8::1 \n\
                    nameserver fe80::1%eth0\nnameserver nonsense\nnameserver 10.0.0.4\noptions timeout:9";
        let expected = ["10.0.0.1:53", "[2001:db8::1]:53", "[fe80::1]:53"].map(|server| server.parse().unwrap());
        assert_eq!(servers(text), expected);
        assert_eq!(servers("search corp.example"), ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn a_name_of_the_hosts_file_has_all_its_addresses_whatever_its_case() {
        let hosts = hosts("127.0.0.1 localhost\n::1 LocalHost ip6 # not.this\nnonsense name\n10.1.2.3\n");
        assert_eq!(hosts["localhost"], [IpAddr::from([127, 0, 0, 1]), "::1".parse().unwrap()]);
        assert_eq!(hosts.len(), 2);
    }
}
