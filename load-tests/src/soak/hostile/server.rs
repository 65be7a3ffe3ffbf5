//! A media server that does what strangers' servers do, on many addresses at once: each address is a host of its own to the
//! worker, some in a network of their own and some all in one, as names below a wildcard are. Over bare sockets: a library for
//! HTTP would not send what these send.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::media::Files;

/// Hosts with a network (/24) of their own.
const APART: u8 = 32;
/// Hosts in one network.
const TOGETHER: u8 = 64;
/// Connections at once; more than the worker may open.
const MAX_CONNECTIONS: usize = 4096;
/// The longest that a connection is kept: longer than any deadline of the worker.
const LONGEST: Duration = Duration::from_secs(90);
/// What a trickling answer says of its length.
const TRICKLE_BYTES: usize = 20_000_000;
/// Bytes of the headers of an answer that is nothing else.
const HEADER_BYTES: usize = 2 << 20;

/// Its addresses; it serves until the runtime ends.
#[derive(Debug, Clone)]
pub struct HostileServer {
    addresses: Vec<SocketAddr>,
}

impl HostileServer {
    /// Listens on every address, on one port. Must run inside a runtime.
    ///
    /// # Errors
    /// No port is free on all addresses.
    pub async fn start(files: Files) -> Result<Self> {
        let apart = (0..APART).map(|net| Ipv4Addr::new(127, 66, net, 1));
        let together = (1..=TOGETHER).map(|host| Ipv4Addr::new(127, 77, 0, host));
        let addresses: Vec<IpAddr> = apart.chain(together).map(IpAddr::V4).collect();
        let (listeners, port) = listen(&addresses).await?;
        let (files, places) = (Arc::new(files), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
        for listener in listeners {
            tokio::spawn(accept(listener, Arc::clone(&files), Arc::clone(&places)));
        }
        Ok(Self { addresses: addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect() })
    }

    /// All of them.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A URL on one of the hosts, another one for each number.
    pub fn url(&self, number: usize, path: &str) -> String {
        format!("http://{}/{path}", self.addresses[number % self.addresses.len()])
    }
}

/// A port that is free on every address.
async fn listen(addresses: &[IpAddr]) -> Result<(Vec<TcpListener>, u16)> {
    for _ in 0..20 {
        let first = TcpListener::bind((addresses[0], 0)).await.context("no address 127.66.0.1: not Linux?")?;
        let port = first.local_addr()?.port();
        let mut listeners = vec![first];
        for address in &addresses[1..] {
            match TcpListener::bind((*address, port)).await {
                Ok(listener) => listeners.push(listener),
                Err(_) => break,
            }
        }
        if listeners.len() == addresses.len() {
            return Ok((listeners, port));
        }
    }
    bail!("no port was free on all of {} addresses", addresses.len())
}

async fn accept(listener: TcpListener, files: Arc<Files>, places: Arc<Semaphore>) {
    while let Ok((stream, _)) = listener.accept().await {
        // Without a place the connection is closed, which is one more way to misbehave.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let files = Arc::clone(&files);
        tokio::spawn(async move {
            _ = timeout(LONGEST, serve(stream, &files)).await;
            drop(place);
        });
    }
}

async fn serve(mut stream: TcpStream, files: &Files) -> std::io::Result<()> {
    let mut request = vec![0; 16 << 10];
    let length = stream.read(&mut request).await?;
    let request = String::from_utf8_lossy(&request[..length]);
    let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
    let (manner, rest) = path.split_once('/').unwrap_or((path.as_str(), ""));
    match manner {
        "hang" => {
            sleep(LONGEST).await;
            Ok(())
        }
        "trickle" => trickle(&mut stream).await,
        "slow-head" => slow_head(&mut stream).await,
        "big-head" => big_head(&mut stream).await,
        "endless" => endless(&mut stream).await,
        "loop" => redirect(&mut stream, rest).await,
        "encoded" => answer(&mut stream, "content-encoding: gzip\r\n", b"\x1f\x8b\x08\x00 this is no gzip").await,
        "reset" => Ok(()),
        "busy" => stream.write_all(b"HTTP/1.1 503 Busy\r\nretry-after: 86400\r\ncontent-length: 0\r\n\r\n").await,
        "file" => match files.get(rest) {
            Some(file) => answer(&mut stream, "", &file).await,
            None => stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await,
        },
        _ => stream.write_all(b"no HTTP at all\r\n\r\n").await,
    }
}

async fn answer(stream: &mut TcpStream, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await
}

/// The length of a large picture, and then a byte a second.
async fn trickle(stream: &mut TcpStream) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: image/jpeg\r\ncontent-length: {TRICKLE_BYTES}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    loop {
        stream.write_all(&[0xFF]).await?;
        sleep(Duration::from_secs(1)).await;
    }
}

async fn slow_head(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
    loop {
        stream.write_all(b"x-more: 1\r\n").await?;
        sleep(Duration::from_secs(1)).await;
    }
}

async fn big_head(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
    for number in 0..HEADER_BYTES / 1024 {
        stream.write_all(format!("x-{number}: {}\r\n", "a".repeat(1000)).as_bytes()).await?;
    }
    stream.write_all(b"content-length: 0\r\n\r\n").await
}

/// About 20 MB a second, for as long as somebody reads.
async fn endless(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: image/jpeg\r\n\r\n\xFF\xD8\xFF\xE0").await?;
    let piece = vec![0xFF; 64 << 10];
    loop {
        stream.write_all(&piece).await?;
        sleep(Duration::from_millis(3)).await;
    }
}

/// From one step to the next, without end.
async fn redirect(stream: &mut TcpStream, step: &str) -> std::io::Result<()> {
    let next = step.parse::<u64>().unwrap_or(0) + 1;
    let head = format!("HTTP/1.1 302 Found\r\nlocation: /loop/{next}\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(server: &HostileServer, host: usize, path: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(server.addresses()[host]).await.unwrap();
        stream.write_all(format!("GET /{path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        _ = timeout(Duration::from_millis(500), stream.read_to_end(&mut bytes)).await;
        bytes
    }

    #[tokio::test]
    async fn every_address_misbehaves_in_every_manner() {
        let server = HostileServer::start(Files::default()).await.unwrap();
        assert_eq!(server.addresses().len(), usize::from(APART + TOGETHER));
        assert_eq!(ask(&server, 0, "hang").await, b"");
        assert_eq!(ask(&server, 40, "reset").await, b"");
        let trickled = ask(&server, 1, "trickle").await;
        assert!(trickled.ends_with(b"\r\n\r\n\xFF"), "{}", String::from_utf8_lossy(&trickled));
        assert!(ask(&server, 2, "loop/7").await.starts_with(b"HTTP/1.1 302 Found\r\nlocation: /loop/8\r\n"));
        assert!(ask(&server, 3, "big-head").await.len() > HEADER_BYTES / 2);
        assert!(ask(&server, 95, "endless").await.len() > 1 << 20);
    }
}
