//! What a hostile server takes from a healthy one: real servers on this machine, in two networks, under as many names as
//! their owner likes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use jtav_media::{AddressPolicy, FetchLimits, FetchParams, Fetcher, Lookup};
use jtav_pipeline::FetchRequest;
use jtav_schemas::{AbsentReason, MediaRef, Modality};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const PICTURE: &[u8] = include_bytes!("../../../crates/media-codecs/tests/fixtures/photo.jpg");
/// Longer than any of these tests, and shorter than what they would wait for.
const PATIENCE: Duration = Duration::from_secs(8);
const MINUTE: Duration = Duration::from_secs(60);

/// Every name below `good` lies at one address, every other at another.
struct Dns {
    good: SocketAddr,
    evil: SocketAddr,
}

impl Lookup for Dns {
    fn lookup(&self, host: String, _: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let address = if host.ends_with("good.example") { self.good } else { self.evil };
        Box::pin(async move { Ok(vec![address]) })
    }
}

/// Answers every connection as `answer` does.
async fn serve(
    address: SocketAddr,
    answer: impl Fn(TcpStream) -> BoxFuture<'static, io::Result<()>> + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn read_head(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Pictures in the network 127.0.1.0/24, each after a moment.
async fn good_server() -> SocketAddr {
    let answer = |mut stream: TcpStream| -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async move {
            loop {
                read_head(&mut stream).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", PICTURE.len());
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(PICTURE).await?;
            }
        })
    };
    serve(SocketAddr::from(([127, 0, 1, 1], 0)), answer).await
}

/// Says that it has `length` bytes, sends `at_once` of them and then one now and then, in the network 127.0.0.0/24 on the
/// port of the good server, so that one client serves both.
async fn evil_server(port: u16, length: usize, at_once: usize) -> SocketAddr {
    let answer = move |mut stream: TcpStream| -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async move {
            read_head(&mut stream).await?;
            stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes()).await?;
            stream.write_all(&vec![7; at_once]).await?;
            loop {
                stream.write_all(b"x").await?;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    };
    serve(SocketAddr::from(([127, 0, 0, 1], port)), answer).await
}

struct Stage {
    fetcher: Fetcher,
    port: u16,
}

/// Hosts have all the time of the world.
fn limits() -> FetchLimits {
    FetchLimits {
        first_byte_timeout: MINUTE,
        idle_timeout: MINUTE,
        total_timeout: MINUTE,
        host_stall: MINUTE,
        ..FetchLimits::for_tests()
    }
}

async fn stage(limits: FetchLimits, length: usize, at_once: usize) -> Stage {
    let good = good_server().await;
    let evil = evil_server(good.port(), length, at_once).await;
    let policy = AddressPolicy { allow: vec![good, evil], ..AddressPolicy::default() };
    let params = FetchParams { policy, limits, ..FetchParams::for_tests() };
    Stage { fetcher: Fetcher::with_lookup(params, Arc::new(Dns { good, evil })).unwrap(), port: good.port() }
}

impl Stage {
    fn request(&self, host: &str, bytes: Option<u64>, patience: Duration) -> FetchRequest {
        let url = format!("http://{host}:{}/", self.port);
        let media = MediaRef { url, media_type: None, sha256: None, bytes };
        FetchRequest { modality: Modality::Image, media, deadline: Instant::now() + patience }
    }

    /// Posts whose media never come.
    async fn attack(
        &self,
        number: usize,
        bytes: Option<u64>,
        host: impl Fn(usize) -> String,
    ) -> Vec<JoinHandle<AbsentReason>> {
        let attacks = (0..number).map(|i| {
            let (fetcher, request) = (self.fetcher.clone(), self.request(&host(i), bytes, MINUTE));
            tokio::spawn(async move { fetcher.fetch(request).await.unwrap_err() })
        });
        let attacks = attacks.collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        attacks
    }

    /// So many pictures of the good site at once; gives how many came.
    async fn pictures(&self, number: usize) -> usize {
        let all = (0..number).map(|i| {
            let host = if i % 2 == 0 { "good.example" } else { "img.good.example" };
            self.fetcher.fetch(self.request(host, None, PATIENCE))
        });
        join_all(all).await.into_iter().filter(Result::is_ok).count()
    }
}

fn still_there(attacks: &[JoinHandle<AbsentReason>]) -> bool {
    attacks.iter().all(|attack| !attack.is_finished())
}

#[tokio::test]
async fn two_hundred_names_of_one_domain_do_not_hold_up_a_healthy_host() {
    let stage = stage(limits(), 1_000, 0).await;
    let attacks = stage.attack(200, None, |i| format!("n{i}.evil.example")).await;
    assert_eq!(stage.pictures(100).await, 100);
    assert!(still_there(&attacks));
}

#[tokio::test]
async fn two_hundred_domains_at_one_address_do_not_hold_up_a_healthy_host() {
    let stage = stage(limits(), 1_000, 0).await;
    let attacks = stage.attack(200, None, |i| format!("evil{i}.example")).await;
    assert_eq!(stage.pictures(100).await, 100);
    assert!(still_there(&attacks));
}

#[tokio::test]
async fn five_posts_that_declare_thirty_megabytes_and_trickle_leave_eight_of_eight_pictures() {
    let limits =
        FetchLimits { max_image_bytes: 30 << 20, max_audio_bytes: 30 << 20, budget_bytes: 128 << 20, ..limits() };
    let stage = stage(limits, 30_000_000, 0).await;
    let attacks = stage.attack(5, Some(30_000_000), |i| format!("n{i}.evil.example")).await;
    assert_eq!(stage.pictures(8).await, 8);
    assert!(still_there(&attacks));
}

#[tokio::test]
async fn bodies_that_fill_the_budget_and_stand_still_leave_small_pictures_their_bytes() {
    let limits = FetchLimits {
        max_image_bytes: 2_000_000,
        max_audio_bytes: 2_000_000,
        budget_bytes: 8_000_000,
        max_downloads: 16,
        ..limits()
    };
    assert!(PICTURE.len() < 8_000_000 / 4 / 16, "{}", PICTURE.len());
    let stage = stage(limits, 2_000_000, 1_900_000).await;
    let attacks = stage.attack(40, None, |i| format!("evil{i}.example")).await;
    assert_eq!(stage.pictures(30).await, 30);
    assert!(still_there(&attacks));
}

#[tokio::test]
async fn a_site_that_is_alone_has_eight_downloads_of_each_of_its_hosts_at_once() {
    let stage = stage(limits(), 1_000, 0).await;
    let started = Instant::now();
    let all = (0..64).map(|i| stage.fetcher.fetch(stage.request(&format!("i{}.good.example", i % 8), None, MINUTE)));
    assert!(join_all(all).await.iter().all(Result::is_ok));
    // A round of 20 ms; one after the other it would be 64.
    assert!(started.elapsed() < Duration::from_millis(1_000), "{:?}", started.elapsed());
}
