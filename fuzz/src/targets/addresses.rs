//! The address policy against a second opinion, worded another way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jtav_media::{AddressPolicy, Endpoint, check_public};
use url::Url;

/// The bytes as a URL, and their first four and sixteen as addresses.
pub fn url_policy(bytes: &[u8]) {
    if let Some(four) = bytes.first_chunk::<4>() {
        check_address(Ipv4Addr::from(*four).into());
    }
    if let Some(sixteen) = bytes.first_chunk::<16>() {
        check_address(Ipv6Addr::from(*sixteen).into());
    }
    let Ok(url) = Url::parse(&String::from_utf8_lossy(bytes)) else { return };
    let policy = AddressPolicy::default();
    let verdict = policy.check_url(&url);
    let again = Url::parse(url.as_str()).expect("Invariant: a URL that was written out can be read");
    assert_eq!(policy.check_url(&again), verdict, "the same URL, written out and read again: {url}");
    let Ok(endpoint) = verdict else { return };
    assert!(matches!(url.scheme(), "http" | "https"), "{url}");
    assert!(url.username().is_empty() && url.password().is_none(), "{url}");
    assert!(matches!(endpoint.port(), 80 | 443), "{url}");
    assert!(url.host_str().is_some_and(|host| !host.is_empty() && !host.ends_with('.')), "{url}");
    match endpoint {
        Endpoint::Address(address) => assert!(is_public(address.ip()), "{url} leads to {address}"),
        Endpoint::Name { .. } => assert!(url.domain().is_some(), "{url} is taken for a name"),
    }
}

fn check_address(ip: IpAddr) {
    if check_public(ip).is_ok() {
        assert!(is_public(ip), "{ip} passes");
    }
}

/// Not where anything private, local, special or tunnelled lives: what must never be passed, by the standard library's
/// words and by prefixes. Stricter or not in what may be passed is the policy's business.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let special = v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_unspecified()
                || v4.is_multicast();
            !(special || a == 0 || a >= 240 || (a == 100 && b & 0xc0 == 64) || (a == 198 && b & 0xfe == 18))
        }
        IpAddr::V6(v6) => {
            let [a, b, .., g, h] = v6.segments();
            let embedded = Ipv4Addr::from((u32::from(g) << 16) | u32::from(h));
            let mapped = v6.to_ipv4_mapped().is_some() || v6.to_ipv4().is_some();
            let tunnel = a == 0x2002 || (a == 0x2001 && b == 0) || (a == 0x64 && b == 0xff9b);
            // RFC 5214 6.1: nothing but these two stands before 5efe.
            let isatap = v6.segments()[5] == 0x5efe && matches!(v6.segments()[4], 0 | 0x0200);
            let isatap = isatap && !is_public(embedded.into());
            let local = v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || a & 0xfe00 == 0xfc00;
            let documentation = a == 0x2001 && b == 0x0db8;
            !(mapped || tunnel || isatap || local || documentation || a & 0xffc0 == 0xfe80) && a & 0xe000 == 0x2000
        }
    }
}
