use proptest::prelude::*;

use super::*;

fn url_verdict(policy: &AddressPolicy, url: &str) -> Result<Endpoint, Denied> {
    policy.check_url(&Url::parse(url)?)
}

const CLOSED: &[&str] = &[
    // IPv4, first, middle and last of each range.
    "0.0.0.0",
    "0.1.2.3",
    "0.255.255.255",
    "10.0.0.0",
    "10.1.2.3",
    "10.255.255.255",
    "100.64.0.0",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.0.0.0",
    "127.1.2.3",
    "127.255.255.255",
    "161.26.0.1",
    "161.26.255.255",
    "166.8.0.0",
    "166.11.255.255",
    "168.63.129.16",
    "169.254.0.0",
    "169.254.42.42",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.255.255",
    "172.16.0.0",
    "172.20.10.1",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.170",
    "192.0.0.192",
    "192.0.0.255",
    "192.0.2.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.175.48.42",
    "192.168.0.0",
    "192.168.1.1",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "250.1.2.3",
    "255.255.255.255",
    // IPv6.
    "::",
    "::1",
    "::2",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "64:ff9b:1:ffff::10.0.0.1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:808:808::1",
    "3ffe::1",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fdff:ffff::1",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "5f00::1",
    "4000::1",
    "8000::1",
    "2620:fe::5efe:10.0.0.1",
    "2620:fe::200:5efe:127.0.0.1",
    "1::1",
];

const OPEN: &[&str] = &[
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "161.25.255.255",
    "161.27.0.0",
    "166.7.255.255",
    "166.12.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001::1",
    "2001:4860:4860::8888",
    "2620:fe::fe",
    "2003::1",
];

#[test]
fn no_address_outside_the_public_internet_is_let_through() {
    let policy = AddressPolicy::default();
    for text in CLOSED {
        let ip: IpAddr = text.parse().unwrap();
        for port in [80, 443] {
            let verdict = policy.check_addr(SocketAddr::new(ip, port));
            assert!(matches!(verdict, Err(Denied::NotPublic { .. })), "{text}: {verdict:?}");
        }
        let host = if ip.is_ipv6() { format!("[{text}]") } else { (*text).to_owned() };
        let verdict = url_verdict(&policy, &format!("http://{host}/a.jpg"));
        assert!(matches!(verdict, Err(Denied::NotPublic { .. })), "{host}: {verdict:?}");
    }
}

#[test]
fn public_neighbours_of_closed_ranges_stay_open() {
    let policy = AddressPolicy::default();
    for text in OPEN {
        let ip: IpAddr = text.parse().unwrap();
        assert_eq!(policy.check_addr(SocketAddr::new(ip, 443)), Ok(()), "{text}");
        assert_eq!(policy.check_addr(SocketAddr::new(ip, 22)), Err(Denied::Port(22)), "{text}");
    }
}

#[test]
fn below_an_operators_nat64_prefix_the_address_inside_is_judged() {
    let prefixes = ["2a01:4f8:64::/96", "2620:fe:64::/48", "64:ff9b::/96"].map(|prefix| prefix.parse().unwrap());
    let policy = AddressPolicy { nat64_prefixes: prefixes.to_vec(), ..AddressPolicy::default() };
    let verdict = |policy: &AddressPolicy, ip: &str| policy.check_addr(SocketAddr::new(ip.parse().unwrap(), 443));
    for inside in ["2a01:4f8:64::", "64:ff9b::"] {
        for closed in ["10.0.0.1", "127.0.0.1", "169.254.169.254", "168.63.129.16", "192.168.1.1", "100.100.100.200"] {
            let refused = verdict(&policy, &format!("{inside}{closed}"));
            assert!(matches!(refused, Err(Denied::NotPublic { .. })), "{inside}{closed}: {refused:?}");
        }
        assert_eq!(verdict(&policy, &format!("{inside}8.8.8.8")), Ok(()), "{inside}");
    }
    // 10.0.0.1 and 8.8.8.8 around the ninth octet.
    assert!(verdict(&policy, "2620:fe:64:a00:0:100::").is_err());
    assert_eq!(verdict(&policy, "2620:fe:64:808:8:800::"), Ok(()));
    // What is not below one stays as it was; nobody has said that the well-known prefix leads anywhere.
    assert!(verdict(&policy, "64:ff9b:1::8.8.8.8").is_err() && verdict(&policy, "::ffff:8.8.8.8").is_err());
    assert!(verdict(&AddressPolicy::default(), "64:ff9b::8.8.8.8").is_err());
}

