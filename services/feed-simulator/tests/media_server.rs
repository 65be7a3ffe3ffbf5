//! The media server, over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jtav_feed_simulator::{MediaServer, Pack, media_url};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample-feed")
}

struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

fn connect(server: &MediaServer, method: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    stream
}

fn ask(server: &MediaServer, method: &str, path: &str) -> Answer {
    let mut bytes = Vec::new();
    connect(server, method, path).read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    Answer { head: String::from_utf8(bytes[..end].to_vec()).unwrap(), body: bytes[end + 4..].to_vec() }
}

#[test]
fn every_medium_of_the_sample_feed_is_served_as_declared() {
    let pack = Pack::open(sample()).unwrap();
    let server = MediaServer::start(pack.folder(), ANY_PORT).unwrap();
    let mut served = 0;
    for post in &pack {
        for medium in [&post.audio, &post.image].into_iter().flatten() {
            let url = media_url(&server.base_url(), &medium.path);
            let answer = ask(&server, "GET", url.strip_prefix(&server.base_url()).unwrap());
            assert_eq!(answer.status(), "200");
            assert_eq!(answer.header("content-type"), medium.media_type.as_deref());
            assert_eq!(answer.body, std::fs::read(pack.folder().join(&medium.path)).unwrap());
            served += 1;
        }
    }
    assert_eq!(served, 99);
}

#[test]
fn head_tells_the_size_and_sends_no_body() {
    let server = MediaServer::start(sample(), ANY_PORT).unwrap();
    let answer = ask(&server, "HEAD", "/dataset.json");
    let size = std::fs::metadata(sample().join("dataset.json")).unwrap().len().to_string();
    assert_eq!((answer.status(), answer.header("content-length")), ("200", Some(size.as_str())));
    assert!(answer.body.is_empty());
}

#[test]
fn nothing_above_the_root_is_served_and_nothing_is_written() {
    let server = MediaServer::start(sample().join("media"), ANY_PORT).unwrap();
    for path in
        ["/../dataset.json", "/%2e%2e/dataset.json", "/..%2fdataset.json", "/image/../../dataset.json", "/missing"]
    {
        assert_eq!(ask(&server, "GET", path).status(), "404", "{path}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(ask(&server, method, "/image/i-0005.jpg").status(), "405", "{method}");
    }
}

#[test]
fn the_broken_image_begins_as_a_jpeg_and_has_no_picture() {
    let server = MediaServer::start(sample(), ANY_PORT).unwrap();
    let answer = ask(&server, "GET", "/broken.jpg");
    assert_eq!((answer.status(), answer.header("content-type")), ("200", Some("image/jpeg")));
    assert!(answer.body.starts_with(&[0xFF, 0xD8, 0xFF]));
    for marker in [0xC0, 0xDA, 0xD9] {
        assert!(!answer.body.windows(2).any(|window| window == [0xFF, marker]), "no frame, scan or end");
    }
}

#[test]
fn status_and_redirect_answer_as_asked() {
    let server = MediaServer::start(sample(), ANY_PORT).unwrap();
    for code in ["200", "404", "429", "503"] {
        assert_eq!(ask(&server, "GET", &format!("/status/{code}")).status(), code);
    }
    assert_eq!(ask(&server, "GET", "/status/700").status(), "400");
    let answer = ask(&server, "GET", "/redirect?to=http://169.254.169.254/");
    assert_eq!((answer.status(), answer.header("location")), ("302", Some("http://169.254.169.254/")));
    assert_eq!(ask(&server, "GET", "/redirect").status(), "400");
    assert_eq!(ask(&server, "GET", "/redirect?to=a%0d%0ab").status(), "400");
}

#[test]
fn slow_begins_an_answer_and_then_drips() {
    let server = MediaServer::start(sample(), ANY_PORT).unwrap();
    let start = Instant::now();
    let mut stream = connect(&server, "GET", "/slow");
    let mut head = [0; 15];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let mut received = 0;
    while start.elapsed() < Duration::from_millis(2500) {
        received += stream.read(&mut [0; 1024]).unwrap();
    }
    assert!(received < 500, "{received} bytes in two seconds and a half");
}

#[test]
fn endless_sends_more_than_any_limit() {
    let server = MediaServer::start(sample(), ANY_PORT).unwrap();
    let mut stream = connect(&server, "GET", "/endless");
    let mut buffer = vec![0; 1 << 20];
    let mut received = 0;
    while received < 64 << 20 {
        let more = stream.read(&mut buffer).unwrap();
        assert!(more > 0, "ended after {received} bytes");
        received += more;
    }
}

#[test]
fn dropping_the_server_ends_open_answers_and_frees_the_port() {
    let server = MediaServer::start(sample(), ANY_PORT).unwrap();
    let address = server.address();
    let mut open = connect(&server, "GET", "/slow");
    open.read_exact(&mut [0; 15]).unwrap();
    let start = Instant::now();
    drop(server);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(TcpStream::connect(address).is_err());
    let again = MediaServer::start(sample(), address).unwrap();
    assert_eq!(again.address(), address);
}

#[test]
fn a_port_that_is_taken_and_a_root_that_is_missing_are_errors() {
    let server = MediaServer::start(sample(), ANY_PORT).unwrap();
    let error = MediaServer::start(sample(), server.address()).unwrap_err();
    assert!(error.to_string().contains(&server.address().to_string()), "{error}");
    assert!(MediaServer::start(sample().join("missing"), ANY_PORT).is_err());
}

#[test]
fn it_starts_inside_a_tokio_runtime_too() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = MediaServer::start(sample(), ANY_PORT).unwrap();
        assert_eq!(ask(&server, "GET", "/status/204").status(), "204");
    });
}
