//! Media hosts that misbehave below HTTP, where no web framework goes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

/// What it does to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes the connection and never says a word.
    Hangs,
    /// Announces 100,000 bytes, sends 100 and closes.
    Truncates,
}

/// Connections that hang at once at most; more than a fetcher opens to one host.
const MAX_HELD: usize = 256;

/// A host on loopback; its port is closed when it is dropped.
#[derive(Debug)]
pub struct BadHost {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl BadHost {
    /// Listens on a free port.
    pub fn start(manner: Manner) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("bad-host".to_owned()).spawn(move || {
            let mut held = std::collections::VecDeque::new();
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                match manner {
                    Manner::Hangs => held.push_back(stream),
                    Manner::Truncates => _ = truncate(stream),
                }
                // The fetcher gave the oldest up long ago.
                if held.len() > MAX_HELD {
                    held.pop_front();
                }
            }
        })?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An image there.
    pub fn image_url(&self) -> String {
        format!("http://{}/image.jpg", self.address)
    }
}

impl Drop for BadHost {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes `accept`.
        _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

fn truncate(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut request = [0; 1024];
    _ = stream.read(&mut request)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: image/jpeg\r\ncontent-length: 100000\r\n\r\n")?;
    stream.write_all(&[0xFF; 100])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(host: &BadHost) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(host.address())?;
        stream.set_read_timeout(Some(Duration::from_millis(300)))?;
        stream.write_all(b"GET /image.jpg HTTP/1.1\r\nhost: x\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn one_host_says_nothing_and_the_other_too_little() {
        let silent = BadHost::start(Manner::Hangs).unwrap();
        assert!(ask(&silent).is_err(), "it must neither answer nor close");
        let short = BadHost::start(Manner::Truncates).unwrap();
        let answer = ask(&short).unwrap();
        let body = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(answer.len() - body, 100);
    }
}
