//! The open loop: records go out when they are due, whether or not earlier ones were answered.

use std::future::Future;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde::Serialize;

use crate::pacing::Schedule;

/// How the generator itself did. A generator that is late measures itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SendReport {
    /// Records handed over.
    pub sent: usize,
    /// Places in the schedule of the records that were not acknowledged.
    #[serde(skip)]
    pub refused: Vec<usize>,
    /// The first reason.
    pub first_error: Option<String>,
    /// Largest distance between the moment a record was due and the moment it was handed over.
    pub max_lateness_ms: f64,
    /// Records a second, from the start to the last hand-over plus one interval.
    pub arrival_rate_per_second: f64,
}

/// Sends every record when it is due after `start`. Nothing waits for acknowledgements: a slow receiver makes the
/// records pile up, not the schedule slip. Returns when all are acknowledged or refused.
///
/// `send` must hand the record over on the first poll of its future.
pub async fn send_all<R, F>(
    records: Vec<R>,
    schedule: Schedule,
    start: Instant,
    mut send: impl FnMut(usize, R) -> F,
) -> SendReport
where
    F: Future<Output = anyhow::Result<()>> + Unpin,
{
    let mut report = SendReport::default();
    let mut waiting = FuturesUnordered::new();
    let settle = |(index, result): (usize, anyhow::Result<()>), report: &mut SendReport| {
        if let Err(error) = result {
            report.refused.push(index);
            report.first_error.get_or_insert_with(|| format!("{error:#}"));
        }
    };
    for (index, record) in records.into_iter().enumerate() {
        let due = start + schedule.due(index);
        while Instant::now() < due {
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                Some(done) = waiting.next(), if !waiting.is_empty() => settle(done, &mut report),
            }
        }
        let lateness = start.elapsed().saturating_sub(schedule.due(index));
        report.max_lateness_ms = report.max_lateness_ms.max(lateness.as_secs_f64() * 1e3);
        let mut sending = send(index, record);
        report.sent += 1;
        match futures::poll!(&mut sending) {
            Poll::Ready(result) => settle((index, result), &mut report),
            Poll::Pending => waiting.push(async move { (index, sending.await) }),
        }
        if report.sent.is_multiple_of(64) {
            // A generator that is late never sleeps; the rest of the runtime wants its turn.
            tokio::task::yield_now().await;
        }
    }
    let span = start.elapsed() + Duration::from_secs_f64(1.0 / schedule.rate_per_second());
    report.arrival_rate_per_second = report.sent as f64 / span.as_secs_f64();
    while let Some(done) = waiting.next().await {
        settle(done, &mut report);
    }
    report
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_receiver_that_answers_nothing_does_not_slow_the_schedule() {
        let times = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&times);
        let start = Instant::now();
        let report = send_all(vec![(); 50], Schedule::new(500.0).unwrap(), start, |_, ()| {
            seen.lock().unwrap().push(start.elapsed());
            // Every answer takes longer than the whole schedule.
            async {
                tokio::time::sleep(Duration::from_millis(400)).await;
                Ok(())
            }
            .boxed()
        })
        .await;
        let times = times.lock().unwrap();
        assert_eq!((times.len(), report.sent), (50, 50));
        let schedule = Schedule::new(500.0).unwrap();
        assert!(times.iter().enumerate().all(|(index, at)| *at >= schedule.due(index)), "{times:?}");
        // The last is due after 98 ms, before the first answer at 400 ms.
        assert!(times[49] < Duration::from_millis(390), "{:?}", times[49]);
    }

    #[tokio::test]
    async fn refusals_are_reported_with_their_place_in_the_schedule() {
        let report = send_all(vec![(); 4], Schedule::new(10_000.0).unwrap(), Instant::now(), |index, ()| {
            async move { if index % 2 == 1 { Err(anyhow::anyhow!("no {index}")) } else { Ok(()) } }.boxed()
        })
        .await;
        assert_eq!(report.refused, [1, 3]);
        assert_eq!(report.first_error.as_deref(), Some("no 1"));
    }

    #[tokio::test]
    async fn the_lateness_of_the_generator_itself_is_reported() {
        let start = Instant::now() - Duration::from_millis(50);
        let report = send_all(vec![()], Schedule::new(1.0).unwrap(), start, |_, ()| async { Ok(()) }.boxed()).await;
        assert!(report.max_lateness_ms >= 50.0, "{report:?}");
    }
}