#[test]
fn the_cloud_metadata_address_is_denied_in_every_notation() {
    let policy = AddressPolicy::default();
    let hosts = [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0xA9.0xFE.0xA9.0xFE",
        "0251.0376.0251.0376",
        "025177524776",
        "169.254.43518",
        "169.16689662",
        "0xa9.254.0251.254",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[0:0:0:0:0:ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[fd00:ec2::254]",
        "169.254.169.254.",
        "１６９.２５４.１６９.２５４",
        "169。254。169。254",
        "%31%36%39.254.169.254",
        "169.254.169.254:80",
        "169.254.169.254:443",
    ];
    for host in hosts {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}/latest/meta-data/");
            let verdict = url_verdict(&policy, &url);
            assert!(matches!(verdict, Err(Denied::NotPublic { .. })), "{url}: {verdict:?}");
        }
    }
}

#[test]
fn loopback_is_denied_in_every_notation() {
    let policy = AddressPolicy::default();
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "0x0",
        "00",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[::ffff:7f00:1]",
        "127.0.0.1.",
        "①②⑦.⓪.⓪.①",
        "127%2e0%2e0%2e1",
        "0x7f.0x0.0x0.0x1",
        "0127.0.0.1",
    ];
    for host in hosts {
        let verdict = url_verdict(&policy, &format!("http://{host}/"));
        // 0127 is octal for 87, a public address: the only one of these that the parser must not make private.
        let expected_public = host == "0127.0.0.1";
        assert_eq!(verdict.is_ok(), expected_public, "{host}: {verdict:?}");
    }
}

#[test]
fn a_url_that_is_not_plain_http_to_a_host_on_a_web_port_is_denied() {
    let policy = AddressPolicy::default();
    let cases: &[(&str, Denied)] = &[
        ("file:///etc/passwd", Denied::Scheme),
        ("file://127.0.0.1/etc/passwd", Denied::Scheme),
        ("ftp://example.org/a", Denied::Scheme),
        ("gopher://example.org:70/_", Denied::Scheme),
        ("dict://example.org:11211/", Denied::Scheme),
        ("ldap://example.org/", Denied::Scheme),
        ("data:image/png;base64,AAAA", Denied::Scheme),
        ("javascript:alert(1)", Denied::Scheme),
        ("ws://example.org/", Denied::Scheme),
        ("blob:http://example.org/1", Denied::Scheme),
        ("unix:/var/run/docker.sock", Denied::Scheme),
        ("http://user@example.org/", Denied::Userinfo),
        ("http://user:secret@example.org/", Denied::Userinfo),
        ("http://:secret@example.org/", Denied::Userinfo),
        ("http://example.org@127.0.0.1/", Denied::Userinfo),
        ("http://127.0.0.1#@example.org/", Denied::NotPublic { ip: Ipv4Addr::LOCALHOST.into(), range: "loopback" }),
        ("http://example.org./", Denied::TrailingDot),
        ("http://localhost./", Denied::TrailingDot),
        ("http://example.org:22/", Denied::Port(22)),
        ("http://example.org:6379/", Denied::Port(6379)),
        ("https://example.org:8443/", Denied::Port(8443)),
        ("http://example.org:0/", Denied::Port(0)),
        ("http://8.8.8.8:53/", Denied::Port(53)),
        ("http://[2606:4700::1111]:9092/", Denied::Port(9092)),
    ];
    for (url, expected) in cases {
        assert_eq!(url_verdict(&policy, url).as_ref(), Err(expected), "{url}");
    }
    for url in
        ["", "example.org/a", "//example.org/a", "http://", "http://[::1", "http://1.2.3.4.5/", "http://exa mple/"]
    {
        assert!(matches!(url_verdict(&policy, url), Err(Denied::Unreadable(_))), "{url}");
    }
    assert_eq!(url_verdict(&policy, &format!("http://{}.org/", "a.".repeat(130))), Err(Denied::Host));
}

#[test]
fn ordinary_urls_are_let_through() {
    let policy = AddressPolicy::default();
    for (url, port) in [
        ("http://example.org/a.jpg", 80),
        ("HTTPS://EXAMPLE.ORG/a.jpg?x=1#y", 443),
        ("http://example.org:443/", 443),
        ("https://xn--bcher-kva.example/", 443),
        ("https://bücher.example/", 443),
    ] {
        assert_eq!(url_verdict(&policy, url), Ok(Endpoint::Name { port }), "{url}");
    }
    let literal = url_verdict(&policy, "http://0x08080808/");
    assert_eq!(literal, Ok(Endpoint::Address("8.8.8.8:80".parse().unwrap())));
}

