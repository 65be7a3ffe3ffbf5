//! Proxies that the environment names are not for us: through one, the address that is connected to is not the address
//! that was checked. The variables are read when a client is made, so a process of its own has them.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use jtav_media::{AddressPolicy, FetchLimits, FetchParams, Fetcher};
use jtav_pipeline::FetchRequest;
use jtav_schemas::{AbsentReason, MediaRef, Modality};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Where the child finds the server.
const SERVER: &str = "JTAV_TEST_SERVER";
/// What the child must do: `fetch` as the pipeline does, or `plain` as an HTTP client does.
const MANNER: &str = "JTAV_TEST_MANNER";

/// A server that answers everything, and counts.
async fn serve() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, visits) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&visits);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, SeqCst);
            tokio::spawn(async move {
                let mut head = Vec::new();
                // 22 begins a TLS handshake, which is answered with what is none.
                let is_whole = |head: &[u8]| head.ends_with(b"\r\n\r\n") || head.starts_with(&[22]);
                while !is_whole(&head) && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {}
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx").await;
            });
        }
    });
    (address, visits)
}

/// Runs one of the tests below in a process whose environment names `proxy` in every way there is.
async fn child(manner: &'static str, proxy: SocketAddr, server: SocketAddr) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "what_the_child_does", "--ignored"]).env(SERVER, server.to_string()).env(MANNER, manner);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(name, format!("http://{proxy}"));
    }
    command.env_remove("no_proxy").env_remove("NO_PROXY").env_remove("REQUEST_METHOD");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
#[ignore = "run by the tests beside it, in a process of its own"]
async fn what_the_child_does() {
    let server: SocketAddr = std::env::var(SERVER).unwrap().parse().unwrap();
    if std::env::var(MANNER).unwrap() == "plain" {
        assert!(reqwest::get(format!("http://{server}/")).await.is_ok());
        return;
    }
    let params = FetchParams {
        policy: AddressPolicy { allow: vec![server], ..AddressPolicy::default() },
        limits: FetchLimits { max_attempts: 1, ..FetchLimits::for_tests() },
        ..FetchParams::for_tests()
    };
    let fetcher = Fetcher::new(params).unwrap();
    let verdict = |url: String| {
        let media = MediaRef { url, media_type: None, sha256: None, bytes: None };
        let deadline = Instant::now() + Duration::from_secs(20);
        fetcher.fetch(FetchRequest { modality: Modality::Image, media, deadline })
    };
    assert!(verdict(format!("http://{server}/")).await.is_ok());
    // The server speaks no TLS; a proxy would have been asked for a tunnel first.
    assert_eq!(verdict(format!("https://{server}/")).await.err(), Some(AbsentReason::FetchFailed));
}

#[tokio::test]
async fn a_proxy_that_the_environment_names_is_never_connected_to() {
    let ((proxy, visits), (server, seen)) = (serve().await, serve().await);
    child("fetch", proxy, server).await;
    assert_eq!((visits.load(SeqCst), seen.load(SeqCst)), (0, 2));
}

#[tokio::test]
async fn the_environment_of_that_test_does_name_a_proxy() {
    let ((proxy, visits), (server, seen)) = (serve().await, serve().await);
    child("plain", proxy, server).await;
    assert_eq!((visits.load(SeqCst), seen.load(SeqCst)), (1, 0));
}
