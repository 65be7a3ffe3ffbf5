//! Downloads from a real HTTP server on this machine, which the policy allows by its exact address and port, and from
//! raw sockets that do what no server does.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures::future::BoxFuture;
use jtav_media::{AddressPolicy, FetchLimits, FetchParams, FetchSetupError, Fetcher, Lookup, accept};
use jtav_pipeline::{FetchRequest, FetchedMedia};
use jtav_schemas::{AbsentReason, MediaRef, Modality};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the server has seen.
#[derive(Default)]
struct Seen {
    flaky: AtomicUsize,
    gone: AtomicUsize,
    now: AtomicUsize,
    most_at_once: AtomicUsize,
}

const PICTURE: &[u8] = include_bytes!("../../../crates/media-codecs/tests/fixtures/photo.jpg");

async fn flaky(seen: web::Data<Seen>) -> HttpResponse {
    match seen.flaky.fetch_add(1, SeqCst) % 3 {
        2 => HttpResponse::Ok().content_type("image/jpeg").body(PICTURE),
        _ => HttpResponse::ServiceUnavailable().finish(),
    }
}

async fn gone(seen: web::Data<Seen>) -> HttpResponse {
    seen.gone.fetch_add(1, SeqCst);
    HttpResponse::Gone().finish()
}

async fn slow(seen: web::Data<Seen>) -> HttpResponse {
    let now = seen.now.fetch_add(1, SeqCst) + 1;
    seen.most_at_once.fetch_max(now, SeqCst);
    tokio::time::sleep(Duration::from_millis(100)).await;
    seen.now.fetch_sub(1, SeqCst);
    HttpResponse::Ok().body(PICTURE)
}

async fn status(path: web::Path<u16>) -> HttpResponse {
    HttpResponse::build(actix_web::http::StatusCode::from_u16(*path).unwrap()).finish()
}

/// `/redirect?to=…`
async fn redirect(request: HttpRequest) -> HttpResponse {
    let to = request.query_string().strip_prefix("to=").unwrap_or_default().to_owned();
    HttpResponse::Found().insert_header(("location", to)).finish()
}

async fn hops(path: web::Path<u32>) -> HttpResponse {
    match *path {
        0 => HttpResponse::Ok().body(PICTURE),
        n => HttpResponse::TemporaryRedirect().insert_header(("location", format!("/hops/{}", n - 1))).finish(),
    }
}

async fn agent(request: HttpRequest) -> HttpResponse {
    let header = |name: &str| request.headers().get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    HttpResponse::Ok().body(format!("{}|{}|{}", header("user-agent"), header("accept-encoding"), header("referer")))
}

fn bytes_of(path: web::Path<usize>) -> HttpResponse {
    HttpResponse::Ok().body(vec![7; path.into_inner()])
}

fn chunked(path: web::Path<usize>) -> HttpResponse {
    let chunks = (0..path.into_inner() / 1024).map(|_| Ok::<_, io::Error>(web::Bytes::from_static(&[7; 1024])));
    HttpResponse::Ok().streaming(futures::stream::iter(chunks))
}

/// Starts the server on a thread of its own; it lives as long as the test.
fn serve() -> (SocketAddr, web::Data<Seen>) {
    let seen = web::Data::new(Seen::default());
    let data = seen.clone();
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let server = HttpServer::new(move || {
                App::new()
                    .app_data(data.clone())
                    .route(
                        "/photo.jpg",
                        web::get().to(|| async { HttpResponse::Ok().content_type("image/jpeg").body(PICTURE) }),
                    )
                    .route("/flaky", web::get().to(flaky))
                    .route("/gone", web::get().to(gone))
                    .route("/slow", web::get().to(slow))
                    .route("/status/{code}", web::get().to(status))
                    .route("/redirect", web::get().to(redirect))
                    .route(
                        "/loop",
                        web::get().to(|| async { HttpResponse::Found().insert_header(("location", "/loop")).finish() }),
                    )
                    .route("/nowhere", web::get().to(|| async { HttpResponse::Found().finish() }))
                    .route("/hops/{n}", web::get().to(hops))
                    .route("/agent", web::get().to(agent))
                    .route("/bytes/{n}", web::get().to(|path| async { bytes_of(path) }))
                    .route("/chunked/{n}", web::get().to(|path| async { chunked(path) }))
                    .route(
                        "/gzip",
                        web::get()
                            .to(|| async { HttpResponse::Ok().insert_header(("content-encoding", "gzip")).body("x") }),
                    )
                    .route(
                        "/wait",
                        web::get().to(|| async {
                            HttpResponse::TooManyRequests().insert_header(("retry-after", "3600")).finish()
                        }),
                    )
            })
            .workers(1)
            .disable_signals()
            .bind("127.0.0.1:0")
            .unwrap();
            send.send(server.addrs()[0]).unwrap();
            server.run().await.unwrap();
        });
    });
    (receive.recv().unwrap(), seen)
}

