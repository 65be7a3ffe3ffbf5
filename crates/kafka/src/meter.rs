//! What was produced into in-process clusters of this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::KafkaError;

/// Bytes per partition from which our producer refuses to send to an in-process cluster. The cluster itself drops the
/// oldest batch without a word from 5 MiB on; the margin covers what is under way.
pub const IN_PROCESS_MAX_BYTES: u64 = 4 << 20;

/// Records per partition, likewise; the cluster keeps 100,000 batches and a batch may hold a single record.
pub const IN_PROCESS_MAX_RECORDS: u64 = 90_000;

#[derive(Debug, Default, Clone, Copy)]
struct Fill {
    bytes: u64,
    records: u64,
}

/// Fill of every partition of one cluster, as far as this process produced it. Sizes are before compression, so the
/// count errs on the safe side.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    delivered: Mutex<HashMap<String, HashMap<i32, Fill>>>,
    under_way: Mutex<HashMap<String, Fill>>,
}

/// Room that was reserved for one record on its way; given back when dropped.
pub(crate) struct Reservation<'a> {
    meter: &'a Meter,
    topic: String,
    bytes: u64,
}

impl Meter {
    /// Reserves room for a record. The partition is not known before delivery, so the fullest one of the topic counts.
    pub(crate) fn reserve(&self, topic: &str, bytes: u64) -> Result<Reservation<'_>, KafkaError> {
        let fullest = self.fullest(topic);
        let mut under_way = lock(&self.under_way);
        let fill = under_way.entry(topic.to_owned()).or_default();
        let after = Fill { bytes: fullest.bytes + fill.bytes + bytes, records: fullest.records + fill.records + 1 };
        if after.bytes > IN_PROCESS_MAX_BYTES || after.records > IN_PROCESS_MAX_RECORDS {
            return Err(KafkaError::InProcessFull {
                topic: topic.to_owned(),
                bytes: fullest.bytes,
                records: fullest.records,
            });
        }
        fill.bytes += bytes;
        fill.records += 1;
        Ok(Reservation { meter: self, topic: topic.to_owned(), bytes })
    }

    fn fullest(&self, topic: &str) -> Fill {
        let delivered = lock(&self.delivered);
        let mut fullest = Fill::default();
        for fill in delivered.get(topic).into_iter().flat_map(HashMap::values) {
            fullest.bytes = fullest.bytes.max(fill.bytes);
            fullest.records = fullest.records.max(fill.records);
        }
        fullest
    }

    /// Bytes of the fullest partition of a topic.
    pub(crate) fn fullest_bytes(&self, topic: &str) -> u64 {
        self.fullest(topic).bytes
    }
}

impl Reservation<'_> {
    /// The broker has the record.
    pub(crate) fn delivered(&self, partition: i32) {
        let mut delivered = lock(&self.meter.delivered);
        let fill = delivered.entry(self.topic.clone()).or_default().entry(partition).or_default();
        fill.bytes += self.bytes;
        fill.records += 1;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(fill) = lock(&self.meter.under_way).get_mut(&self.topic) {
            fill.bytes = fill.bytes.saturating_sub(self.bytes);
            fill.records = fill.records.saturating_sub(1);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Meters by broker address. A registry, and not a field of the settings, so that no producer of this process can
/// write into an in-process cluster uncounted, whatever way its settings came about.
static METERS: Mutex<Vec<(String, Arc<Meter>)>> = Mutex::new(Vec::new());

/// Starts counting for a cluster.
pub(crate) fn register(brokers: &str) -> Arc<Meter> {
    let meter = Arc::new(Meter::default());
    let mut meters = lock(&METERS);
    meters.extend(brokers.split(',').map(|address| (address.to_owned(), Arc::clone(&meter))));
    meter
}

/// Stops counting: the port may later belong to something else.
pub(crate) fn unregister(meter: &Arc<Meter>) {
    lock(&METERS).retain(|(_, known)| !Arc::ptr_eq(known, meter));
}

/// The meter of a cluster, if it is one of this process.
pub(crate) fn find(brokers: &str) -> Option<Arc<Meter>> {
    let meters = lock(&METERS);
    brokers.split(',').find_map(|address| {
        meters.iter().find(|(known, _)| known == address.trim()).map(|(_, meter)| Arc::clone(meter))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_under_way_counts_until_it_is_given_back() {
        let meter = Meter::default();
        let held = meter.reserve("t", IN_PROCESS_MAX_BYTES - 10).unwrap();
        assert!(meter.reserve("t", 11).is_err());
        assert!(meter.reserve("other", 11).is_ok());
        drop(held);
        assert!(meter.reserve("t", 11).is_ok());
    }

    #[test]
    fn the_fullest_partition_decides() {
        let meter = Meter::default();
        for (partition, bytes) in [(0, 100), (1, IN_PROCESS_MAX_BYTES - 100)] {
            meter.reserve("t", bytes).unwrap().delivered(partition);
        }
        assert_eq!(meter.fullest_bytes("t"), IN_PROCESS_MAX_BYTES - 100);
        let error = meter.reserve("t", 101).map(|_| ()).unwrap_err();
        assert!(matches!(error, KafkaError::InProcessFull { .. }));
    }
}
