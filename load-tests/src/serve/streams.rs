//! `GET /v1/stream`: many readers, each with a filter, beside labels that arrive at their own rate. Every reader must be told of
//! each label that it wants, once and in order.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use jtav_testkit::resident_bytes;
use serde::Serialize;
use tokio::sync::watch;

use super::fill::{self, LANGUAGES};
use super::http::Connection;
use super::plan::ServePlan;
use super::rig::ServeRig;
use crate::pacing::Schedule;
use crate::process::cpu_seconds;
use crate::sender::{SendReport, send_all};

/// Wait for the last events.
const LAST: Duration = Duration::from_secs(20);
/// Labels of the streams count from here, so that no post of the store is among them.
const FIRST: usize = 1_000_000_000;
/// Largest event.
const MAX_EVENT: usize = 1024 * 1024;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Streams {
    pub readers: usize,
    pub labels: usize,
    pub labels_per_second: f64,
    /// Events that the readers were told of.
    pub events: u64,
    pub events_per_second: f64,
    /// Wanted and not told of.
    pub lost: u64,
    /// Told of twice, or out of order.
    pub repeated: u64,
    /// From the moment a label was due on the topic to the moment a reader has it.
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// The server's CPU seconds in a second.
    pub cpu_cores: f64,
    /// Resident memory before the first reader.
    pub before_mib: f64,
    /// After a quarter of the time, and at the end.
    pub quarter_mib: f64,
    pub end_mib: f64,
    /// The generator's own lateness.
    pub late_by_at_most_ms: f64,
}

/// What the readers share.
struct Shared {
    begin: Instant,
    schedule: Schedule,
    labels: usize,
    latencies: Mutex<Histogram<u64>>,
}

/// What one reader was told.
#[derive(Default)]
struct Told {
    events: u64,
    repeated: u64,
    lost: u64,
}

impl Told {
    fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.repeated += other.repeated;
        self.lost += other.lost;
    }
}

/// Readers come, labels arrive, readers have all of theirs.
pub async fn measure(rig: &mut ServeRig, plan: &ServePlan) -> Result<Streams> {
    let schedule = Schedule::new(plan.label_rate)?;
    // A multiple of the filters: each reader has as much to read.
    let labels = schedule.records_in(plan.stream_seconds).next_multiple_of(LANGUAGES);
    let before_mib = resident_mib(rig)?;
    let connections = connect(rig, plan.readers).await?;
    let begin = Instant::now() + Duration::from_millis(500);
    let latencies = Mutex::new(Histogram::new(3)?);
    let shared = Arc::new(Shared { begin, schedule, labels, latencies });
    let (give_up, given_up) = watch::channel(false);
    let readers = connections.into_iter().enumerate();
    let readers = readers.map(|(reader, connection)| {
        tokio::spawn(read(connection, reader % LANGUAGES, Arc::clone(&shared), given_up.clone()))
    });
    let readers: Vec<_> = readers.collect();
    let cpu = cpu_seconds(rig.server.pid())?;
    let quarter = resident_after(rig.server.pid(), begin + schedule.due(labels / 4));
    let (sent, quarter) = tokio::join!(play(rig, &shared), quarter);
    let sent = sent?;
    let (seconds, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds(rig.server.pid())? - cpu);
    let end_mib = resident_mib(rig)?;
    let last = tokio::spawn(async move {
        tokio::time::sleep(LAST).await;
        _ = give_up.send(true);
    });
    let mut told = Told::default();
    for own in try_join_all(readers).await? {
        told.add(&own?);
    }
    last.abort();
    rig.server.check()?;
    let latencies = shared.latencies.lock().unwrap_or_else(PoisonError::into_inner);
    let at = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Streams {
        readers: plan.readers,
        labels,
        labels_per_second: sent.arrival_rate_per_second,
        events: told.events,
        events_per_second: told.events as f64 / seconds,
        lost: told.lost,
        repeated: told.repeated,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        max_ms: latencies.max() as f64 / 1e3,
        cpu_cores: cpu / seconds,
        before_mib,
        quarter_mib: quarter.context("the server has ended")?,
        end_mib,
        late_by_at_most_ms: sent.max_lateness_ms,
    })
}

/// Streams that are open, each with its filter.
async fn connect(rig: &ServeRig, readers: usize) -> Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(readers);
    for reader in 0..readers {
        let mut connection = Connection::open(rig.address()).await?;
        connection.open_stream(&format!("/v1/stream?lang={}", fill::language(reader))).await?;
        connections.push(connection);
    }
    Ok(connections)
}

