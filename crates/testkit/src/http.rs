use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Status and body of a `GET`; `patience` for the connection and for each part of the answer.
pub fn http_get(address: SocketAddr, path: &str, patience: Duration) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // HTTP/1.0, so that the body ends with the connection and is never chunked.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).context("an HTTP status")?;
    Ok((status, body.to_owned()))
}

/// All series of a metric in a text of Prometheus, joined; none without one.
pub fn metric(exposition: &str, name: &str, join: fn(f64, f64) -> f64) -> Option<f64> {
    let values = exposition.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse().ok()).flatten()
    });
    values.reduce(join)
}

/// An address on loopback that nobody uses now. Somebody may take it first; whoever was given it then says so.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_of_its_own_samples() {
        let text = "# TYPE a gauge\na{p=\"0 1\"} 2\na{p=\"1\"} 3.5\na_b 7\nb 1e3\n";
        let sum_of = |name: &str| metric(text, name, |a, b| a + b);
        assert_eq!(sum_of("a"), Some(5.5));
        assert_eq!(sum_of("b"), Some(1000.0));
        assert_eq!(sum_of("c"), None);
    }

    #[test]
    fn a_metric_is_joined_over_its_own_series() {
        let text = "# TYPE a gauge\na{p=\"0 1\"} 2\na{p=\"1\"} 3.5\na_b 7\n";
        assert_eq!(metric(text, "a", |a, b| a + b), Some(5.5));
        assert_eq!(metric(text, "a", f64::max), Some(3.5));
        assert_eq!(metric(text, "c", f64::max), None);
    }
}