fn quick_limits() -> FetchLimits {
    FetchLimits {
        max_image_bytes: 100_000,
        max_audio_bytes: 100_000,
        budget_bytes: 400_000,
        connect_timeout: Duration::from_millis(500),
        first_byte_timeout: Duration::from_millis(400),
        idle_timeout: Duration::from_millis(300),
        total_timeout: Duration::from_millis(900),
        backoff: Duration::from_millis(5),
        ..FetchLimits::for_tests()
    }
}

fn params(allow: &[SocketAddr], limits: FetchLimits) -> FetchParams {
    let policy = AddressPolicy { allow: allow.to_vec(), ..AddressPolicy::default() };
    FetchParams { policy, limits, ..FetchParams::for_tests() }
}

fn fetcher(allow: &[SocketAddr]) -> Fetcher {
    Fetcher::new(params(allow, quick_limits())).unwrap()
}

fn request(url: String) -> FetchRequest {
    FetchRequest {
        modality: Modality::Image,
        media: MediaRef { url, media_type: None, sha256: None, bytes: None },
        deadline: Instant::now() + Duration::from_secs(20),
    }
}

async fn get(fetcher: &Fetcher, url: String) -> Result<FetchedMedia, AbsentReason> {
    fetcher.fetch(request(url)).await
}

/// A socket that must never be connected to.
async fn canary() -> (SocketAddr, Arc<AtomicUsize>) {
    raw(|mut stream| {
        Box::pin(async move { drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx").await) })
    })
    .await
}

/// A server that answers each connection as `answer` likes; counts connections.
async fn raw(answer: impl Fn(TcpStream) -> BoxFuture<'static, ()> + Send + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let connections = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, SeqCst);
            tokio::spawn(answer(stream));
        }
    });
    (address, count)
}

/// Reads the head of a request.
async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {}
}

#[tokio::test]
async fn a_picture_comes_with_its_hash_type_and_reservation() {
    let (server, _) = serve();
    let media = get(&fetcher(&[server]), format!("http://{server}/photo.jpg")).await.unwrap();
    assert_eq!(&media.bytes[..], PICTURE);
    assert_eq!(media.content_hash, *blake3::hash(PICTURE).as_bytes());
    assert_eq!(media.media_type.as_deref(), Some("image/jpeg"));
    assert!(media.reservation.is_some());
}

#[tokio::test]
async fn the_declared_hash_is_checked() {
    let (server, _) = serve();
    let fetcher = fetcher(&[server]);
    let with_hash = |sha256: &str| {
        let mut request = request(format!("http://{server}/photo.jpg"));
        request.media.sha256 = Some(sha256.to_owned());
        fetcher.fetch(request)
    };
    let right = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(PICTURE));
    assert!(with_hash(&right).await.is_ok());
    assert!(with_hash(&right.to_uppercase()).await.is_ok());
    for wrong in ["0".repeat(64), right[..62].to_owned(), "no hash".to_owned(), String::new()] {
        assert_eq!(with_hash(&wrong).await.err(), Some(AbsentReason::HashMismatch), "{wrong}");
    }
}

#[tokio::test]
async fn bytes_from_a_file_pass_the_same_checks() {
    let media = MediaRef {
        url: String::new(),
        media_type: Some("image/jpeg".into()),
        sha256: Some("00".repeat(32)),
        bytes: None,
    };
    // Both ways of hashing: on this thread and on another.
    for size in [10, 2 << 20] {
        let verdict = accept(Modality::Image, vec![1; size].into(), None, &media).await;
        assert_eq!(verdict.err(), Some(AbsentReason::HashMismatch));
        let right = MediaRef {
            sha256: Some(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(vec![1; size]))),
            ..media.clone()
        };
        let media = accept(Modality::Image, vec![1; size].into(), None, &right).await.unwrap();
        assert_eq!(media.content_hash, *blake3::hash(&vec![1; size]).as_bytes());
    }
}

