//! Lookups against name servers that are slow, silent, talkative or liars.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use jtav_media::{Dns, Lookup};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

/// What a server does with a question for a name.
#[derive(Clone)]
enum Does {
    Nothing,
    /// Records (type, TTL, data) and flags, after a pause.
    Answer(Vec<(u16, u32, Vec<u8>)>, [u8; 2], Duration),
    /// First an answer that is not to the question.
    LieFirst,
    /// "Truncated" over UDP, so many addresses over TCP.
    OverTcp(usize),
}

const GOOD: [u8; 2] = [0x81, 0x80];
const NO_NAME: [u8; 2] = [0x81, 0x83];

fn addresses(count: usize, ttl_s: u32) -> Does {
    let records = (0..count).map(|at| (1, ttl_s, vec![9, 9, (at >> 8) as u8, at as u8])).collect();
    Does::Answer(records, GOOD, Duration::ZERO)
}

fn reply(question: &[u8], flags: [u8; 2], records: &[(u16, u32, Vec<u8>)]) -> Vec<u8> {
    let kind = u16::from_be_bytes([question[question.len() - 4], question[question.len() - 3]]);
    // An alias belongs to either family, an address to its own.
    let records: Vec<_> = records.iter().filter(|record| record.0 == 5 || record.0 == kind).collect();
    let mut bytes = question.to_vec();
    bytes[2..4].copy_from_slice(&flags);
    bytes[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    for (kind, ttl_s, data) in records {
        bytes.extend([0xc0, 12]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(ttl_s.to_be_bytes());
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
    }
    bytes
}

/// The name that a question asks for.
fn name(question: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut at = 12;
    while question[at] != 0 {
        let len = usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..at + 1 + len]).into_owned());
        at += 1 + len;
    }
    labels.join(".")
}

/// A port that is free for both: the system gives one that is free for the first, and a neighbour may have the other.
async fn free_port() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for UDP and TCP");
}

/// A name server; with the number of questions so far.
async fn serve(does: impl Fn(&str) -> Does + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let (udp, tcp) = free_port().await;
    let (udp, address) = (Arc::new(udp), tcp.local_addr().unwrap());
    let questions = Arc::new(AtomicUsize::new(0));
    let (counter, does) = (questions.clone(), Arc::new(does));
    let over_tcp = does.clone();
    tokio::spawn(async move {
        let mut bytes = [0; 1024];
        while let Ok((len, from)) = udp.recv_from(&mut bytes).await {
            counter.fetch_add(1, SeqCst);
            let (question, udp, does) = (bytes[..len].to_vec(), udp.clone(), does(&name(&bytes[..len])));
            tokio::spawn(async move {
                let send = async |bytes: Vec<u8>| drop(udp.send_to(&bytes, from).await);
                match does {
                    Does::Nothing => {}
                    Does::Answer(records, flags, pause) => {
                        tokio::time::sleep(pause).await;
                        send(reply(&question, flags, &records)).await;
                    }
                    Does::LieFirst => {
                        let mut other = question.clone();
                        other[0] ^= 0xff;
                        send(reply(&other, GOOD, &[(1, 60, vec![6, 6, 6, 6])])).await;
                        send(b"nonsense".to_vec()).await;
                        send(reply(&question, GOOD, &[(1, 60, vec![9, 9, 9, 9])])).await;
                    }
                    Does::OverTcp(_) => send(reply(&question, [0x83, 0x80], &[])).await,
                }
            });
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut question).await.unwrap();
            let Does::OverTcp(count) = over_tcp(&name(&question)) else { continue };
            let Does::Answer(records, flags, _) = addresses(count, 60) else { continue };
            let bytes = reply(&question, flags, &records);
            stream.write_all(&(bytes.len() as u16).to_be_bytes()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        }
    });
    (address, questions)
}

async fn lookup(dns: &Dns, name: &str) -> io::Result<Vec<SocketAddr>> {
    dns.lookup(name.to_owned(), 443).await
}

fn kind<T>(result: io::Result<T>) -> Option<io::ErrorKind> {
    result.err().map(|error| error.kind())
}

