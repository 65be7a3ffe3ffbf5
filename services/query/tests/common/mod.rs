//! What the tests of strangers' media share: a host that counts and lets wait, media, settings.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jtav_media_codecs::write_wav;
use jtav_settings::{Loader, Settings};

pub const PATIENCE: Duration = Duration::from_secs(30);

/// A host of strangers' media: `/drip…` begins to answer and sends nothing more, every other path gives its file.
pub struct Host {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    paths: Mutex<Vec<String>>,
    dripping: AtomicUsize,
}

impl Host {
    /// Serves these files by path.
    pub fn start(files: Vec<(&'static str, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, files) = (Arc::<Seen>::default(), Arc::new(files));
        let counts = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, files) = (Arc::clone(&counts), Arc::clone(&files));
                // A peer that breaks off is no concern of the host's.
                std::thread::spawn(move || answer(stream, &seen, &files).ok());
            }
        });
        Self { address, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Requests for a path.
    pub fn asked_for(&self, path: &str) -> usize {
        self.seen.paths.lock().unwrap().iter().filter(|seen| *seen == path).count()
    }

    /// Connections on which a drip waits.
    pub fn dripping(&self) -> usize {
        self.seen.dripping.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: TcpStream, seen: &Seen, files: &[(&str, Vec<u8>)]) -> std::io::Result<()> {
    let mut head = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    head.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    while line.trim() != "" {
        line.clear();
        head.read_line(&mut line)?;
    }
    seen.paths.lock().unwrap().push(path.clone());
    if path.starts_with("/drip") {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n\x89")?;
        seen.dripping.fetch_add(1, Ordering::SeqCst);
        // Until the other side closes.
        let _ = head.read(&mut [0]);
        seen.dripping.fetch_sub(1, Ordering::SeqCst);
        return Ok(());
    }
    let Some((_, file)) = files.iter().find(|(name, _)| *name == path) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", file.len())?;
    stream.write_all(file)
}

/// A grey PNG of so many pixels.
pub fn png(width: u32, height: u32, grey: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&vec![grey; (width * height) as usize]).unwrap();
    writer.finish().unwrap();
    bytes
}

/// A tone of one second at this rate.
pub fn tone(rate_hz: u32) -> Vec<u8> {
    let samples: Vec<i16> = (0..rate_hz).map(|at| ((at % 100) as i16 - 50) * 200).collect();
    write_wav(&samples, rate_hz)
}

/// Stand-in networks, decoders in threads, and media from these addresses and from URLs themselves.
pub fn settings(allow: &[SocketAddr], change: impl FnOnce(&mut Settings)) -> Arc<Settings> {
    let loader =
        Loader::new().set("model.stub=true").set("media.sources=[\"data\"]").set("media.decode_processes=false");
    let mut settings = loader.load().unwrap().settings;
    settings.media.allow = allow.to_vec();
    settings.media.attempts = 1;
    settings.media.circuit_failures = 0;
    settings.media.decode_workers = 2;
    change(&mut settings);
    settings.validate().unwrap();
    Arc::new(settings)
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "{what} does not come to be");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
