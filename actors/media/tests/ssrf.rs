//! What strangers put into URLs to make us ask what only we can reach. Each vector comes as a URL, as the target of a
//! redirect and, for addresses, as an answer of DNS; a canary listens on this machine's addresses, on a port that the
//! policy opens, and must see nobody.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jtav_media::{AddressPolicy, FetchLimits, FetchParams, Fetcher, Lookup};
use jtav_pipeline::FetchRequest;
use jtav_schemas::{AbsentReason, MediaRef, Modality};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Addresses that are not public: first, last and some between of every range of the registries, and every IPv6 form
/// that carries an IPv4 address.
const ADDRESSES: &[&str] = &[
    "0.0.0.0",
    "0.0.0.1",
    "0.1.2.3",
    "0.255.255.255",
    "10.0.0.0",
    "10.0.0.1",
    "10.10.10.10",
    "10.255.255.255",
    "100.64.0.0",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.0",
    "127.0.0.1",
    "127.0.0.53",
    "127.1.2.3",
    "127.127.127.127",
    "127.255.255.254",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.169.123",
    "169.254.169.253",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.255.255",
    "172.16.0.0",
    "172.16.0.1",
    "172.17.0.1",
    "172.18.0.1",
    "172.20.10.1",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.8",
    "192.0.0.9",
    "192.0.0.170",
    "192.0.0.171",
    "192.0.0.192",
    "192.0.0.255",
    "192.0.2.0",
    "192.0.2.1",
    "192.0.2.255",
    "192.88.99.0",
    "192.88.99.1",
    "192.88.99.255",
    "192.168.0.0",
    "192.168.0.1",
    "192.168.1.1",
    "192.168.49.1",
    "192.168.65.2",
    "192.168.99.100",
    "192.168.255.255",
    "198.18.0.0",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.0",
    "198.51.100.7",
    "198.51.100.255",
    "203.0.113.0",
    "203.0.113.7",
    "203.0.113.255",
    "224.0.0.0",
    "224.0.0.1",
    "224.0.0.251",
    "232.1.2.3",
    "233.252.0.1",
    "239.255.255.250",
    "239.255.255.255",
    "240.0.0.0",
    "240.0.0.1",
    "250.1.2.3",
    "255.255.255.254",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::ffff",
    "::127.0.0.1",
    "::10.0.0.1",
    "::8.8.8.8",
    "::169.254.169.254",
    "::ffff:0.0.0.0",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:172.16.0.1",
    "::ffff:192.168.1.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "::ffff:0:169.254.169.254",
    "64:ff9b::",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "64:ff9b:1::127.0.0.1",
    "64:ff9b:1:ffff::10.0.0.1",
    "64:ff9b:2::1",
    "100::",
    "100::1",
    "100:0:0:1::1",
    "2001::",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:0:7f00:1::",
    "2001:2::1",
    "2001:3::1",
    "2001:4:112::1",
    "2001:10::1",
    "2001:20::1",
    "2001:30::1",
    "2001:1ff:ffff::1",
    "2001:db8::",
    "2001:db8::1",
    "2001:db8:ffff::1",
    "2002::",
    "2002:7f00:1::",
    "2002:7f00:1::1",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::1",
    "2002:c0a8:101::1",
    "2002:808:808::1",
    "3ffe::1",
    "3fff::1",
    "3fff:fff::1",
    "4000::1",
    "5f00::1",
    "6000::1",
    "8000::1",
    "a000::1",
    "c000::1",
    "e000::1",
    "f000::1",
    "f800::1",
    "fc00::",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fdff:ffff::1",
    "fe00::1",
    "fe80::",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "fe80::5efe:127.0.0.1",
    "febf::1",
    "fec0::1",
    "feff::1",
    "ff00::1",
    "ff01::1",
    "ff02::1",
    "ff02::2",
    "ff02::fb",
    "ff05::1:3",
    "ff0e::1",
    "2620:fe::5efe:10.0.0.1",
    "2620:fe::200:5efe:127.0.0.1",
    "2a00:1450::5efe:192.168.0.1",
    "2606:4700:0:0:200:5efe:169.254.169.254",
    "1::1",
];

