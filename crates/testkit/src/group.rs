use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use jtav_kafka::{ClientSettings, group_positions, watermarks};

/// Whether a group has committed the end of every partition that holds a record, as the ends are now; blocks up to
/// `timeout` for each request.
pub fn is_through(client: &ClientSettings, group: &str, topic: &str, timeout: Duration) -> Result<bool> {
    let ends: BTreeMap<i32, i64> = watermarks(client, topic, timeout)?
        .into_iter()
        .map(|(partition, (_, high))| (partition, high))
        .filter(|(_, high)| *high > 0)
        .collect();
    Ok(group_positions(client, group, topic, timeout)? == ends)
}
