use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

use super::*;

/// A server whose `/large` is more than a socket buffers.
fn server() -> Admin {
    Admin::serve((Ipv4Addr::LOCALHOST, 0).into(), |path| async move {
        match path.as_str() {
            "/large" => Answer::new(200, TEXT, "x".repeat(32 << 20)),
            "/hangs" => std::future::pending().await,
            _ => Answer::new(200, TEXT, path),
        }
    })
    .unwrap()
}

fn connect(server: &Admin) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

fn ask(server: &Admin, request: &str) -> String {
    let mut stream = connect(server);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn answers_soon(server: &Admin) {
    let started = Instant::now();
    let answer = ask(server, "GET /readyz HTTP/1.1\r\nHost: w\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n/readyz"), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn a_probe_is_answered_while_a_peer_holds_every_kind_of_slow_connection() {
    let server = server();
    let mut held = Vec::new();
    for round in 0..100 {
        let mut stream = connect(&server);
        let request = match round % 4 {
            0 => "",
            1 => "GET /metr",
            2 => "GET /large HTTP/1.1\r\n\r\n",
            _ => "GET /hangs HTTP/1.1\r\n\r\n",
        };
        // A connection that had to leave for a newer one is closed, which is the point.
        let _ = stream.write_all(request.as_bytes());
        held.push(stream);
        if round % 10 == 9 {
            answers_soon(&server);
        }
    }
    let started = Instant::now();
    let mut open = held.pop().unwrap();
    let mut answer = Vec::new();
    let _ = open.read_to_end(&mut answer);
    assert!(answer.is_empty() && started.elapsed() < CONNECTION_DEADLINE * 2, "{:?}", started.elapsed());
    answers_soon(&server);
}

#[test]
fn a_request_has_a_size_and_one_form() {
    let server = server();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_HEAD_BYTES));
    assert!(ask(&server, &long).starts_with("HTTP/1.1 431 "));
    let headers = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(MAX_HEAD_BYTES));
    assert!(ask(&server, &headers).starts_with("HTTP/1.1 431 "));
    assert!(ask(&server, "POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello").starts_with("HTTP/1.1 405 "));
    assert!(ask(&server, "\u{0}\u{1}\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let head = ask(&server, "HEAD /readyz HTTP/1.1\r\n\r\n");
    assert!(head.contains("Content-Length: 7\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn when_stopped_it_is_gone_and_its_port_is_free() {
    let server = server();
    answers_soon(&server);
    let address = server.address;
    tokio::runtime::Runtime::new().unwrap().block_on(server.stop());
    assert!(TcpStream::connect(address).is_err());
    TcpListener::bind(address).unwrap();
}

#[test]
fn a_reason_is_quoted_and_cannot_become_markup_or_a_header() {
    let hostile = "store: \"<script>\r\nSet-Cookie: a\u{1b}[2J".to_owned();
    let text = String::from_utf8(state("ready", Some(hostile.clone())).bytes(false)).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("application/json") && head.contains("nosniff") && !head.contains("Set-Cookie"), "{head}");
    assert!(!body.contains(['\r', '\n', '\u{1b}']), "{body}");
    let read: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(read["reason"].as_str(), Some(hostile.as_str()));
}