async fn resident_after(pid: u32, when: Instant) -> Option<f64> {
    tokio::time::sleep_until(when.into()).await;
    resident_bytes(pid).map(|bytes| bytes as f64 / f64::from(1 << 20))
}

/// Puts every label on the topic when it is due.
async fn play(rig: &ServeRig, shared: &Shared) -> Result<SendReport> {
    let (topic, producer) = (&rig.topics.sentiment, &rig.producer);
    let sent = send_all(vec![(); shared.labels], shared.schedule, shared.begin, |index, ()| {
        let (number, producer, topic) = (FIRST + index, producer.clone(), topic.clone());
        let value = serde_json::to_vec(&fill::sentiment(number));
        async move { Ok(producer.send(fill::record(&topic, number, value?)).await.map(drop)?) }.boxed()
    })
    .await;
    ensure!(sent.refused.is_empty(), "the broker refused labels: {:?}", sent.first_error);
    Ok(sent)
}

fn resident_mib(rig: &ServeRig) -> Result<f64> {
    Ok(rig.server.resident_bytes().context("the server has ended")? as f64 / f64::from(1 << 20))
}

/// Reads until it has every label of its language, or time is up.
async fn read(
    mut connection: Connection,
    language: usize,
    shared: Arc<Shared>,
    mut given_up: watch::Receiver<bool>,
) -> Result<Told> {
    let mut told = Told::default();
    // FIRST is a multiple of the languages: so are the numbers of one language apart.
    let (mut next, end) = (FIRST + language, FIRST + shared.labels);
    let mut text = Vec::new();
    while next < end {
        let chunk = tokio::select! {
            chunk = connection.chunk() => chunk?,
            _ = given_up.wait_for(|given_up| *given_up) => break,
        };
        text.extend_from_slice(&chunk);
        ensure!(text.len() <= MAX_EVENT, "an event without end");
        let now = Instant::now();
        for number in numbers(&mut text)? {
            ensure!(number >= FIRST && number % LANGUAGES == language, "post {number} is not for {language}");
            told.events += 1;
            if number < next {
                told.repeated += 1;
                continue;
            }
            told.lost += ((number - next) / LANGUAGES) as u64;
            next = number + LANGUAGES;
            let due = shared.begin + shared.schedule.due(number - FIRST);
            let latency = now.saturating_duration_since(due).as_micros() as u64;
            shared.latencies.lock().unwrap_or_else(PoisonError::into_inner).record(latency)?;
        }
    }
    told.lost += (end.saturating_sub(next)).div_ceil(LANGUAGES) as u64;
    Ok(told)
}

/// Takes the whole events out of `text` and gives the numbers of their posts. The frames of HTTP's chunks stand between events, or
/// within; the name of a post is too early in its event for that to matter.
fn numbers(text: &mut Vec<u8>) -> Result<Vec<usize>> {
    const NAME: &[u8] = b"\"post_id\":\"post-";
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|window| window == what);
    let mut numbers = Vec::new();
    let mut done = 0;
    while let Some(at) = find(&text[done..], NAME) {
        let from = done + at + NAME.len();
        let Some(length) = text[from..].iter().position(|byte| *byte == b'"') else { break };
        numbers.push(std::str::from_utf8(&text[from..from + length])?.parse()?);
        done = from + length;
    }
    // What may be the beginning of a name stays.
    if numbers.is_empty() {
        done = text.len().saturating_sub(NAME.len() * 2 + 20);
        let begun = find(&text[done..], &NAME[..1]).map_or(text.len(), |at| done + at);
        done = done.max(begun.min(text.len()));
    }
    text.drain(..done);
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_found_however_it_comes_in_pieces() {
        let whole: String = (0..5)
            .map(|n| format!("id: 0:{n}\nevent: label\ndata: {{\"a\":1,\"post_id\":\"post-{n}07\",\"x\":\"y\"}}\n\n"))
            .collect();
        for size in 1..whole.len() {
            let (mut text, mut found) = (Vec::new(), Vec::new());
            for piece in whole.as_bytes().chunks(size) {
                text.extend_from_slice(piece);
                found.extend(numbers(&mut text).unwrap());
            }
            assert_eq!(found, [7, 107, 207, 307, 407], "in pieces of {size}");
        }
    }
}