#[test]
fn an_exception_holds_for_one_address_and_one_port() {
    let policy = AddressPolicy { allow: vec!["127.0.0.1:8081".parse().unwrap()], ..Default::default() };
    assert!(url_verdict(&policy, "http://127.0.0.1:8081/x").is_ok());
    assert!(url_verdict(&policy, "http://0x7f.1:8081/x").is_ok());
    for url in [
        "http://127.0.0.1/",
        "http://127.0.0.1:8082/",
        "http://127.0.0.2:8081/",
        "http://[::1]:8081/",
        "http://[::ffff:127.0.0.1]:8081/",
        "http://8.8.8.8:8081/",
    ] {
        assert!(url_verdict(&policy, url).is_err(), "{url}");
    }
    // A name may use the port, but only to reach the address that was listed.
    assert_eq!(url_verdict(&policy, "http://feed.example:8081/"), Ok(Endpoint::Name { port: 8081 }));
    assert!(policy.check_answer(&["127.0.0.1:8081".parse().unwrap()]).is_ok());
    assert!(policy.check_answer(&["8.8.8.8:8081".parse().unwrap()]).is_err());
}

#[test]
fn one_private_address_spoils_the_answer() {
    let policy = AddressPolicy::default();
    let answer = |list: &[&str]| {
        let list: Vec<SocketAddr> = list.iter().map(|text| text.parse().unwrap()).collect();
        policy.check_answer(&list)
    };
    assert_eq!(answer(&["8.8.8.8:80", "[2606:4700::1111]:80"]), Ok(()));
    assert!(answer(&["8.8.8.8:80", "10.0.0.1:80"]).is_err());
    assert!(answer(&["[::1]:80", "8.8.8.8:80"]).is_err());
    assert_eq!(answer(&[]), Err(Denied::NoAddress));
}

/// What the standard library knows of IPv4, as a second opinion.
fn std_says_closed(ip: Ipv4Addr) -> bool {
    ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_documentation()
        || ip.is_multicast()
        || ip.is_unspecified()
}

proptest! {
    #[test]
    fn whatever_the_standard_library_calls_special_is_closed(bits: u32, special in 0usize..CLOSED_V4.len()) {
        // Half of the draws from the special ranges, which random addresses rarely hit.
        let net = CLOSED_V4[special].0;
        let inside = Ipv4Addr::from(u32::from(net.network()) | (bits & u32::from(net.hostmask())));
        prop_assert!(check_public(inside.into()).is_err());
        let any = Ipv4Addr::from(bits);
        if std_says_closed(any) {
            prop_assert!(check_public(any.into()).is_err());
        }
    }

    #[test]
    fn no_ipv6_form_of_any_ipv4_address_is_open(bits: u32, low: u16) {
        let [a, b, c, d] = bits.to_be_bytes();
        let (high_half, low_half) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let forms = [
            Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high_half, low_half),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high_half, low_half),
            Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high_half, low_half),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high_half, low_half),
            Ipv6Addr::new(0x64, 0xff9b, 1, low, 0, 0, high_half, low_half),
            Ipv6Addr::new(0x2002, high_half, low_half, low, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0, low, low, 0, 0, !high_half, !low_half),
            Ipv6Addr::new(0x2620, 0xfe, low, 0, 0, 0x5efe, high_half, low_half),
            Ipv6Addr::new(0x2a00, low, 0, 0, 0x200, 0x5efe, high_half, low_half),
        ];
        for ip in forms {
            prop_assert!(check_public(ip.into()).is_err(), "{ip}");
        }
    }

    #[test]
    fn a_literal_is_judged_alike_in_every_notation(bits: u32) {
        let policy = AddressPolicy::default();
        let ip = Ipv4Addr::from(bits);
        let expected = policy.check_addr(SocketAddr::new(ip.into(), 80)).is_ok();
        let [a, b, c, d] = ip.octets();
        for host in [
            format!("{ip}"), format!("{bits}"), format!("{bits:#x}"), format!("0{bits:o}"), format!("{ip}."),
            format!("{a:#x}.{b}.0{c:o}.{d:#X}").replace("0X", "0x"), format!("{a}.{b}.{}", u16::from_be_bytes([c, d])),
        ] {
            prop_assert_eq!(url_verdict(&policy, &format!("http://{host}/")).is_ok(), expected, "{}", host);
        }
    }

    #[test]
    fn any_text_as_a_url_gives_a_verdict(text in ".{0,60}") {
        let policy = AddressPolicy::default();
        for url in [text.clone(), format!("http://{text}/"), format!("http://[{text}]/")] {
            if let Ok(Endpoint::Address(address)) = url_verdict(&policy, &url) {
                prop_assert!(check_public(address.ip()).is_ok());
            }
        }
    }
}
