//! The picture of a soak.

use anyhow::Result;
use jtav_picture::{TimelinePanel, TimelineSeries, timeline};

use super::SoakReport;

impl SoakReport {
    /// Memory with its slope, descriptors and threads, lag, throughput.
    pub(super) fn picture(&self) -> Result<Vec<u8>> {
        let series = &self.series;
        let line = |name: &str, column: &[Option<f64>]| TimelineSeries {
            name: name.to_owned(),
            points: series.points(column).into_iter().map(|(seconds, value)| (seconds / 60.0, value)).collect(),
        };
        // While networks are loaded it grows by hundreds of MB, beside which a leak could not be seen.
        let mut resident = line("resident memory", &series.resident_mb);
        resident.points.retain(|(minutes, _)| minutes * 60.0 >= self.soak_from_seconds);
        let mut memory = vec![resident];
        if let (Some(slope), Some(last)) = (&self.growth.resident_mb, series.seconds.last()) {
            let ends = [self.warm_up_seconds, *last];
            memory.push(TimelineSeries {
                name: format!("slope after warm-up: {:+.2} MB/h", slope.per_hour),
                points: ends.map(|seconds| (seconds / 60.0, slope.at(seconds / 3600.0))).to_vec(),
            });
        }
        let panel = |axis: &str, series: Vec<TimelineSeries>, from_zero: bool| TimelinePanel {
            axis: axis.to_owned(),
            series,
            from_zero,
        };
        let panels = [
            panel("memory [MB]", memory, false),
            panel(
                "count",
                vec![line("file descriptors", &series.file_descriptors), line("threads", &series.threads)],
                true,
            ),
            panel("event lag [s]", vec![line("age of the oldest unsettled post", &series.event_lag_seconds)], true),
            panel(
                "posts",
                vec![
                    line("not committed", &series.consumer_lag_records),
                    line("in flight", &series.in_flight_posts),
                    line("conservation gap", &series.conservation_gap),
                ],
                true,
            ),
            panel("posts a second", vec![line("settled", &series.settled_per_second)], true),
        ];
        let marks: Vec<f64> = self.outages.iter().map(|record| record.at_seconds / 60.0).collect();
        let title = format!(
            "soak of {:.0} minutes at {:.0} posts a second, 1 % with a fault; upright lines: outages",
            self.minutes, self.posts_per_second
        );
        Ok(timeline(&title, &panels, &marks)?)
    }
}
