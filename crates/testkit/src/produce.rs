use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::join_all;
use jtav_kafka::{OutboundRecord, Producer};
use tokio::time::{Instant, sleep_until};

/// Produces records in order, at most `per_second` of them a second (0: as fast as they are acknowledged), in bursts of
/// a twentieth of a second. Returns when all are acknowledged. Cancellation: what was sent may still arrive.
pub async fn produce(producer: &Producer, records: Vec<OutboundRecord>, per_second: usize) -> Result<()> {
    let burst = if per_second == 0 { 500 } else { per_second.div_ceil(20) };
    let started = Instant::now();
    for (index, records) in records.chunks(burst).enumerate() {
        if per_second > 0 {
            sleep_until(started + Duration::from_millis(50) * index as u32).await;
        }
        // Polled in order, and the first poll hands a record over: the order of the records of a key holds.
        for result in join_all(records.iter().map(|record| producer.send(record.clone()))).await {
            result.context("the feed could not be produced")?;
        }
    }
    Ok(())
}