#[tokio::test]
async fn statuses_become_reasons() {
    let (server, _) = serve();
    let fetcher = fetcher(&[server]);
    for (status, expected) in [
        (404, AbsentReason::NotFound),
        (410, AbsentReason::NotFound),
        (401, AbsentReason::FetchFailed),
        (403, AbsentReason::FetchFailed),
        (418, AbsentReason::FetchFailed),
        (204, AbsentReason::FetchFailed),
        (304, AbsentReason::FetchFailed),
        (500, AbsentReason::FetchFailed),
    ] {
        let verdict = get(&fetcher, format!("http://{server}/status/{status}")).await;
        assert_eq!(verdict.err(), Some(expected), "{status}");
    }
    assert_eq!(get(&fetcher, format!("http://{server}/gzip")).await.err(), Some(AbsentReason::Unsupported));
}

#[tokio::test]
async fn a_passing_fault_is_tried_again_and_a_final_one_is_not() {
    let (server, seen) = serve();
    let fetcher = fetcher(&[server]);
    assert!(get(&fetcher, format!("http://{server}/flaky")).await.is_ok());
    assert_eq!(seen.flaky.load(SeqCst), 3);
    assert_eq!(get(&fetcher, format!("http://{server}/gone")).await.err(), Some(AbsentReason::NotFound));
    assert_eq!(seen.gone.load(SeqCst), 1);
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_not_begun() {
    let (server, _) = serve();
    let started = Instant::now();
    let verdict = get(&fetcher(&[server]), format!("http://{server}/wait")).await;
    assert_eq!(verdict.err(), Some(AbsentReason::FetchFailed));
    assert!(started.elapsed() < Duration::from_secs(15), "the request has 20 s");
}

#[tokio::test]
async fn a_broken_connection_is_tried_three_times() {
    let (server, connections) = raw(|mut stream| {
        Box::pin(async move {
            read_head(&mut stream).await;
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nonly this").await);
        })
    })
    .await;
    let verdict = get(&fetcher(&[server]), format!("http://{server}/")).await;
    assert_eq!(verdict.err(), Some(AbsentReason::FetchFailed));
    assert_eq!(connections.load(SeqCst), 3);
}

#[tokio::test]
async fn redirects_are_followed_five_times() {
    let (server, _) = serve();
    let fetcher = fetcher(&[server]);
    assert!(get(&fetcher, format!("http://{server}/hops/5")).await.is_ok());
    for path in ["hops/6", "loop", "nowhere"] {
        let verdict = get(&fetcher, format!("http://{server}/{path}")).await;
        assert_eq!(verdict.err(), Some(AbsentReason::FetchFailed), "{path}");
    }
}

#[tokio::test]
async fn a_redirect_to_a_closed_address_is_denied_and_never_connected_to() {
    let (server, _) = serve();
    let (trap, connections) = canary().await;
    let fetcher = fetcher(&[server]);
    let port = trap.port();
    for to in [
        format!("http://{trap}/"),
        format!("http://127.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://localhost:{port}/"),
        format!("//{trap}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[fd00:ec2::254]/latest/meta-data/".to_owned(),
        "http://localhost/".to_owned(),
        "https://user:secret@example.org/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "ftp://127.0.0.1/".to_owned(),
        "data:image/png;base64,AAAA".to_owned(),
    ] {
        let direct = get(&fetcher, to.replace("//127.0.0.1", "http://127.0.0.1").replace("http:http:", "http:")).await;
        assert_eq!(direct.err(), Some(AbsentReason::FetchDenied), "{to}");
        let verdict = get(&fetcher, format!("http://{server}/redirect?to={to}")).await;
        assert_eq!(verdict.err(), Some(AbsentReason::FetchDenied), "redirect to {to}");
        let second_hop = format!("http://{server}/redirect?to=/redirect?to={to}");
        assert_eq!(get(&fetcher, second_hop).await.err(), Some(AbsentReason::FetchDenied), "second hop to {to}");
    }
    assert_eq!(connections.load(SeqCst), 0);
}

#[tokio::test]
async fn the_metadata_service_of_a_cloud_is_denied() {
    let fetcher = Fetcher::new(FetchParams::for_tests()).unwrap();
    for host in ["169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"] {
        let verdict = get(&fetcher, format!("http://{host}/latest/meta-data/iam/")).await;
        assert_eq!(verdict.err(), Some(AbsentReason::FetchDenied), "{host}");
    }
    for url in ["", "not a url", "/relative", "http://", "http://[::1"] {
        assert_eq!(get(&fetcher, url.to_owned()).await.err(), Some(AbsentReason::FetchDenied), "{url}");
    }
}

/// Answers the first question with one list and every later one with another.
struct TwoFaced {
    first: Vec<SocketAddr>,
    then: Vec<SocketAddr>,
    asked: AtomicUsize,
}

impl Lookup for TwoFaced {
    fn lookup(&self, _: String, _: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let answer = if self.asked.fetch_add(1, SeqCst) == 0 { self.first.clone() } else { self.then.clone() };
        Box::pin(async move { Ok(answer) })
    }
}

#[tokio::test]
async fn a_name_that_rebinds_to_a_closed_address_is_denied_and_never_connected_to() {
    // Two listeners on one port: the allowed address, and the one that the name points to later.
    let (server, _) = raw(|mut stream| {
        Box::pin(async move {
            read_head(&mut stream).await;
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await);
        })
    })
    .await;
    let trap = TcpListener::bind(("127.0.0.2", server.port())).await.unwrap();
    let trap_address = trap.local_addr().unwrap();
    let lookup = Arc::new(TwoFaced { first: vec![server], then: vec![trap_address], asked: AtomicUsize::new(0) });
    let fetcher = Fetcher::with_lookup(params(&[server], quick_limits()), lookup.clone()).unwrap();
    let url = format!("http://feed.example:{}/", server.port());
    assert_eq!(&get(&fetcher, url.clone()).await.unwrap().bytes[..], b"ok");
    assert_eq!(get(&fetcher, url).await.err(), Some(AbsentReason::FetchDenied));
    assert_eq!(lookup.asked.load(SeqCst), 2);
    let visit = tokio::time::timeout(Duration::from_millis(50), trap.accept()).await;
    assert!(visit.is_err(), "the trap was connected to");
}

#[tokio::test]
async fn an_answer_that_mixes_open_and_closed_addresses_is_denied() {
    let (server, _) = serve();
    let mixed = vec![server, SocketAddr::new([127, 0, 0, 3].into(), server.port())];
    let lookup = Arc::new(TwoFaced { first: mixed.clone(), then: mixed, asked: AtomicUsize::new(0) });
    let fetcher = Fetcher::with_lookup(params(&[server], quick_limits()), lookup).unwrap();
    let verdict = get(&fetcher, format!("http://feed.example:{}/photo.jpg", server.port())).await;
    assert_eq!(verdict.err(), Some(AbsentReason::FetchDenied));
}

#[tokio::test]
async fn a_host_without_an_address_fails() {
    let lookup = Arc::new(TwoFaced { first: vec![], then: vec![], asked: AtomicUsize::new(0) });
    let fetcher = Fetcher::with_lookup(params(&[], quick_limits()), lookup).unwrap();
    let verdict = get(&fetcher, "http://feed.example/".to_owned()).await;
    assert_eq!(verdict.err(), Some(AbsentReason::FetchDenied));
}

#[tokio::test]
async fn a_claim_of_ten_gigabytes_is_refused_without_reading() {
    let (server, _) = raw(|mut stream| {
        Box::pin(async move {
            read_head(&mut stream).await;
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n").await);
            tokio::time::sleep(Duration::from_secs(60)).await;
        })
    })
    .await;
    // Reading on would end as a time-out.
    let verdict = get(&fetcher(&[server]), format!("http://{server}/")).await;
    assert_eq!(verdict.err(), Some(AbsentReason::TooLarge));
}

#[tokio::test]
async fn an_endless_body_ends_at_the_cap() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let (server, connections) = raw(move |mut stream| {
        let counter = counter.clone();
        Box::pin(async move {
            read_head(&mut stream).await;
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await);
            while stream.write_all(&[0; 4096]).await.is_ok() {
                counter.fetch_add(4096, SeqCst);
            }
        })
    })
    .await;
    let verdict = get(&fetcher(&[server]), format!("http://{server}/")).await;
    assert_eq!(verdict.err(), Some(AbsentReason::TooLarge));
    assert_eq!(connections.load(SeqCst), 1);
    // What was written beyond the cap lies in socket buffers.
    assert!(sent.load(SeqCst) < 30_000_000, "{}", sent.load(SeqCst));
}