/// Hosts that are written so that somebody who compares text does not know them; `P` is the canary's port.
const DISGUISES: &[&str] = &[
    "http://127.1:P/",
    "http://127.0.1:P/",
    "http://2130706433:P/",
    "http://0x7f000001:P/",
    "http://0x7f.1:P/",
    "http://0x7f.0x0.0x0.0x1:P/",
    "http://017700000001:P/",
    "http://0177.0.0.1:P/",
    "http://0177.0.0.01:P/",
    "http://0X7F.0.0.1:P/",
    "http://00000177.0.0.1:P/",
    "http://127.0.0.1.:P/",
    "http://127.000.000.001:P/",
    "http://0:P/",
    "http://0x0:P/",
    "http://00:P/",
    "http://0.0:P/",
    "http://0.0.0:P/",
    "http://0.:P/",
    "http://[::]:P/",
    "http://[::1]:P/",
    "http://[0:0:0:0:0:0:0:1]:P/",
    "http://[0000::0001]:P/",
    "http://[::0]:P/",
    "http://[::ffff:7f00:1]:P/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:P/",
    "http://[::FFFF:127.0.0.1]:P/",
    "http://[::ffff:0x7f.1]:P/",
    "http://[::1%25lo]:P/",
    "http://[fe80::1%25eth0]:P/",
    "http://[::127.1]:P/",
    "http://①②⑦.⓪.⓪.①:P/",
    "http://１２７.０.０.１:P/",
    "http://127。0。0。1:P/",
    "http://127．0．0．1:P/",
    "http://127｡0｡0｡1:P/",
    "http://127%2e0%2e0%2e1:P/",
    "http://%31%32%37.0.0.1:P/",
    "http://%5b::1%5d:P/",
    "http://127.0.0.1%00.example.org:P/",
    "http://127.0.0.1%0a.example.org:P/",
    "http://127.0.0.1%20:P/",
    "http://\t127.0.0.1:P/",
    "http://127.0.0.1\n:P/",
    "http:127.0.0.1:P/",
    "http:/127.0.0.1:P/",
    "http:///127.0.0.1:P/",
    "http:\\\\127.0.0.1:P\\",
    "http://\\127.0.0.1:P/",
    " http://127.0.0.1:P/",
    "HtTp://127.0.0.1:P/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://025177524776/",
    "http://169.254.43518/",
    "http://169.16689662/",
    "http://0xa9.254.0251.254/",
    "http://0251.0376.0251.0376/",
    "http://169。254。169。254/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://3232235777/",
    "http://0xc0a80101/",
    "http://0300.0250.1.1/",
    "http://167772161/",
    "http://user@127.0.0.1:P/",
    "http://user:secret@127.0.0.1:P/",
    "http://example.org@127.0.0.1:P/",
    "http://example.org:80@127.0.0.1:P/",
    "http://127.0.0.1:P@example.org/",
    "http://example.org#@127.0.0.1:P/@",
    "http://127.0.0.1:P#@example.org/",
    "http://127.0.0.1:P?@example.org/",
    "http://127.0.0.1:P\\@example.org/",
    "http://example.org\\@127.0.0.1:P/",
    "http://@127.0.0.1:P/",
    "http://:@127.0.0.1:P/",
    "https://127.0.0.1:P/",
    "https://[::1]:P/",
    "https://2130706433:P/",
    "https://localhost.:P/",
    "http://localhost.:P/",
    "ftp://127.0.0.1:P/",
    "ftps://127.0.0.1:P/",
    "sftp://127.0.0.1:P/",
    "tftp://127.0.0.1:P/",
    "gopher://127.0.0.1:P/_x",
    "dict://127.0.0.1:P/x",
    "ldap://127.0.0.1:P/",
    "ldaps://127.0.0.1:P/",
    "telnet://127.0.0.1:P/",
    "ws://127.0.0.1:P/",
    "wss://127.0.0.1:P/",
    "redis://127.0.0.1:P/",
    "smb://127.0.0.1:P/x",
    "ssh://127.0.0.1:P/",
    "git://127.0.0.1:P/x",
    "rtsp://127.0.0.1:P/",
    "rtmp://127.0.0.1:P/",
    "imap://127.0.0.1:P/",
    "smtp://127.0.0.1:P/",
    "pop3://127.0.0.1:P/",
    "mqtt://127.0.0.1:P/",
    "jar:http://127.0.0.1:P/!/x",
    "netdoc:///etc/passwd",
    "view-source:http://127.0.0.1:P/",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "FILE:///etc/passwd",
    "data:image/png;base64,AAAA",
    "data:,x",
    "javascript:alert(1)",
    "blob:http://127.0.0.1:P/1",
    "about:blank",
    "unix:/var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
    "php://filter/resource=/etc/passwd",
    "expect://id",
    "s3://bucket/key",
    "gs://bucket/key",
    "ipfs://x/y",
    "//127.0.0.1:P/",
    "127.0.0.1:P/x",
    "",
    "http://",
    "http://:P/",
    "http://[::1:P/",
    "http://[]:P/",
    "http://1.2.3.4.5:P/",
    "http://256.256.256.256:P/",
    "http://0x100000000:P/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:-1/",
    "http://8.8.8.8:22/",
    "http://8.8.8.8:25/",
    "http://8.8.8.8:6379/",
    "http://8.8.8.8:9200/",
    "http://8.8.8.8:0/",
    "http://[2606:4700::1111]:11211/",
];

/// Answers of DNS that must not be connected to although a public address is among them, in either order.
const MIXED: &[&[&str]] = &[
    &["8.8.8.8", "127.0.0.1"],
    &["127.0.0.1", "8.8.8.8"],
    &["8.8.8.8", "::1"],
    &["2606:4700::1111", "10.0.0.1"],
    &["2606:4700::1111", "::ffff:127.0.0.1"],
    &["8.8.8.8", "1.1.1.1", "169.254.169.254"],
    &["64:ff9b::127.0.0.1", "8.8.8.8"],
    &["8.8.8.8", "fd00:ec2::254"],
    &[],
];

