//! An operator's own prefixes for IPv4 behind IPv6 (NAT64, RFC 6052). Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::Ipv6Net;

/// A prefix whose addresses lead on to the IPv4 address that they carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nat64Prefix(Ipv6Net);

/// Text that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no NAT64 prefix: an IPv6 network of 32, 40, 48, 56, 64 or 96 bits")]
pub struct ParseNat64PrefixError(String);

impl ParseNat64PrefixError {
    /// The text stays what it is.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

impl FromStr for Nat64Prefix {
    type Err = ParseNat64PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let net = text.trim().parse::<Ipv6Net>().ok().filter(|net| net.trunc() == *net);
        let net = net.filter(|net| matches!(net.prefix_len(), 32 | 40 | 48 | 56 | 64 | 96));
        net.map(Self).ok_or_else(|| ParseNat64PrefixError(text.to_owned()))
    }
}

impl Nat64Prefix {
    /// The IPv4 address that `ip` leads to; none where it is not below this prefix.
    pub(crate) fn carried(&self, ip: IpAddr) -> Option<Ipv4Addr> {
        let IpAddr::V6(ip) = ip else { return None };
        self.0.contains(&ip).then(|| embedded(ip, self.0.prefix_len()))
    }
}

/// RFC 6052 2.2: the four octets behind the prefix, the ninth octet of the address left out.
fn embedded(ip: Ipv6Addr, prefix_bits: u8) -> Ipv4Addr {
    let octets = ip.octets();
    let first = usize::from(prefix_bits / 8);
    let mut carried = [0; 4];
    let places = (first..16).filter(|at| prefix_bits == 96 || *at != 8);
    for (octet, at) in carried.iter_mut().zip(places) {
        *octet = octets[at];
    }
    Ipv4Addr::from(carried)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_6052_carry_their_address() {
        for (prefix, address) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
        ] {
            let parsed: Nat64Prefix = prefix.parse().unwrap();
            assert_eq!(parsed.carried(address.parse().unwrap()), Some([192, 0, 2, 33].into()), "{prefix}");
            assert_eq!(parsed.carried("2606:4700::1111".parse().unwrap()), None);
        }
    }

    #[test]
    fn other_lengths_and_addresses_inside_a_network_are_no_prefix() {
        for text in ["2001:db8::/33", "2001:db8::/128", "2001:db8::1/96", "10.0.0.0/8", "2001:db8::", ""] {
            assert!(text.parse::<Nat64Prefix>().is_err(), "{text}");
        }
    }
}
