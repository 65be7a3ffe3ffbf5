//! HTTP/1.1 as little as a generator needs: one connection that stays, one question at a time. A client for everything would cost
//! more than the server that is measured.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest head of an answer.
const MAX_HEAD: usize = 16 * 1024;

/// An answer.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// A connection that is kept.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens one.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8 * 1024) })
    }

    /// Asks, and reads the answer whole.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        tokio::time::timeout(PATIENCE, self.ask(path)).await.with_context(|| format!("no answer to {path}"))?
    }

    async fn ask(&mut self, path: &str) -> Result<Answer> {
        self.send(path).await?;
        let head = self.head().await?;
        let (status, length) = read_head(&self.buffer[..head])?;
        let length = length.context("an answer without its length")?;
        while self.buffer.len() < head + length {
            self.more().await?;
        }
        let body = self.buffer[head..head + length].to_vec();
        self.buffer.drain(..head + length);
        Ok(Answer { status, body })
    }

    /// Asks for what has no end; what comes of it is left to [`Self::chunk`].
    pub async fn open_stream(&mut self, path: &str) -> Result<()> {
        self.send(path).await?;
        let head = tokio::time::timeout(PATIENCE, self.head()).await.context("no head of the stream")??;
        let (status, _) = read_head(&self.buffer[..head])?;
        ensure!(status == 200, "{path}: {status}");
        self.buffer.drain(..head);
        Ok(())
    }

    /// The next bytes of the stream, frames of its chunks among them.
    pub async fn chunk(&mut self) -> Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.more().await?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    async fn send(&mut self, path: &str) -> Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        Ok(self.stream.write_all(request.as_bytes()).await?)
    }

    /// Reads the head; its length.
    async fn head(&mut self) -> Result<usize> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(end + 4);
            }
            ensure!(self.buffer.len() < MAX_HEAD, "a head without end");
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server has closed the connection");
        }
        Ok(())
    }
}

/// Status, and the body's length where it is said.
fn read_head(head: &[u8]) -> Result<(u16, Option<usize>)> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("a status line")?.parse()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse()).and_then(Result::ok)
    });
    Ok((status, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_status_and_length_in_whatever_letters() {
        let read = |head: &str| read_head(head.as_bytes());
        assert_eq!(read("HTTP/1.1 404 Not Found\r\nCONTENT-Length: 17\r\n\r\n").unwrap(), (404, Some(17)));
        assert_eq!(read("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap(), (200, None));
        assert!(read("nonsense").is_err());
    }
}