/// Listens on every address of this machine, IPv4 and IPv6.
async fn canary() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let visits = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&visits);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {}
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx").await;
        }
    });
    (port, visits)
}

/// A server that redirects `/?URL` to URL, byte for byte.
async fn redirector() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {}
                let query = head.split(|byte| *byte == b'?').nth(1).unwrap_or_default();
                let hex: Vec<u8> = query.iter().copied().take_while(u8::is_ascii_hexdigit).collect();
                let to = hex::decode(hex).unwrap_or_default();
                let mut answer = b"HTTP/1.1 302 Found\r\nconnection: close\r\ncontent-length: 0\r\nlocation: ".to_vec();
                answer.extend(to.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')));
                answer.extend(b"\r\n\r\n");
                let _ = stream.write_all(&answer).await;
            });
        }
    });
    address
}

/// Every name resolves to these.
struct Answers(Vec<IpAddr>);

impl Lookup for Answers {
    fn lookup(&self, _: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let answer = self.0.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        Box::pin(async move { Ok(answer) })
    }
}

fn params(allow: Vec<SocketAddr>, canary_port: u16) -> FetchParams {
    FetchParams {
        // Open for public addresses, so that only the address can be what refuses.
        policy: AddressPolicy { allow, ports: vec![80, 443, canary_port], ..AddressPolicy::default() },
        limits: FetchLimits {
            connect_timeout: Duration::from_millis(500),
            total_timeout: Duration::from_secs(2),
            max_attempts: 1,
            ..FetchLimits::for_tests()
        },
        ..FetchParams::for_tests()
    }
}

async fn verdict(fetcher: &Fetcher, url: String) -> Option<AbsentReason> {
    let media = MediaRef { url, media_type: None, sha256: None, bytes: None };
    let deadline = Instant::now() + Duration::from_secs(5);
    fetcher.fetch(FetchRequest { modality: Modality::Image, media, deadline }).await.err()
}

fn literal(ip: &str) -> String {
    if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() }
}

/// Every vector as a URL.
fn urls(canary_port: u16) -> Vec<String> {
    let literals = ADDRESSES.iter().flat_map(|ip| {
        let host = literal(ip);
        [format!("http://{host}:{canary_port}/"), format!("https://{host}/latest/meta-data")]
    });
    let disguises = DISGUISES.iter().map(|url| url.replace(":P", &format!(":{canary_port}")));
    literals.chain(disguises).collect()
}

#[tokio::test]
async fn the_canary_sings_when_it_is_visited() {
    let (port, visits) = canary().await;
    for ip in ["127.0.0.1", "::1"] {
        let address = SocketAddr::new(ip.parse().unwrap(), port);
        let fetcher = Fetcher::new(params(vec![address], port)).unwrap();
        assert_eq!(verdict(&fetcher, format!("http://{}:{port}/", literal(ip))).await, None);
    }
    assert_eq!(visits.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn no_url_of_three_hundred_reaches_the_canary() {
    let (port, visits) = canary().await;
    // A name that slips through, "localhost" under some disguise, finds the canary.
    let lookup = Arc::new(Answers(vec!["127.0.0.1".parse().unwrap()]));
    let fetcher = Fetcher::with_lookup(params(Vec::new(), port), lookup).unwrap();
    let urls = urls(port);
    assert!(urls.len() >= 300, "{}", urls.len());
    for url in urls {
        assert_eq!(verdict(&fetcher, url.clone()).await, Some(AbsentReason::FetchDenied), "{url:?}");
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn no_redirect_to_three_hundred_urls_reaches_the_canary() {
    let ((port, visits), server) = (canary().await, redirector().await);
    let lookup = Arc::new(Answers(vec!["127.0.0.1".parse().unwrap()]));
    let fetcher = Fetcher::with_lookup(params(vec![server], port), lookup).unwrap();
    for to in urls(port) {
        let url = format!("http://{server}/?{}", hex::encode(&to));
        let verdict = verdict(&fetcher, url).await;
        // A header that is not ASCII is no address at all. A target without a scheme is a path of the redirecting server itself, which redirects to nothing then.
        assert!(verdict.is_some(), "{to:?}");
        if to.is_ascii() && to.contains("://") && !to.starts_with([' ', '\t']) && !to.ends_with("//") {
            assert_eq!(verdict, Some(AbsentReason::FetchDenied), "{to:?}");
        }
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn no_answer_of_dns_reaches_the_canary() {
    let (port, visits) = canary().await;
    let alone = ADDRESSES.iter().map(|ip| vec![*ip]);
    for answer in alone.chain(MIXED.iter().map(|answer| answer.to_vec())) {
        let lookup = Arc::new(Answers(answer.iter().map(|ip| ip.parse().unwrap()).collect()));
        let fetcher = Fetcher::with_lookup(params(Vec::new(), port), lookup).unwrap();
        for url in [format!("http://media.example:{port}/a.jpg"), "https://media.example/a.jpg".to_owned()] {
            assert_eq!(verdict(&fetcher, url).await, Some(AbsentReason::FetchDenied), "{answer:?}");
        }
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0);
}
