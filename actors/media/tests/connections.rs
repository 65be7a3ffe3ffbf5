//! How many connections are kept, in a process that may open few files.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use jtav_media::{AddressPolicy, FetchLimits, FetchParams, Fetcher, Lookup};
use jtav_pipeline::FetchRequest;
use jtav_schemas::{MediaRef, Modality};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Every name is this machine.
struct Here;

impl Lookup for Here {
    fn lookup(&self, _: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(vec![SocketAddr::new([127, 0, 0, 1].into(), port)]) })
    }
}

/// A server that keeps connections open as long as they like; its ends of them count here, too.
async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            tokio::spawn(async move {
                let mut head = [0; 2048];
                while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await);
                }
            });
        }
    });
    address
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn two_hundred_and_fifty_hosts_are_fetched_from_by_a_process_that_may_open_two_hundred_files() {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(200), maximum: hard }).unwrap();
    let server = serve().await;
    let policy = AddressPolicy { allow: vec![server], ..AddressPolicy::default() };
    let limits = FetchLimits { max_idle_connections: 32, ..FetchLimits::for_tests() };
    let params = FetchParams { policy, limits, ..FetchParams::for_tests() };
    let fetcher = Fetcher::with_lookup(params, Arc::new(Here)).unwrap();
    let fetches = futures::stream::iter(0..250).map(|host| {
        let url = format!("http://h{host}.example:{}/", server.port());
        let media = MediaRef { url, media_type: None, sha256: None, bytes: None };
        let deadline = Instant::now() + Duration::from_secs(60);
        fetcher.fetch(FetchRequest { modality: Modality::Image, media, deadline })
    });
    let results: Vec<_> = fetches.buffer_unordered(8).collect().await;
    let failed = results.iter().filter(|result| result.is_err()).count();
    assert_eq!(failed, 0, "with {} descriptors open", open_descriptors());
    assert!(open_descriptors() < 150, "{} are open at rest", open_descriptors());
}
