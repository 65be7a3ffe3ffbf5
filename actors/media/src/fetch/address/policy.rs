//! Which addresses may be contacted: public ones on the web's ports, and what a person has listed by address and port.
//!
//! Pure. The fetcher asks twice for every hop: [`AddressPolicy::check_url`] before a request is made, and
//! [`AddressPolicy::check_answer`] on the addresses that a name resolves to, at the moment of connecting, so a name
//! that answers differently the second time gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{Ipv4Net, Ipv6Net};
use url::{Host, Url};

use super::host_rules::HostRules;
use super::nat64::Nat64Prefix;

/// What may be fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Exceptions: exactly these addresses on exactly these ports, public or not.
    pub allow: Vec<SocketAddr>,
    /// Ports of public addresses.
    pub ports: Vec<u16>,
    /// Hosts by name; they narrow the exceptions too.
    pub hosts: HostRules,
    /// Where this network leads on to IPv4: of an address below one of these, the IPv4 address in it is judged.
    pub nat64_prefixes: Vec<Nat64Prefix>,
}

impl Default for AddressPolicy {
    fn default() -> Self {
        Self { allow: Vec::new(), ports: vec![80, 443], hosts: HostRules::default(), nat64_prefixes: Vec::new() }
    }
}

/// Why an address or URL was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// Not a URL.
    #[error("not a URL: {0}")]
    Unreadable(#[from] url::ParseError),
    /// Neither `http` nor `https`.
    #[error("only http and https are fetched")]
    Scheme,
    /// `user:password@`: the classic disguise of a host, and a secret that would be sent to a stranger.
    #[error("the URL carries a user name or password")]
    Userinfo,
    /// No host, or one longer than DNS allows.
    #[error("the URL has no usable host")]
    Host,
    /// `example.org.` is the same host as `example.org` by another name: it would dodge the limit per host.
    #[error("the host ends in a dot")]
    TrailingDot,
    /// On the list of hosts that must not be fetched from, or not on the list of those that may.
    #[error("the lists of hosts do not let this one through")]
    HostRule,
    /// Not one of the sources that are switched on, or not below what they may reach.
    #[error("no source may give this: {0}")]
    Source(&'static str),
    /// A port that is not open to public addresses.
    #[error("port {0} is not allowed")]
    Port(u16),
    /// An address that is not public.
    #[error("{ip} is not public: {range}")]
    NotPublic { ip: IpAddr, range: &'static str },
    /// The name resolves to nothing.
    #[error("the host has no address")]
    NoAddress,
}

impl Denied {
    /// The same question gets the same answer.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// A URL that may be requested, as far as can be told without DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// A literal address, checked.
    Address(SocketAddr),
    /// A name on this port; its addresses are checked when they are known.
    Name {
        /// Port of the URL or of its scheme.
        port: u16,
    },
}

impl Endpoint {
    /// Port that will be connected to.
    pub fn port(self) -> u16 {
        match self {
            Endpoint::Address(address) => address.port(),
            Endpoint::Name { port } => port,
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)
}

const fn v6(a: u16, b: u16, c: u16, d: u16, e: u16, f: u16, bits: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, 0, 0), bits)
}

/// IANA IPv4 Special-Purpose Address Registry (RFC 6890 and updates), multicast and reserved space; and what clouds serve
/// their own machines from addresses that look public.
const CLOSED_V4: [(Ipv4Net, &str); 20] = [
    (v4(0, 0, 0, 0, 8), "this network"),
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(100, 64, 0, 0, 10), "shared by carriers"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(161, 26, 0, 0, 16), "services of IBM Cloud"),
    (v4(166, 8, 0, 0, 14), "services of IBM Cloud"),
    // The wire server: certificates and settings of a virtual machine, for whoever asks from it.
    (v4(168, 63, 129, 16, 32), "platform of Azure"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "protocol assignments"),
    (v4(192, 0, 2, 0, 24), "documentation"),
    (v4(192, 52, 193, 0, 24), "multicast relays"),
    (v4(192, 88, 99, 0, 24), "6to4 relay"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(192, 175, 48, 0, 24), "sink of DNS"),
    (v4(198, 18, 0, 0, 15), "benchmarks"),
    (v4(198, 51, 100, 0, 24), "documentation"),
    (v4(203, 0, 113, 0, 24), "documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
];

/// First match names the range. Outside 2000::/3 nothing is public; inside, what carries an IPv4 address or is set
/// aside. Every form with an IPv4 address inside is refused whatever that address is: a gateway would take the
/// connection on to it, and no media host is reachable in no other way. NAT64 alone is a network's only way to IPv4 where an
/// operator says so ([`AddressPolicy::nat64_prefixes`]).
const CLOSED_V6: [(Ipv6Net, &str); 16] = [
    (v6(0, 0, 0, 0, 0, 0xffff, 96), "IPv4-mapped"),
    (v6(0, 0, 0, 0, 0xffff, 0, 96), "IPv4-translated"),
    (v6(0, 0, 0, 0, 0, 0, 96), "unspecified, loopback or IPv4-compatible"),
    (v6(0x64, 0xff9b, 0, 0, 0, 0, 96), "NAT64"),
    (v6(0x64, 0xff9b, 1, 0, 0, 0, 48), "NAT64, local"),
    (v6(0x100, 0, 0, 0, 0, 0, 64), "discard"),
    (v6(0x2001, 0, 0, 0, 0, 0, 32), "Teredo"),
    (v6(0x2001, 0, 0, 0, 0, 0, 23), "protocol assignments"),
    (v6(0x2001, 0xdb8, 0, 0, 0, 0, 32), "documentation"),
    (v6(0x2002, 0, 0, 0, 0, 0, 16), "6to4"),
    (v6(0x3ffe, 0, 0, 0, 0, 0, 16), "returned"),
    (v6(0x3fff, 0, 0, 0, 0, 0, 20), "documentation"),
    (v6(0xfc00, 0, 0, 0, 0, 0, 7), "unique local"),
    (v6(0xfe80, 0, 0, 0, 0, 0, 10), "link-local"),
    (v6(0xfec0, 0, 0, 0, 0, 0, 10), "site-local"),
    (v6(0xff00, 0, 0, 0, 0, 0, 8), "multicast"),
];

const GLOBAL_UNICAST: Ipv6Net = v6(0x2000, 0, 0, 0, 0, 0, 3);

/// Refuses every address that is not globally reachable unicast.
pub fn check_public(ip: IpAddr) -> Result<(), Denied> {
    let range = match ip {
        IpAddr::V4(v4) => CLOSED_V4.iter().find(|(net, _)| net.contains(&v4)).map(|(_, range)| *range),
        IpAddr::V6(v6) => closed_v6(v6),
    };
    match range {
        Some(range) => Err(Denied::NotPublic { ip, range }),
        None => Ok(()),
    }
}

fn closed_v6(ip: Ipv6Addr) -> Option<&'static str> {
    if let Some((_, range)) = CLOSED_V6.iter().find(|(net, _)| net.contains(&ip)) {
        return Some(range);
    }
    if !GLOBAL_UNICAST.contains(&ip) {
        return Some("not global unicast");
    }
    // RFC 5214: any prefix, then 0000:5efe or 0200:5efe, then an IPv4 address.
    let segments = ip.segments();
    (segments[4] & !0x0200 == 0 && segments[5] == 0x5efe).then_some("ISATAP")
}