#[tokio::test]
async fn slow_hosts_time_out() {
    // No head at all; a head and no body; a byte now and then, each within the idle limit.
    let silent = raw(|stream| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            drop(stream);
        })
    })
    .await
    .0;
    let trickle = |interval: Duration| {
        raw(move |mut stream| {
            Box::pin(async move {
                read_head(&mut stream).await;
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n").await);
                while stream.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(interval).await;
                }
            })
        })
    };
    let stalled = trickle(Duration::from_secs(60)).await.0;
    let loris = trickle(Duration::from_millis(50)).await.0;
    let fetcher = fetcher(&[silent, stalled, loris]);
    for (server, limit_ms) in [(silent, 400), (stalled, 300), (loris, 900)] {
        let started = Instant::now();
        let verdict = get(&fetcher, format!("http://{server}/")).await;
        assert_eq!(verdict.err(), Some(AbsentReason::Timeout));
        let took = started.elapsed();
        assert!((limit_ms - 20..limit_ms + 5_000).contains(&(took.as_millis() as u64)), "{limit_ms} ms, took {took:?}");
    }
    let mut hurried = request(format!("http://{loris}/"));
    hurried.deadline = Instant::now() + Duration::from_millis(100);
    let started = Instant::now();
    assert_eq!(fetcher.fetch(hurried).await.err(), Some(AbsentReason::Timeout));
    assert!(started.elapsed() < Duration::from_millis(800), "no later than the whole request's own 900 ms");
}

