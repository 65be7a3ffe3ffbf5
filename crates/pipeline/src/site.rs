//! On whose account a medium is fetched: its site and its network. What somebody can have for nothing (a name below his
//! own, an address beside it) makes no further one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use jtav_schemas::PostV1;
use url::{Host, Url};

use crate::log_name;

/// Bits of a network whose addresses belong together: what one customer is given at least.
const V4_BITS: u32 = 24;
const V6_BITS: u32 = 48;

/// Longest host name of DNS; what is longer is none, and nobody keeps it.
const MAX_NAME_BYTES: usize = 253;

/// On whose account the media of a post are decoded: its author's, or where it names none that of the site of its first
/// medium, or its own. A digest: whoever posts chooses the names, and their length.
pub fn account_of(post: &PostV1) -> Arc<str> {
    let urls = [&post.image, &post.audio].into_iter().flatten().map(|media| media.url.as_str());
    let digest = match (&post.author_id, urls.filter_map(site_of_url).next()) {
        (Some(author), _) => digest("author", author),
        (None, Some(site)) => digest("site", &site),
        (None, None) => digest("post", &post.id),
    };
    log_name(digest.as_bytes()).into()
}

fn digest(kind: &str, name: &str) -> blake3::Hash {
    blake3::Hasher::new().update(kind.as_bytes()).update(b" ").update(name.as_bytes()).finalize()
}

/// The site of a URL that leads to a server: see [`site_of_host`]. None for what comes from nowhere (`data:`, `file:`) or
/// is no URL.
pub fn site_of_url(url: &str) -> Option<Arc<str>> {
    if url.starts_with("data:") || url.starts_with("file:") {
        return None;
    }
    let url = Url::parse(url).ok()?;
    match url.host()? {
        Host::Domain(name) if name.len() > MAX_NAME_BYTES => None,
        Host::Domain(name) => Some(site_of_host(name)),
        Host::Ipv4(ip) => Some(network_of(ip.into())),
        Host::Ipv6(ip) => Some(network_of(ip.into())),
    }
}

/// The registrable domain of a host name by the public suffix list (`example.co.uk` for `i.img.example.co.uk`), the name
/// itself where it has none. An address stands for its network.
pub fn site_of_host(host: &str) -> Arc<str> {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => network_of(ip),
        Err(_) => psl::domain_str(host).unwrap_or(host).into(),
    }
}

/// The network of an address: /24 of IPv4, /48 of IPv6.
pub fn network_of(ip: IpAddr) -> Arc<str> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let network = Ipv4Addr::from_bits(ip.to_bits() & (u32::MAX << (u32::BITS - V4_BITS)));
            format!("{network}/{V4_BITS}").into()
        }
        IpAddr::V6(ip) => {
            let network = Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << (u128::BITS - V6_BITS)));
            format!("{network}/{V6_BITS}").into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_below_another_is_no_further_site_and_a_customer_of_a_registry_is_one() {
        for (url, site) in [
            ("http://a.example.org/x", "example.org"),
            ("https://b.c.Example.org:8443/y", "example.org"),
            ("http://img.example.co.uk/", "example.co.uk"),
            ("http://alice.github.io/", "alice.github.io"),
            ("http://localhost/", "localhost"),
            ("s3://bucket/key", "bucket"),
            ("http://192.0.2.77/", "192.0.2.0/24"),
            ("http://3221226061/", "192.0.2.0/24"),
            ("http://[2001:db8:1:2::3]/", "2001:db8:1::/48"),
            ("http://[::ffff:192.0.2.1]/", "192.0.2.0/24"),
        ] {
            assert_eq!(site_of_url(url).as_deref(), Some(site), "{url}");
        }
        for url in ["", "data:image/png;base64,AA", "file:///a", "/relative", "http://"] {
            assert_eq!(site_of_url(url), None, "{url}");
        }
        assert_eq!(site_of_url(&format!("http://{}.example/", "a".repeat(300))), None);
    }

    #[test]
    fn media_are_on_the_account_of_the_author_else_of_the_site_else_of_the_post() {
        let post = |author: Option<&str>, url: Option<&str>, id: &str| {
            let media = url.map(|url| serde_json::json!({ "url": url }));
            let post = serde_json::json!({ "id": id, "author_id": author, "texts": [], "image": media });
            account_of(&serde_json::from_value(post).unwrap())
        };
        let (a, b) = (Some("http://a.example/1"), Some("http://b.example/1"));
        assert_eq!(post(Some("x"), a, "1"), post(Some("x"), b, "2"));
        assert_ne!(post(Some("x"), a, "1"), post(Some("y"), a, "1"));
        assert_eq!(post(None, a, "1"), post(None, Some("http://i.a.example/2"), "2"));
        assert_ne!(post(None, a, "1"), post(Some("a.example"), a, "1"), "an author is no site");
        assert_ne!(post(None, None, "1"), post(None, None, "2"));
        assert_eq!(post(Some(&"x".repeat(100_000)), a, "1").len(), 16);
    }
}