impl AddressPolicy {
    /// Refuses every address that does not lead to the public internet.
    fn check_reach(&self, ip: IpAddr) -> Result<(), Denied> {
        match self.nat64_prefixes.iter().find_map(|prefix| prefix.carried(ip)) {
            Some(carried) => check_public(carried.into()),
            None => check_public(ip),
        }
    }

    /// May this address be connected to?
    pub fn check_addr(&self, address: SocketAddr) -> Result<(), Denied> {
        // Scope and flow label are no part of the identity of an exception.
        if self.allow.iter().any(|open| open.ip() == address.ip() && open.port() == address.port()) {
            return Ok(());
        }
        self.check_reach(address.ip())?;
        if !self.ports.contains(&address.port()) {
            return Err(Denied::Port(address.port()));
        }
        Ok(())
    }

    /// May all of these be connected to? One that may not spoils the answer: a host that names a private address
    /// beside its public ones is an attack or a misconfiguration, and connecting tries them in any order.
    pub fn check_answer(&self, addresses: &[SocketAddr]) -> Result<(), Denied> {
        if addresses.is_empty() {
            return Err(Denied::NoAddress);
        }
        addresses.iter().try_for_each(|address| self.check_addr(*address))
    }

    /// May this URL be requested? The parser has already turned every notation of a literal address (decimal, octal,
    /// hexadecimal, short, full-width digits) into the address.
    pub fn check_url(&self, url: &Url) -> Result<Endpoint, Denied> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Denied::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Denied::Userinfo);
        }
        let port = url.port_or_known_default().ok_or(Denied::Host)?;
        let host = url.host().ok_or(Denied::Host)?;
        if !self.hosts.allows(&host) {
            return Err(Denied::HostRule);
        }
        match host {
            Host::Ipv4(ip) => self.check_literal(SocketAddr::new(ip.into(), port)),
            Host::Ipv6(ip) => self.check_literal(SocketAddr::new(ip.into(), port)),
            Host::Domain(name) if name.ends_with('.') => Err(Denied::TrailingDot),
            Host::Domain(name) if name.is_empty() || name.len() > 253 => Err(Denied::Host),
            Host::Domain(_) if !self.open_ports().any(|open| open == port) => Err(Denied::Port(port)),
            Host::Domain(_) => Ok(Endpoint::Name { port }),
        }
    }

    fn check_literal(&self, address: SocketAddr) -> Result<Endpoint, Denied> {
        self.check_addr(address).map(|()| Endpoint::Address(address))
    }

    /// Every port that some address may be connected on; a port may come more than once.
    pub fn open_ports(&self) -> impl Iterator<Item = u16> {
        self.ports.iter().copied().chain(self.allow.iter().map(SocketAddr::port))
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
