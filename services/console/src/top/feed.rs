//! Asks workers, each by itself: one that hangs holds up no other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use url::Url;

use super::course::Worker;
use super::scrape::{MAX_BYTES, Scrape};
use crate::error::{ConsoleError, told};
use crate::server::{cause, client, http_url, read_body};

/// Workers that are looked at together.
const MAX_WORKERS: usize = 64;
/// For an answer.
const DEADLINE: Duration = Duration::from_secs(2);
const EXAMPLE: &str = "http://127.0.0.1:9600/metrics";

/// The workers and what they said last.
#[derive(Clone)]
pub(super) struct Feed {
    targets: Vec<(Url, Client)>,
    workers: Arc<Mutex<Vec<Worker>>>,
}

impl Feed {
    /// # Errors
    /// An address is none, or there are too many.
    pub(super) fn new(addresses: &[String]) -> Result<Self, ConsoleError> {
        if addresses.len() > MAX_WORKERS {
            let why = format!("at most {MAX_WORKERS} workers are looked at together");
            return Err(ConsoleError::Address {
                address: format!("a list of {}", addresses.len()),
                example: EXAMPLE,
                why,
            });
        }
        let mut targets = Vec::new();
        let mut workers = Vec::new();
        for address in addresses {
            let url = metrics_url(address)?;
            workers.push(Worker::new(name(&url)));
            targets.push((url.clone(), client(&url)?));
        }
        Ok(Self { targets, workers: Arc::new(Mutex::new(workers)) })
    }

    /// As they are now.
    pub(super) fn workers(&self) -> Vec<Worker> {
        self.lock().clone()
    }

    /// Asks each once, all at the same time.
    pub(super) async fn ask_all(&self) {
        let asking: Vec<_> = (0..self.targets.len())
            .map(|at| {
                let feed = self.clone();
                tokio::spawn(async move { feed.ask(at).await })
            })
            .collect();
        for asked in asking {
            // A task that panicked has said so; its worker keeps what it said last.
            let _ = asked.await;
        }
    }

    /// Asks each again and again, for as long as the runtime lives.
    pub(super) fn keep_asking(&self, runtime: &tokio::runtime::Runtime, interval: Duration) {
        for at in 0..self.targets.len() {
            let feed = self.clone();
            runtime.spawn(async move {
                let mut turns = tokio::time::interval(interval);
                turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    turns.tick().await;
                    feed.ask(at).await;
                }
            });
        }
    }

    async fn ask(&self, at: usize) {
        let Some((url, client)) = self.targets.get(at) else { return };
        let asked_at = Instant::now();
        let late = || Err(format!("no answer within {} s", DEADLINE.as_secs()));
        let answer = tokio::time::timeout(DEADLINE, scrape(client, url)).await.unwrap_or_else(|_| late());
        if let Some(worker) = self.lock().get_mut(at) {
            worker.take(asked_at, answer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn scrape(client: &Client, url: &Url) -> Result<Scrape, String> {
    let mut response = client.get(url.clone()).send().await.map_err(|error| cause(&error))?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(format!(
                "status {}: a key is asked for; the worker's own /metrics (admin.listen) asks for none",
                response.status().as_u16()
            ));
        }
        status => return Err(format!("status {}", status.as_u16())),
    }
    let body = read_body(&mut response, MAX_BYTES).await.map_err(|error| cause(&error))?;
    let body = body.ok_or_else(|| format!("more than {MAX_BYTES} bytes"))?;
    Scrape::read(&String::from_utf8_lossy(&body))
}

/// An address may leave out scheme and path.
fn metrics_url(address: &str) -> Result<Url, ConsoleError> {
    let mut url = http_url(address, EXAMPLE)?;
    if url.path() == "/" {
        url.set_path("/metrics");
    }
    Ok(url)
}

/// Without what is the same of all.
fn name(url: &Url) -> String {
    let text = url.as_str();
    let text = text.strip_prefix("http://").unwrap_or(text);
    told(text.strip_suffix("/metrics").unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_what_is_always_the_same() {
        for (address, url, short) in [
            ("127.0.0.1:9600", "http://127.0.0.1:9600/metrics", "127.0.0.1:9600"),
            ("http://w1:9600/", "http://w1:9600/metrics", "w1:9600"),
            ("https://w1/jtav/metrics", "https://w1/jtav/metrics", "https://w1/jtav"),
        ] {
            let read = metrics_url(address).unwrap();
            assert_eq!((read.as_str(), name(&read).as_str()), (url, short));
        }
        assert!(Feed::new(&["ftp://a".to_owned()]).is_err());
        let said = Feed::new(&vec!["a".to_owned(); MAX_WORKERS + 1]).err().unwrap().to_string();
        assert!(said.contains("at most 64 workers"), "{said}");
    }
}
