//! How workers are, from what they say of themselves at `/metrics`.

mod course;
mod feed;
mod figures;
mod frame;
mod scrape;
mod screen;
mod table;

use std::time::Duration;

use crate::error::ConsoleError;
use crate::ink::{Ink, painted};

use self::feed::Feed;
pub use self::screen::top;

/// Fewest milliseconds between two questions to a worker.
const MIN_INTERVAL: Duration = Duration::from_millis(200);
/// Columns of a frame that nobody looks at.
const PLAIN_WIDTH: usize = 80;

/// Whom to ask, and how often.
#[derive(Debug, Clone)]
pub struct TopOptions {
    /// Addresses of `/metrics`; the path may be left out.
    pub addresses: Vec<String>,
    /// From one question to the next.
    pub interval: Duration,
}

/// A frame as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Of every worker.
    pub text: String,
    /// Workers that answered.
    pub answered: usize,
}

/// Asks every worker twice and tells what it is up to, as plain text.
///
/// # Errors
/// An address is none, or the system gives no runtime.
pub fn once(options: &TopOptions) -> Result<Once, ConsoleError> {
    let runtime = runtime()?;
    let interval = options.interval.max(MIN_INTERVAL);
    let feed = Feed::new(&options.addresses)?;
    runtime.block_on(async {
        feed.ask_all().await;
        tokio::time::sleep(interval).await;
        feed.ask_all().await;
    });
    let workers = feed.workers();
    let answered = workers.iter().filter(|worker| worker.figures().is_some()).count();
    let mut lines = frame::overview(&workers, None, PLAIN_WIDTH);
    for worker in &workers {
        if workers.len() > 1 {
            lines.extend(frame::heading(worker));
        }
        lines.extend(frame::body(worker, PLAIN_WIDTH));
    }
    Ok(Once { text: painted(&lines, Ink::Plain), answered })
}

fn runtime() -> Result<tokio::runtime::Runtime, ConsoleError> {
    // A thread of its own: the screen's waits for keys.
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}
