//! As much of HTTP/1 as four pages for operators need: one GET without a body, one answer, and the connection ends. A
//! server for the open internet keeps slow clients for as long as they like; here every connection has one deadline.

use std::fmt::Write as _;

/// Longest request line with its headers. Prometheus sends about 500 bytes.
pub(crate) const MAX_HEAD_BYTES: usize = 8 * 1024;

/// What is sent back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
pub(crate) const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
pub(crate) const JSON: &str = "application/json";

impl Answer {
    pub(crate) fn new(status: u16, content_type: &'static str, body: impl Into<String>) -> Self {
        Self { status, content_type, body: body.into() }
    }

    /// A status with its reason as the body.
    pub(crate) fn plain(status: u16) -> Self {
        Self::new(status, TEXT, format!("{}\n", reason(status)))
    }

    /// The bytes of the answer; to HEAD without the body.
    pub(crate) fn bytes(&self, head_only: bool) -> Vec<u8> {
        let Self { status, content_type, body } = self;
        let mut text = String::with_capacity(256 + body.len());
        let length = body.len();
        // Writing into a string cannot fail.
        let _ = write!(
            text,
            "HTTP/1.1 {status} {}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
            reason(*status)
        );
        if !head_only {
            text.push_str(body);
        }
        text.into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    /// Without what stands behind a `?`.
    pub(crate) path: &'a str,
    /// HEAD: the answer without its body.
    pub(crate) head_only: bool,
}

/// Where the head of a request ends, if all of it is there.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Reads a head.
///
/// # Errors
/// The status that says what is wrong with it.
pub(crate) fn parse(head: &[u8]) -> Result<Request<'_>, u16> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| 400_u16)?;
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(400);
    };
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || !target.starts_with('/') {
        return Err(400);
    }
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(405),
    };
    Ok(Request { path: target.split('?').next().unwrap_or(target), head_only })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_get_is_read_and_everything_else_has_its_status() {
        let get = |path| Ok(Request { path, head_only: false });
        assert_eq!(parse(b"GET /metrics HTTP/1.1\r\nHost: w\r\n\r\n"), get("/metrics"));
        assert_eq!(parse(b"GET /readyz?verbose=1 HTTP/1.0\r\n\r\n"), get("/readyz"));
        assert_eq!(parse(b"HEAD / HTTP/1.1\r\n\r\n"), Ok(Request { path: "/", head_only: true }));
        assert_eq!(parse(b"POST /metrics HTTP/1.1\r\n\r\n"), Err(405));
        for head in ["\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET http://h/ HTTP/1.1\r\n\r\n"] {
            assert_eq!(parse(head.as_bytes()), Err(400), "{head:?}");
        }
    }

    #[test]
    fn an_answer_says_how_long_it_is_and_that_the_connection_ends() {
        let answer = Answer::new(200, JSON, "{\"ready\":true}");
        let text = String::from_utf8(answer.bytes(false)).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\n{\"ready\":true}"), "{text}");
        assert!(text.contains("Content-Length: 14\r\n") && text.contains("Connection: close\r\n"), "{text}");
        assert!(answer.bytes(true).ends_with(b"\r\n\r\n"));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = head_end(&bytes);
            let _ = parse(&bytes);
        }
    }
}
