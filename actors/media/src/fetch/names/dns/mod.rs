//! The addresses of a name, asked for without a thread: a lookup ends with whoever wants it, at its deadline at the latest.
//!
//! `getaddrinfo` can be neither cancelled nor bounded, and its threads are those that hash and read files, too. Here a name
//! that hangs delays itself: a lookup that takes long leaves its place to others, and there are only so many places.
//!
//! Our own and not `hickory-resolver`: that one bounds what it remembers by messages and not by bytes (ADR 25).

mod files;
mod message;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, Either, select};
use jtav_telemetry::{LookupResult, Metric};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::files::Files;
use self::message::{Family, Reply, question, read};
use super::lookup::Lookup;

/// Lookups that may be young at once, and as many that have taken long.
const PLACES: usize = 32;
/// A lookup that takes longer leaves its place to one that waits.
const YOUNG: Duration = Duration::from_millis(400);
/// For the answer of one server; a lost packet costs as much.
const ONE_SERVER: Duration = Duration::from_secs(1);
/// Times that every server is asked.
const ROUNDS: usize = 2;
/// For the addresses of one family when those of the other are there.
const OTHER_FAMILY: Duration = Duration::from_millis(150);
/// Names whose addresses are remembered; a few megabytes at most.
const MAX_REMEMBERED: usize = 4096;
/// Nothing is remembered for longer, whatever a server says.
const MAX_REMEMBERED_FOR: Duration = Duration::from_secs(3600);
/// Of an answer over UDP: 512 are allowed, some servers send more.
const MAX_DATAGRAM_BYTES: usize = 4096;

/// Asks the servers of this machine, or those that it is told. Cheap to clone; all clones share places and memory.
#[derive(Clone)]
pub struct Dns(Arc<Inner>);

struct Inner {
    /// None: those that the files name.
    servers: Option<Vec<SocketAddr>>,
    files: Mutex<Files>,
    deadline: Duration,
    /// Of the servers, the one that answered last: a dead one must not cost every lookup its time.
    good: AtomicUsize,
    young: Semaphore,
    old: Semaphore,
    remembered: Mutex<HashMap<String, Remembered>>,
}

struct Remembered {
    addresses: Vec<IpAddr>,
    until: Instant,
}

impl Dns {
    /// The servers of `/etc/resolv.conf`, after `/etc/hosts`. Names are whole: search lists do not count. A lookup takes
    /// `deadline` at most, waiting included.
    pub fn system(deadline: Duration) -> Self {
        Self::new(None, deadline)
    }

    /// Servers of the caller's, asked in turn.
    pub fn at(servers: Vec<SocketAddr>, deadline: Duration) -> Self {
        Self::new(Some(servers), deadline)
    }

    fn new(servers: Option<Vec<SocketAddr>>, deadline: Duration) -> Self {
        Self(Arc::new(Inner {
            servers,
            files: Mutex::new(Files::read()),
            deadline,
            good: AtomicUsize::new(0),
            young: Semaphore::new(PLACES),
            old: Semaphore::new(PLACES),
            remembered: Mutex::default(),
        }))
    }
}

impl Lookup for Dns {
    fn lookup(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = inner.addresses(&host.to_ascii_lowercase()).await?;
            Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
        })
    }
}

