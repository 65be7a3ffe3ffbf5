//! Servers that say odd things of honest pictures, and of others: where browsers show the picture it is taken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use jtav_media::{AddressPolicy, FetchLimits, FetchParams, Fetcher};
use jtav_pipeline::{FetchRequest, FetchedMedia};
use jtav_schemas::{AbsentReason, MediaRef, Modality};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const PICTURE: &[u8] = include_bytes!("../../../crates/media-codecs/tests/fixtures/photo.jpg");

/// The first line of a request and the answer to it, whole.
type Answer = Box<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// A server that answers one request per connection; with the number of requests so far.
async fn serve(answer: Answer) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let (counter, answer) = (requests.clone(), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (counter, answer) = (counter.clone(), answer.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {}
                counter.fetch_add(1, SeqCst);
                let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
                drop(stream.write_all(&answer(&line)).await);
            });
        }
    });
    (address, requests)
}

/// `head` without its end, then the body with its length.
fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    answer_of(head.as_bytes(), body)
}

fn answer_of(head: &[u8], body: &[u8]) -> Vec<u8> {
    let rest = format!("\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    [b"HTTP/1.1 ", head, rest.as_bytes(), body].concat()
}

async fn get(server: SocketAddr, path: &str) -> Result<FetchedMedia, AbsentReason> {
    let limits = FetchLimits { backoff: Duration::from_millis(5), ..FetchLimits::for_tests() };
    let policy = AddressPolicy { allow: vec![server], ..AddressPolicy::default() };
    let fetcher = Fetcher::new(FetchParams { policy, limits, ..FetchParams::for_tests() }).unwrap();
    let media = MediaRef { url: format!("http://{server}{path}"), media_type: None, sha256: None, bytes: None };
    let deadline = Instant::now() + Duration::from_secs(20);
    fetcher.fetch(FetchRequest { modality: Modality::Image, media, deadline }).await
}

#[tokio::test]
async fn a_picture_is_taken_whatever_its_server_calls_the_encoding_that_it_does_not_have() {
    let (server, _) = serve(Box::new(|line| {
        let name = line.split(['/', ' ']).nth(2).unwrap_or_default().replace('+', " ");
        answer(&format!("200 OK\r\ncontent-encoding: {name}"), PICTURE)
    }))
    .await;
    // The last five exist, and the bytes say that they were not applied.
    let names =
        ["", "identity", "none", "utf-8", "UTF-8", "aws-chunked", "binary", "8bit", "image/jpeg", "identity,+none"];
    for name in names.into_iter().chain(["gzip", "br", "deflate", "zstd", "aws-chunked,gzip"]) {
        let media = get(server, &format!("/{name}")).await;
        assert_eq!(media.map(|media| media.bytes).as_deref(), Ok(PICTURE), "{name:?}");
    }
}

#[tokio::test]
async fn what_is_encoded_although_nobody_asked_is_unsupported_and_not_read_to_its_end() {
    let mut gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
    gzip.extend((0..8_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8));
    let bytes = gzip.clone();
    let (server, requests) = serve(Box::new(move |line| match line.contains("small") {
        true => answer("200 OK\r\ncontent-encoding: gzip", &bytes[..600]),
        false => answer("200 OK\r\nContent-Encoding: GZip", &bytes),
    }))
    .await;
    for path in ["/small", "/large"] {
        assert_eq!(get(server, path).await.err(), Some(AbsentReason::Unsupported), "{path}");
    }
    // Three: the length of the large one shows that it outgrows what was set aside, and it is asked for again.
    assert!(requests.load(SeqCst) <= 3);
}

#[tokio::test]
async fn a_redirect_in_raw_bytes_is_followed_as_browsers_do() {
    let (server, requests) = serve(Box::new(|line| {
        let moved = |location: &[u8]| answer_of(&[b"302 Found\r\nlocation: ".as_slice(), location].concat(), b"");
        match line.split(' ').nth(1).unwrap_or_default() {
            "/utf-8" => moved("/bücher/日本 1.jpg".as_bytes()),
            "/latin-1" => moved(b"caf\xe9.jpg"),
            "/nothing" => moved(b""),
            "/b%C3%BCcher/%E6%97%A5%E6%9C%AC%201.jpg" | "/caf%E9.jpg" => answer("200 OK", PICTURE),
            _ => answer("404 Not Found", b""),
        }
    }))
    .await;
    for path in ["/utf-8", "/latin-1"] {
        assert!(get(server, path).await.is_ok(), "{path}");
    }
    let before = requests.load(SeqCst);
    assert_eq!(get(server, "/nothing").await.err(), Some(AbsentReason::FetchFailed));
    assert_eq!(requests.load(SeqCst) - before, 1, "a redirect to nowhere is no reason to come back");
}

#[tokio::test]
async fn a_picture_is_taken_with_every_status_that_carries_the_whole_of_it() {
    let (server, _) = serve(Box::new(|line| {
        let (status, range) = line.split(['/', ' ']).nth(2).unwrap_or_default().split_once('-').unwrap_or_default();
        let range = range.replace('_', "/").replace("to", "-").replace("SIZE", &PICTURE.len().to_string());
        let range = range.replace("LAST", &(PICTURE.len() - 1).to_string());
        answer(&format!("{status} Odd\r\ncontent-range: bytes {range}"), PICTURE)
    }))
    .await;
    let whole = "0toLAST_SIZE";
    for status in [200, 201, 202, 203, 206, 226, 299] {
        assert!(get(server, &format!("/{status}-{whole}")).await.is_ok(), "{status}");
    }
    for (path, reason) in [
        ("206-1toLAST_SIZE", AbsentReason::FetchFailed),
        ("206-0to99_SIZE", AbsentReason::FetchFailed),
        ("206-*_SIZE", AbsentReason::FetchFailed),
        (&format!("300-{whole}"), AbsentReason::FetchFailed),
        (&format!("403-{whole}"), AbsentReason::FetchFailed),
        // A picture of something else.
        (&format!("404-{whole}"), AbsentReason::NotFound),
    ] {
        assert_eq!(get(server, &format!("/{path}")).await.err(), Some(reason), "{path}");
    }
}

#[tokio::test]
async fn neither_a_wrong_type_nor_a_refresh_keeps_a_picture_away() {
    let (server, _) = serve(Box::new(|line| {
        let kind = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').replace('+', " ");
        answer(&format!("200 OK\r\nrefresh: 0; url=/elsewhere\r\ncontent-type: {kind}"), PICTURE)
    }))
    .await;
    for kind in ["", "text/plain", "application/octet-stream", "image/png", "multipart/form-data", "\u{fc}", "a/b;+c=d"]
    {
        let media = get(server, &format!("/{kind}")).await.unwrap();
        let limits = jtav_media_codecs::DecodeLimits::for_tests();
        let decoded = jtav_media_codecs::decode(&media.bytes, Modality::Image, media.media_type.as_deref(), &limits);
        assert!(decoded.is_ok(), "{kind:?}");
    }
}