#[tokio::test]
async fn a_body_may_be_larger_or_smaller_than_the_post_says() {
    let (server, _) = serve();
    let fetcher = fetcher(&[server]);
    // With a length the server says so, chunked it shows in the end.
    for path in ["bytes/61440", "chunked/61440"] {
        let media = get(&fetcher, format!("http://{server}/{path}")).await.unwrap();
        assert_eq!(media.bytes.len(), 61_440, "{path}");
    }
    let mut understated = request(format!("http://{server}/bytes/5000"));
    understated.media.bytes = Some(10);
    assert_eq!(fetcher.fetch(understated).await.unwrap().bytes.len(), 5000);
    let mut overstated = request(format!("http://{server}/bytes/5000"));
    overstated.media.bytes = Some(u64::MAX);
    assert_eq!(fetcher.fetch(overstated).await.unwrap().bytes.len(), 5000);
    for path in ["bytes/100001", "chunked/204800"] {
        assert_eq!(
            get(&fetcher, format!("http://{server}/{path}")).await.err(),
            Some(AbsentReason::TooLarge),
            "{path}"
        );
    }
}

#[tokio::test]
async fn media_that_are_held_keep_their_bytes_of_the_budget() {
    let (server, _) = serve();
    let limits = FetchLimits { budget_bytes: 100_000, ..quick_limits() };
    let fetcher = Fetcher::new(params(&[server], limits)).unwrap();
    let url = format!("http://{server}/bytes/90112");
    let held = get(&fetcher, url.clone()).await.unwrap();
    let clone = held.clone();
    drop(held);
    let mut hurried = request(url.clone());
    hurried.deadline = Instant::now() + Duration::from_millis(200);
    assert_eq!(
        fetcher.fetch(hurried.clone()).await.err(),
        Some(AbsentReason::Timeout),
        "a clone still holds the bytes"
    );
    drop(clone);
    assert!(get(&fetcher, url).await.is_ok(), "the last clone gave them back");
}

#[tokio::test]
async fn one_host_gets_no_more_than_its_slots() {
    let (server, seen) = serve();
    let limits = FetchLimits { max_per_host: 2, first_byte_timeout: Duration::from_secs(5), ..quick_limits() };
    let fetcher = Fetcher::new(params(&[server], limits)).unwrap();
    let all = (0..6).map(|_| get(&fetcher, format!("http://{server}/slow")));
    for result in futures::future::join_all(all).await {
        assert!(result.is_ok());
    }
    assert_eq!(seen.most_at_once.load(SeqCst), 2);
}