impl Inner {
    /// Of a name in lower case. Dropping the future ends the lookup.
    ///
    /// # Errors
    /// `TimedOut`; `NotFound` where the name has no address; what the network says.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let count = |result| Metric::media_lookups(result).inc();
        if let Some(known) = self.known(name) {
            count(LookupResult::Known);
            return Ok(known);
        }
        let found = timeout(self.deadline, self.in_turn(self.ask(name))).await;
        let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let found = found.and_then(
            |(addresses, ttl)| {
                if addresses.is_empty() { Err(no_address()) } else { Ok((addresses, ttl)) }
            },
        );
        count(match &found {
            Ok(_) => LookupResult::Ok,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => LookupResult::NoAddress,
                io::ErrorKind::TimedOut => LookupResult::Timeout,
                _ => LookupResult::Error,
            },
        });
        let (addresses, ttl) = found?;
        self.remember(name, &addresses, ttl);
        Ok(addresses)
    }

    fn known(&self, name: &str) -> Option<Vec<IpAddr>> {
        // RFC 6761 6.3: nobody is asked for these.
        if name == "localhost" || name.ends_with(".localhost") {
            return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let mut files = lock(&self.files);
        files.refresh();
        if let Some(addresses) = files.addresses(name) {
            return Some(addresses.to_vec());
        }
        drop(files);
        let remembered = lock(&self.remembered);
        let remembered = remembered.get(name).filter(|remembered| remembered.until > Instant::now())?;
        Some(remembered.addresses.clone())
    }

    fn remember(&self, name: &str, addresses: &[IpAddr], ttl: Duration) {
        if ttl.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut remembered = lock(&self.remembered);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.retain(|_, entry| entry.until > now);
        }
        if remembered.len() >= MAX_REMEMBERED {
            // Any half: order costs more than a lookup does.
            let mut keep = false;
            remembered.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        let until = now + ttl.min(MAX_REMEMBERED_FOR);
        remembered.insert(name.to_owned(), Remembered { addresses: addresses.to_vec(), until });
    }

    /// Runs a lookup in a place for young ones, and from its age on in one for old ones if there is any.
    async fn in_turn<T>(&self, lookup: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let gone = |_| io::Error::other("Invariant: these semaphores are never closed");
        let place = self.young.acquire().await.map_err(gone)?;
        tokio::pin!(lookup);
        if let Ok(done) = timeout(YOUNG, &mut lookup).await {
            return done;
        }
        let Ok(_place) = self.old.try_acquire() else { return Err(io::ErrorKind::TimedOut.into()) };
        drop(place);
        lookup.await
    }

    /// Both families at once; who is ready waits a moment for the other.
    async fn ask(&self, name: &str) -> io::Result<(Vec<IpAddr>, Duration)> {
        let servers = match &self.servers {
            Some(servers) => servers.clone(),
            None => lock(&self.files).servers().to_vec(),
        };
        let (v4, v6) = (self.one_family(&servers, name, Family::V4), self.one_family(&servers, name, Family::V6));
        tokio::pin!(v4, v6);
        let (first, second) = match select(v4, v6).await {
            Either::Left((first, other)) => (first, Either::Left(other)),
            Either::Right((first, other)) => (first, Either::Right(other)),
        };
        let has_some = first.as_ref().is_ok_and(|(addresses, _)| !addresses.is_empty());
        let second = if has_some {
            timeout(OTHER_FAMILY, second).await.unwrap_or_else(|_| Ok((Vec::new(), Duration::MAX)))
        } else {
            second.await
        };
        both(first, second)
    }

    async fn one_family(&self, servers: &[SocketAddr], name: &str, family: Family) -> io::Result<Found> {
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        let first = self.good.load(Ordering::Relaxed);
        for at in first..first + ROUNDS * servers.len() {
            let at = at % servers.len();
            let question = question(rand::random(), name, family).ok_or_else(no_address)?;
            let reply = match timeout(ONE_SERVER, exchange(servers[at], &question)).await {
                Ok(Ok(reply)) => reply,
                Ok(Err(error)) => {
                    last = error;
                    continue;
                }
                Err(_) => continue,
            };
            self.good.store(at, Ordering::Relaxed);
            match reply {
                Reply::Addresses(addresses, ttl) => return Ok((addresses, ttl)),
                Reply::NoName => return Err(no_address()),
                Reply::Failed | Reply::Truncated => last = io::Error::other("the name server cannot say"),
            }
        }
        Err(last)
    }
}

type Found = (Vec<IpAddr>, Duration);

/// IPv4 first: where there is no IPv6, or a broken one, that is the faster way, and elsewhere as good.
fn both(first: io::Result<Found>, second: io::Result<Found>) -> io::Result<Found> {
    match (first, second) {
        (Ok(first), Ok(second)) => {
            let ttl =
                [&first, &second].iter().filter(|(addresses, _)| !addresses.is_empty()).map(|(_, ttl)| *ttl).min();
            let mut addresses = [first.0, second.0].concat();
            addresses.sort_by_key(IpAddr::is_ipv6);
            Ok((addresses, ttl.unwrap_or_default()))
        }
        (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.0.is_empty() => Ok(found),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// Over UDP, and what does not fit there over TCP.
async fn exchange(server: SocketAddr, question: &[u8]) -> io::Result<Reply> {
    match over_udp(server, question).await? {
        Reply::Truncated => over_tcp(server, question).await,
        reply => Ok(reply),
    }
}

async fn over_udp(server: SocketAddr, question: &[u8]) -> io::Result<Reply> {
    // A port for each question, picked at random by the system: with the identifier, what a forger must guess.
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut bytes = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        let len = socket.recv(&mut bytes).await?;
        if let Some(reply) = read(question, &bytes[..len]) {
            return Ok(reply);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(server).await?;
    let mut frame = (question.len() as u16).to_be_bytes().to_vec();
    frame.extend(question);
    stream.write_all(&frame).await?;
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await?;
    read(question, &bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing can panic while it is held but allocation; what is inside stays whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
