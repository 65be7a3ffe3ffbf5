use std::borrow::Cow;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use crate::feed::FeedRecord;
use crate::sink::FeedSink;

/// How a feed is played.
#[derive(Debug, Clone, PartialEq)]
pub struct PlayOptions {
    /// Records a second; none sends as fast as the sink acknowledges.
    pub rate_per_second: Option<f64>,
    /// How often the whole feed is played; 0 goes on until the future is dropped. From the second time on, ids carry
    /// `~2`, `~3`, …, so that they are new posts.
    pub loops: u32,
    /// Records that may wait for their acknowledgement. At the bound the feed waits, and the wait counts as lateness.
    pub max_in_flight: usize,
}

impl Default for PlayOptions {
    fn default() -> Self {
        Self { rate_per_second: None, loops: 1, max_in_flight: 1000 }
    }
}

/// What was played so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlayCounts {
    /// Records to play in all; 0 if there is no end.
    pub total: u64,
    /// Handed to the sink.
    pub sent: u64,
    pub acknowledged: u64,
    /// Refused by it.
    pub failed: u64,
    /// The first refusal.
    pub first_error: Option<String>,
    /// The largest distance between the time a record should have been sent and the time it was. Zero without a rate.
    pub max_lateness: Duration,
    /// Since the start.
    pub elapsed: Duration,
}

impl PlayCounts {
    /// Records handed over, by the second; 0 at the very start.
    pub fn sent_per_second(&self) -> f64 {
        if self.elapsed.is_zero() { 0.0 } else { self.sent as f64 / self.elapsed.as_secs_f64() }
    }

    fn settle(&mut self, result: anyhow::Result<()>) {
        match result {
            Ok(()) => self.acknowledged += 1,
            Err(error) => {
                self.failed += 1;
                self.first_error.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
}

/// Options that make no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlayError {
    /// Not a number above 0.
    #[error("a rate of {0} records a second cannot be played: give a number above 0")]
    Rate(f64),
}

impl PlayError {
    /// Never.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// Plays the records in order. With a rate the loop is open: record n is due at start + n / rate whether or not the
/// sink keeps up, so a slow sink cannot make the feed wait and hide its own slowness; records carry the time they were
/// due as their timestamp. `progress` is called after every record sent and at the end.
///
/// A refused record is counted and the feed goes on. Needs a tokio runtime with time. Cancellation: dropping the
/// future stops the feed; records already sent may still arrive.
pub async fn play(
    records: &[FeedRecord],
    sink: &dyn FeedSink,
    options: &PlayOptions,
    mut progress: impl FnMut(&PlayCounts),
) -> Result<PlayCounts, PlayError> {
    let interval = match options.rate_per_second {
        None => None,
        Some(rate) if rate.is_finite() && rate > 0.0 => Some(1.0 / rate),
        Some(rate) => return Err(PlayError::Rate(rate)),
    };
    let start = Instant::now();
    let start_of_day = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut counts = PlayCounts { total: records.len() as u64 * u64::from(options.loops), ..PlayCounts::default() };
    let mut waiting = Waiting::new();
    for record in rounds(records, options.loops) {
        let mut record = record.into_owned();
        if let Some(interval) = interval {
            let after = Duration::try_from_secs_f64(interval * counts.sent as f64).unwrap_or(Duration::MAX);
            let Some(due) = start.checked_add(after) else { break };
            wait_until(due, &mut waiting, &mut counts).await;
            record.timestamp_ms = Some((start_of_day + after).as_millis() as i64);
        }
        while waiting.len() >= options.max_in_flight.max(1) {
            settle_next(&mut waiting, &mut counts).await;
        }
        if let Some(interval) = interval {
            let due = Duration::from_secs_f64(interval * counts.sent as f64);
            counts.max_lateness = counts.max_lateness.max(start.elapsed().saturating_sub(due));
        }
        let mut sending = sink.send(record);
        counts.sent += 1;
        // Polled here, one after the other, because the first poll hands the record over.
        match futures::poll!(sending.as_mut()) {
            Poll::Ready(result) => counts.settle(result),
            Poll::Pending => waiting.push(sending),
        }
        counts.elapsed = start.elapsed();
        progress(&counts);
        if counts.sent.is_multiple_of(64) {
            // A feed that is late never sleeps; the rest of the runtime wants its turn.
            tokio::task::yield_now().await;
        }
    }
    while !waiting.is_empty() {
        settle_next(&mut waiting, &mut counts).await;
    }
    counts.elapsed = start.elapsed();
    progress(&counts);
    Ok(counts)
}

/// The records of every round; none at all if there are no records, however many rounds.
fn rounds(records: &[FeedRecord], loops: u32) -> impl Iterator<Item = Cow<'_, FeedRecord>> {
    let last = if records.is_empty() {
        0
    } else if loops == 0 {
        u64::MAX
    } else {
        loops.into()
    };
    (1..=last).flat_map(move |round| {
        records.iter().map(move |record| match round {
            1 => Cow::Borrowed(record),
            round => Cow::Owned(record.with_id_suffix(&format!("~{round}"))),
        })
    })
}

type Waiting<'a> = FuturesUnordered<BoxFuture<'a, anyhow::Result<()>>>;

async fn wait_until(due: Instant, waiting: &mut Waiting<'_>, counts: &mut PlayCounts) {
    while Instant::now() < due {
        tokio::select! {
            () = sleep_until(due) => return,
            () = settle_next(waiting, counts), if !waiting.is_empty() => {}
        }
    }
}

async fn settle_next(waiting: &mut Waiting<'_>, counts: &mut PlayCounts) {
    if let Some(result) = waiting.next().await {
        counts.settle(result);
    }
}
