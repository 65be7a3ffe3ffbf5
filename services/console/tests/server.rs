//! The console against a server that a test plays by hand, byte by byte.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jtav_console::{Asked, ConsoleError, Fault, Ink, Key, Server, TapEnd, TapOptions, TopOptions, once, shown, tap};
use serde_json::json;

/// Answers the connections one after the other, and keeps what was asked.
struct Played {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Played {
    /// `answer` is given the number of the connection, from 0; an answer without bytes is none: the connection stays open.
    fn start(answer: impl Fn(usize) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let keeping = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                keeping.lock().unwrap().push(request(&mut stream));
                let bytes = answer(number);
                if bytes.is_empty() {
                    held.push(stream);
                } else {
                    // The reader may have gone.
                    let _ = stream.write_all(&bytes);
                }
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Up to the end of its head.
fn request(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// A stream that ends with its connection.
fn stream(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}").into_bytes()
}

fn label(offset: i64) -> String {
    let sentiment = json!({"of": "a later version"});
    format!(
        "id: 0:{}\nevent: label\ndata: {}\n\n",
        offset + 1,
        json!({"partition": 0, "offset": offset, "sentiment": sentiment})
    )
}

fn options() -> TapOptions {
    TapOptions {
        filters: vec![("label", "negative".to_owned())],
        recent: 7,
        from: None,
        limit: None,
        json: true,
        ink: Ink::Plain,
        width: None,
    }
}

/// What was written, what was said, and how it ended.
async fn tapped(played: &Played, options: &TapOptions) -> (Vec<i64>, Vec<String>, Result<TapEnd, ConsoleError>) {
    let server = Server::new(&played.address, Some(Key::read("k-1").unwrap())).unwrap();
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let stop = tokio::time::sleep(Duration::from_secs(20));
    let end = tap(&server, options, &mut out, &mut |note| notes.push(note.to_owned()), stop).await;
    let out = String::from_utf8(out).unwrap();
    let offset = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["offset"].as_i64().unwrap();
    (out.lines().map(offset).collect(), notes, end.map(|tapped| tapped.end))
}

#[tokio::test]
async fn a_stream_that_breaks_is_taken_up_where_it_stood_and_nothing_comes_twice() {
    let dropped = "id: 0:3\nevent: dropped\ndata: {\"reason\":\"server_ends\",\"resume_from\":\"0:3\"}\n\n";
    let played = Played::start(move |number| match number {
        // Ends in the middle of an event.
        0 => stream(&format!("{}{}id: 0:3\nevent: la", label(0), label(1))),
        1 => answer(
            "503 Service Unavailable",
            "retry-after: 1\r\n",
            "{\"reason\":\"sentiment_topic_unreachable\",\"detail\":\"away\"}",
        ),
        2 => stream(&format!("{}{dropped}{}", label(2), label(9))),
        _ => stream(&format!("{}{}", label(3), label(4))),
    });
    let (offsets, notes, end) = tapped(&played, &TapOptions { limit: Some(5), ..options() }).await;
    assert_eq!((offsets, end.unwrap()), (vec![0, 1, 2, 3, 4], TapEnd::Limit));
    let asked = played.asked();
    let first = asked[0].lines().next().unwrap();
    assert_eq!(first, "get /v1/stream?label=negative&recent=7 http/1.1");
    assert!(asked.iter().all(|request| request.contains("authorization: bearer k-1")), "{asked:?}");
    let last: Vec<Option<&str>> =
        asked.iter().map(|request| Some(request.split_once("last-event-id: ")?.1.split_once('\r')?.0)).collect();
    assert_eq!(last, [None, Some("0:2"), Some("0:2"), Some("0:3")]);
    assert!(!asked[1].contains("recent"), "{asked:?}");
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0].ends_with("again in 0.5 s from 0:2"), "{notes:?}");
    assert!(notes[1].contains("503 sentiment_topic_unreachable: away"), "{notes:?}");
    assert!(notes[2].contains("server_ends"), "{notes:?}");
}

#[tokio::test]
async fn a_refusal_ends_it_at_once_and_so_does_a_server_that_was_never_there() {
    let played =
        Played::start(|_| answer("401 Unauthorized", "", "{\"reason\":\"key_unknown\",\"detail\":\"no\\u001b[2J\"}"));
    let (_, notes, end) = tapped(&played, &options()).await;
    let error = end.unwrap_err();
    assert_eq!((error.fault(), played.asked().len(), notes.len()), (Fault::Settings, 1, 0));
    let said = error.to_string();
    assert!(said.contains("401 key_unknown: no\\u{1b}[2J; give a key") && !said.contains("k-1"), "{said}");
    let nobody = Played { address: "http://127.0.0.1:1".to_owned(), asked: Arc::default() };
    let (_, notes, end) = tapped(&nobody, &options()).await;
    assert_eq!((end.unwrap_err().fault(), notes.len()), (Fault::Unavailable, 0));
}

#[tokio::test]
async fn a_key_follows_no_redirect_and_another_program_is_told_apart() {
    let elsewhere = Played::start(|_| answer("200 OK", "", "{}"));
    let target = format!("location: {}/v1/posts/a\r\n", elsewhere.address);
    let played = Played::start(move |number| match number {
        0 => answer("302 Found", &target, ""),
        _ => answer("200 OK", "", "<html>hello</html>"),
    });
    let server = Server::new(&played.address, Some(Key::read("k-1").unwrap())).unwrap();
    for _ in 0..2 {
        let said = shown(&server, "a/b", Asked::Reasons).await.unwrap_err().to_string();
        assert!(said.contains("something else than is expected"), "{said}");
    }
    assert_eq!(elsewhere.asked().len(), 0);
    assert!(played.asked()[0].starts_with("get /v1/posts/a%2fb?content=true "), "{:?}", played.asked());
    let error = shown(&server, "..", Asked::Reasons).await.unwrap_err();
    assert_eq!((error.fault(), played.asked().len()), (Fault::Data, 2), "it is not asked for: {error}");
}

#[test]
fn a_worker_that_hangs_or_talks_without_end_holds_up_no_other() {
    let here = Played::start(|_| answer("200 OK", "", "jtav_ready 1\njtav_ingest_records_total{partition=\"0\"} 7\n"));
    let hanging = Played::start(|_| Vec::new());
    let endless = Played::start(|_| stream(&"jtav_ready 1\n".repeat(2 << 20)));
    let other = Played::start(|_| answer("200 OK", "", "<html>\u{1b}[2J"));
    let addresses = [&here, &hanging, &endless, &other].map(|played| played.address.clone()).to_vec();
    let started = Instant::now();
    let frame = once(&TopOptions { addresses, interval: Duration::from_millis(200) }).unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(frame.answered, 1);
    for said in [
        "no answer within 2 s",
        "more than 16777216 bytes",
        "line 1 is no metric: <html>\\u{1b}[2J",
        "received 7 ",
        "1 of 4 answer",
    ] {
        assert!(frame.text.contains(said), "`{said}` is not in:\n{}", frame.text);
    }
}
