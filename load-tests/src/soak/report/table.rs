//! The table of a soak.

use std::collections::BTreeMap;

use super::SoakReport;
use crate::soak::outage::OutageRecord;
use crate::soak::slope::{Slope, Trend};

impl SoakReport {
    /// Name and value of each row.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let tally = &self.tally;
        let faulty: u64 = self.post_faults.values().sum();
        let [p50, p99, max] = self.latency_ms.map(|ms| format!("{:.2}", ms / 1e3));
        let slope = |slope: &Option<Slope>| match slope {
            Some(slope) => {
                format!("{:+.2} an hour ({:+.2} to {:+.2})", slope.per_hour, slope.low_per_hour, slope.high_per_hour)
            }
            None => "too short a run".to_owned(),
        };
        let below = match self.growth.verdict {
            Trend::Below => "below 1 MB an hour",
            Trend::Above => "above 1 MB an hour",
            Trend::CannotTell => "the run is too short to tell it from 1 MB an hour",
        };
        let range = |column: &[Option<f64>]| {
            let values = self.series.points(column);
            let values = values.iter().filter(|point| point.0 >= self.warm_up_seconds).map(|point| point.1);
            let (low, high) =
                values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
            format!("{low:.0} to {high:.0}")
        };
        let series = &self.series;
        vec![
            ("capacity", format!("{:.1} posts a second", self.capacity.posts_per_second)),
            ("offered", format!("{:.1} posts a second, {} records", self.posts_per_second, tally.records)),
            ("posts with a fault", format!("{faulty} of {} kinds", self.post_faults.len())),
            ("outages of store and broker", outage_row(&self.outages)),
            (
                "ids labelled, dead-lettered, erased",
                format!("{}, {}, {} of {}", tally.labelled, tally.dead_lettered, tally.erased, tally.ids),
            ),
            ("lost, set aside without a cause", format!("{}, {}", tally.lost, tally.set_aside)),
            ("duplicates visible, raw", format!("{}, {}", tally.duplicates_visible, tally.duplicates_raw)),
            ("store against topics", format!("{} differences", self.store_differences.len())),
            ("latency p50 / p99 / max, outages included", format!("{p50} / {p99} / {max} s")),
            ("resident memory after warm-up", format!("{} MB", range(&series.resident_mb))),
            ("its slope, MB", format!("{}: {below}", slope(&self.growth.resident_mb))),
            ("slope of heap and stacks, MB", slope(&self.growth.anonymous_mb)),
            (
                "file descriptors",
                format!("{}, slope {}", range(&series.file_descriptors), slope(&self.growth.file_descriptors)),
            ),
            ("threads", range(&series.threads)),
            ("largest event lag", format!("{} s", range(&series.event_lag_seconds))),
            (
                "idle after the last post",
                self.drained_after_seconds.map_or("never".to_owned(), |seconds| format!("{seconds:.1} s")),
            ),
        ]
    }
}

fn outage_row(outages: &[OutageRecord]) -> String {
    let mut slowest: BTreeMap<&str, (usize, Option<f64>)> = BTreeMap::new();
    for record in outages {
        let entry = slowest.entry(record.outage.name()).or_insert((0, Some(0.0)));
        entry.0 += 1;
        entry.1 = entry.1.zip(record.recovered_after_seconds).map(|(a, b)| a.max(b));
    }
    let parts: Vec<String> = slowest
        .into_iter()
        .map(|(name, (count, slowest))| match slowest {
            Some(seconds) => format!("{count} × {name}, recovered within {seconds:.0} s"),
            None => format!("{count} × {name}, one not recovered before the end"),
        })
        .collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join("; ") }
}