#[tokio::test]
async fn a_hanging_host_does_not_hold_up_the_others() {
    let (server, _) = serve();
    let (hanging, _) = raw(|stream| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(stream);
        })
    })
    .await;
    // Posts of the hanging host in number. None of them ends within the test.
    let minute = Duration::from_secs(60);
    let limits =
        FetchLimits { first_byte_timeout: minute, idle_timeout: minute, total_timeout: minute, ..quick_limits() };
    let fetcher = Fetcher::new(params(&[server, hanging], limits)).unwrap();
    let stuck: Vec<_> = (0..100)
        .map(|_| {
            let fetcher = fetcher.clone();
            tokio::spawn(async move { get(&fetcher, format!("http://{hanging}/")).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(get(&fetcher, format!("http://{server}/photo.jpg")).await.is_ok());
    assert!(stuck.iter().all(|one| !one.is_finished()), "the hanging host's posts still wait");
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn requests_name_the_agent_and_ask_for_plain_bytes() {
    let (server, _) = serve();
    let named = FetchParams { user_agent: "feed-test/1".into(), ..params(&[server], quick_limits()) };
    let fetcher = Fetcher::new(named).unwrap();
    let echoed = get(&fetcher, format!("http://{server}/agent")).await.unwrap();
    assert_eq!(&echoed.bytes[..], b"feed-test/1|identity|");
}

#[tokio::test]
async fn contradictory_settings_are_refused() {
    let small = FetchLimits { budget_bytes: 99_999, ..quick_limits() };
    assert!(matches!(Fetcher::new(params(&[], small)), Err(FetchSetupError::Params(_))));
    let none = FetchLimits { max_per_host: 0, ..quick_limits() };
    assert!(matches!(Fetcher::new(params(&[], none)), Err(FetchSetupError::Params(_))));
}

#[tokio::test]
async fn text_is_never_fetched() {
    let (trap, connections) = canary().await;
    let mut text = request(format!("http://{trap}/"));
    text.modality = Modality::Text;
    assert_eq!(fetcher(&[trap]).fetch(text).await.err(), Some(AbsentReason::Unsupported));
    assert_eq!(connections.load(SeqCst), 0);
}

#[tokio::test]
async fn a_host_that_fails_again_and_again_is_asked_no_more_and_others_are() {
    let (dead, connections) = raw(|stream| Box::pin(async move { drop(stream) })).await;
    let (server, _) = serve();
    let limits = FetchLimits { host_failures: 3, max_attempts: 1, ..quick_limits() };
    let fetcher = Fetcher::new(params(&[dead, server], limits)).unwrap();
    for _ in 0..20 {
        assert_eq!(get(&fetcher, format!("http://{dead}/")).await.err(), Some(AbsentReason::FetchFailed));
    }
    assert_eq!(connections.load(SeqCst), 3);
    assert!(get(&fetcher, format!("http://{server}/photo.jpg")).await.is_ok());
}

#[tokio::test]
async fn posts_that_wait_for_a_silent_host_are_let_go_long_before_its_first_time_out() {
    let (silent, _) = raw(|stream| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(stream);
        })
    })
    .await;
    let minute = Duration::from_secs(60);
    let limits = FetchLimits {
        max_per_host: 2,
        first_byte_timeout: minute,
        total_timeout: minute,
        host_stall: Duration::from_millis(100),
        ..quick_limits()
    };
    let fetcher = Fetcher::new(params(&[silent], limits)).unwrap();
    let on_wire: Vec<_> = (0..2)
        .map(|_| {
            let fetcher = fetcher.clone();
            tokio::spawn(async move { get(&fetcher, format!("http://{silent}/")).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let waiting = (0..20).map(|_| get(&fetcher, format!("http://{silent}/")));
    for result in futures::future::join_all(waiting).await {
        assert_eq!(result.err(), Some(AbsentReason::Timeout));
    }
    assert!(on_wire.iter().all(|one| !one.is_finished()), "the requests on the wire have their full time");
    on_wire.iter().for_each(tokio::task::JoinHandle::abort);
}