const DEADLINE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn names_that_hang_delay_themselves_alone() {
    let (server, _) = serve(|name| if name.starts_with("hang") { Does::Nothing } else { addresses(1, 60) }).await;
    let dns = Dns::at(vec![server], DEADLINE);
    let hanging: Vec<_> = (0..300)
        .map(|at| {
            let dns = dns.clone();
            tokio::spawn(async move {
                let started = Instant::now();
                (kind(lookup(&dns, &format!("hang{at}.example")).await), started.elapsed())
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    for at in 0..20 {
        let found = lookup(&dns, &format!("good{at}.example")).await;
        assert_eq!(found.unwrap(), ["9.9.0.0:443".parse().unwrap()], "{at}");
    }
    for one in hanging {
        let (kind, took) = one.await.unwrap();
        assert_eq!(kind, Some(io::ErrorKind::TimedOut));
        assert!(took < DEADLINE + Duration::from_secs(3), "{took:?}");
    }
    assert!(lookup(&dns, "afterwards.example").await.is_ok(), "every place was given back");
}

#[tokio::test]
async fn a_lookup_that_is_dropped_gives_its_place_back() {
    let (server, _) = serve(|name| if name.starts_with("hang") { Does::Nothing } else { addresses(1, 60) }).await;
    let dns = Dns::at(vec![server], Duration::from_secs(60));
    for round in 0..3 {
        let all = futures::future::join_all((0..40).map(|at| dns.lookup(format!("hang{at}.example"), 443)));
        assert!(tokio::time::timeout(Duration::from_millis(100), all).await.is_err(), "round {round}");
    }
    let started = Instant::now();
    assert!(lookup(&dns, "good.example").await.is_ok());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn huge_answers_circles_and_lies_are_bounded() {
    let circle = Does::Answer(vec![(5, 600, vec![0xc0, 12]); 30], GOOD, Duration::ZERO);
    let (server, questions) = serve(move |name| match name {
        "huge.example" => Does::OverTcp(4_000),
        "circle.example" => circle.clone(),
        "lie.example" => Does::LieFirst,
        "gone.example" => Does::Answer(Vec::new(), NO_NAME, Duration::ZERO),
        _ => Does::Answer(Vec::new(), GOOD, Duration::ZERO),
    })
    .await;
    let dns = Dns::at(vec![server], DEADLINE);
    let huge = lookup(&dns, "huge.example").await.unwrap();
    assert!((1..=32).contains(&huge.len()), "{}", huge.len());
    assert_eq!(lookup(&dns, "lie.example").await.unwrap(), ["9.9.9.9:443".parse().unwrap()]);
    let before = questions.load(SeqCst);
    for name in ["circle.example", "gone.example", "empty.example", "a..example", &"x".repeat(64)] {
        assert_eq!(kind(lookup(&dns, name).await), Some(io::ErrorKind::NotFound), "{name}");
    }
    assert!(questions.load(SeqCst) - before <= 6, "each of them is asked for once, in two families");
}

#[tokio::test]
async fn an_answer_holds_as_long_as_it_says() {
    let (server, questions) = serve(|name| match name {
        "long.example" => addresses(1, 3_600),
        "short.example" => addresses(1, 1),
        _ => addresses(1, 0),
    })
    .await;
    let dns = Dns::at(vec![server], DEADLINE);
    let asked = async |name: &str| {
        let before = questions.load(SeqCst);
        assert!(lookup(&dns, name).await.is_ok());
        questions.load(SeqCst) - before
    };
    for (name, again, later) in [("Long.example", 0, 0), ("short.example", 0, 2), ("never.example", 2, 2)] {
        assert_eq!(asked(name).await, 2, "{name}: both families");
        assert_eq!(asked(&name.to_ascii_lowercase()).await, again, "{name}");
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(asked(name).await, later, "{name}");
    }
}

#[tokio::test]
async fn a_dead_server_is_passed_by_and_then_no_longer_asked_first() {
    let (dead, questions) = serve(|_| Does::Nothing).await;
    let (good, _) = serve(|_| addresses(1, 0)).await;
    let dns = Dns::at(vec![dead, good], Duration::from_secs(5));
    assert!(lookup(&dns, "first.example").await.is_ok());
    let before = questions.load(SeqCst);
    for at in 0..10 {
        assert!(lookup(&dns, &format!("n{at}.example")).await.is_ok());
    }
    assert_eq!(questions.load(SeqCst), before);
}

#[tokio::test]
async fn addresses_of_one_family_do_not_wait_long_for_the_other() {
    // Never an answer to a question for AAAA.
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = udp.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = [0; 1024];
        while let Ok((len, from)) = udp.recv_from(&mut bytes).await {
            let question = &bytes[..len];
            if question[len - 3] == 1 {
                drop(udp.send_to(&reply(question, GOOD, &[(1, 60, vec![9, 9, 9, 9])]), from).await);
            }
        }
    });
    let started = Instant::now();
    assert!(lookup(&Dns::at(vec![server], Duration::from_secs(20)), "a.example").await.is_ok());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn this_machine_is_known_without_asking() {
    let (server, questions) = serve(|_| Does::Nothing).await;
    let dns = Dns::at(vec![server], DEADLINE);
    for name in ["localhost", "LOCALHOST", "a.localhost"] {
        let found = lookup(&dns, name).await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()), "{name}");
        assert!(found.iter().map(SocketAddr::ip).any(|ip| matches!(ip, IpAddr::V4(_))), "{name}");
    }
    assert_eq!(questions.load(SeqCst), 0);
}
