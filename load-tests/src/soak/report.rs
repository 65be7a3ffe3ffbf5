//! The result of a soak: verdicts, JSON with every sample, a table, a picture.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jtav_picture::{TimelinePanel, TimelineSeries, timeline};
use serde::Serialize;

use super::book::Tally;
use super::feed::PostFault;
use super::outage::Outage;
use super::sample::Series;
use super::slope::{Slope, Verdict, block_medians, median, verdict};
use crate::process::Machine;

/// What memory may grow by.
pub const LIMIT_MB_PER_HOUR: f64 = 1.0;
/// Points of a slope are medians of so long.
const BLOCK_SECONDS: f64 = 30.0;
/// A lag this long after the end of an outage is still due to it, for finding what is normal.
const SHADOW_SECONDS: f64 = 30.0;

/// An outage and how long its traces lasted.
#[derive(Debug, Clone, Serialize)]
pub struct OutageRecord {
    /// What.
    pub outage: Outage,
    /// When it began, since the start of the soak.
    pub at_seconds: f64,
    /// When it was over.
    pub over_at_seconds: f64,
    /// From then until the event lag was as it is without an outage; none if the soak ended before.
    pub recovered_after_seconds: Option<f64>,
}

/// How fast the worker was when posts never ran out.
#[derive(Debug, Clone, Serialize)]
pub struct Capacity {
    /// Outcomes a second.
    pub posts_per_second: f64,
    /// Over so long.
    pub seconds: f64,
    /// Posts under way at every moment.
    pub open_posts: usize,
}

/// Straight lines through what must not grow, after warm-up.
#[derive(Debug, Clone, Serialize)]
pub struct Growth {
    /// Resident memory, MB (millions of bytes) an hour; none where the run is too short.
    pub resident_mb: Option<Slope>,
    /// Heap and stacks alone.
    pub anonymous_mb: Option<Slope>,
    /// File descriptors an hour.
    pub file_descriptors: Option<Slope>,
    /// `resident_mb` against 1 MB an hour.
    pub verdict: Verdict,
}

impl Growth {
    /// From samples of between `from` and `to` seconds.
    pub fn of(series: &Series, from: f64, to: f64) -> Self {
        let fit = |column: &[Option<f64>]| {
            let mut points = series.points(column);
            points.retain(|(seconds, _)| (from..=to).contains(seconds));
            Slope::fit(&block_medians(&points, BLOCK_SECONDS))
        };
        let resident_mb = fit(&series.resident_mb);
        Self {
            verdict: verdict(resident_mb.as_ref(), LIMIT_MB_PER_HOUR),
            resident_mb,
            anonymous_mb: fit(&series.anonymous_mb),
            file_descriptors: fit(&series.file_descriptors),
        }
    }
}

/// The whole result.
#[derive(Debug, Clone, Serialize)]
pub struct SoakReport {
    /// Version of this layout.
    pub format: u32,
    /// UTC, RFC 3339.
    pub date: String,
    /// Commit of the checkout.
    pub commit: String,
    /// Where.
    pub machine: Machine,
    /// `models/jtav-modern` or `stub`.
    pub model: String,
    /// Length of the soak.
    pub minutes: f64,
    /// The soak began at this second; before, the capacity was measured.
    pub soak_from_seconds: f64,
    /// Samples from this second on count for the slopes.
    pub warm_up_seconds: f64,
    /// What was measured before, in the same minute-long way.
    pub capacity: Capacity,
    /// What was offered.
    pub posts_per_second: f64,
    /// The generator's own lateness.
    pub generator_late_by_at_most_ms: f64,
    /// Records that the broker never acknowledged.
    pub refused_by_broker: usize,
    /// Faulty posts by what was wrong with them.
    pub post_faults: BTreeMap<PostFault, u64>,
    /// Faults of store and broker.
    pub outages: Vec<OutageRecord>,
    /// What became of every post.
    pub tally: Tally,
    /// Some ids that were lost.
    pub lost_ids: Vec<String>,
    /// Posts of which the store held something else than the topics said.
    pub store_differences: Vec<String>,
    /// Median, 99 % and largest latency of a label from when its post was due, outages included.
    pub latency_ms: [f64; 3],
    /// Memory and descriptors.
    pub growth: Growth,
    /// First, largest and last value of what must come back.
    pub at_the_end_idle: bool,
    /// Seconds from the last post to an idle worker.
    pub drained_after_seconds: Option<f64>,
    /// Longest run of samples, in seconds, in which the law of conservation did not hold.
    pub conservation_gap_longest_seconds: f64,
    /// Why the soak failed; empty if it did not.
    pub problems: Vec<String>,
    /// Every sample.
    pub series: Series,
}

impl SoakReport {
    /// Fills `problems`.
    pub fn judge(&mut self) {
        let tally = &self.tally;
        let mut problems = Vec::new();
        let mut require = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        require(tally.lost == 0, format!("{} posts lost, for example {}", tally.lost, self.lost_ids.join(", ")));
        let set_aside =
            format!("{} posts set aside that should be labelled: {:?}", tally.set_aside, tally.set_aside_reasons);
        require(tally.set_aside == 0, set_aside);
        require(tally.duplicates_visible == 0, format!("{} visible duplicates", tally.duplicates_visible));
        require(tally.backwards == 0, format!("{} revisions went backwards", tally.backwards));
        require(tally.foreign == 0, format!("{} records of posts that nobody sent", tally.foreign));
        require(self.refused_by_broker == 0, format!("{} records refused by the broker", self.refused_by_broker));
        let differing = self.store_differences.len();
        let example = self.store_differences.first().cloned().unwrap_or_default();
        require(differing == 0, format!("the store differs from the topics in {differing} posts: {example}"));
        require(self.at_the_end_idle, "lag, posts in flight or the conservation gap did not return to 0".to_owned());
        // As in the alert: a sample may fall between two counters.
        let gap = self.conservation_gap_longest_seconds;
        require(gap < 60.0, format!("the law of conservation did not hold for {gap:.0} s"));
        require(self.growth.verdict != Verdict::Above, "resident memory grows by more than 1 MB an hour".to_owned());
        self.problems = problems;
    }

    /// Writes `soak-DATE.json`, `.md` and `.png`.
    pub fn write(&self, folder: &Path) -> Result<[PathBuf; 3]> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let stem = format!("soak-{}", self.date.replace(':', ""));
        let paths = ["json", "md", "png"].map(|ending| folder.join(format!("{stem}.{ending}")));
        let markdown = format!("{}\n![memory, descriptors, lag, throughput]({stem}.png)\n", self.markdown());
        let contents = [(serde_json::to_string(self)? + "\n").into_bytes(), markdown.into_bytes(), self.picture()?];
        for (path, content) in paths.iter().zip(contents) {
            std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(paths)
    }

    /// The whole as one JSON value, without the samples.
    pub fn summary(&self) -> Result<serde_json::Value> {
        let mut value = serde_json::to_value(self)?;
        if let Some(fields) = value.as_object_mut() {
            fields.remove("series");
            fields.insert("clean".to_owned(), self.problems.is_empty().into());
        }
        Ok(value)
    }

    /// Heading and table.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# Soak of {:.0} minutes, {}\n\nCommit {}; {}, {} cores, {:.0} GiB; load average before: {}. Networks: {}.\n\n",
            self.minutes,
            self.date,
            self.commit,
            self.machine.cpu,
            self.machine.cores,
            self.machine.memory_gib,
            self.machine.load_average_before,
            self.model,
        );
        text += "| what | value |\n|---|---|\n";
        for (name, value) in self.rows() {
            text += &format!("| {name} | {value} |\n");
        }
        text +=
            "\nMB are millions of bytes. Slopes: Theil–Sen over medians of 30 s after warm-up, 95 % interval of Sen.\n";
        for problem in &self.problems {
            text += &format!("\n**{problem}.**\n");
        }
        text
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
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
            Verdict::Below => "below 1 MB an hour",
            Verdict::Above => "above 1 MB an hour",
            Verdict::CannotTell => "the run is too short to tell it from 1 MB an hour",
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
            ("outages of store and broker", self.outage_row()),
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

    fn outage_row(&self) -> String {
        let mut slowest: BTreeMap<&str, (usize, Option<f64>)> = BTreeMap::new();
        for record in &self.outages {
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

    /// Memory with its slope, descriptors and threads, lag, throughput.
    fn picture(&self) -> Result<Vec<u8>> {
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

/// Finds for each outage when the event lag was normal again: below twice its 95 % outside of outages, or 2 s.
pub fn recoveries(outages: &mut [OutageRecord], series: &Series) {
    let lag = series.points(&series.event_lag_seconds);
    let in_shadow = |seconds: f64| {
        outages.iter().any(|record| (record.at_seconds..record.over_at_seconds + SHADOW_SECONDS).contains(&seconds))
    };
    let mut normal: Vec<f64> = lag.iter().filter(|point| !in_shadow(point.0)).map(|point| point.1).collect();
    normal.sort_by(f64::total_cmp);
    let tail = &normal[normal.len() * 9 / 10..];
    let limit = (2.0 * median(tail).unwrap_or(0.0)).max(2.0);
    for record in outages {
        let after = lag.iter().find(|(seconds, value)| *seconds >= record.over_at_seconds && *value <= limit);
        record.recovered_after_seconds = after.map(|point| point.0 - record.over_at_seconds);
    }
}

/// Longest time for which the gap was not 0.
pub fn longest_gap_seconds(series: &Series) -> f64 {
    let (mut longest, mut since) = (0.0, None);
    for (seconds, gap) in series.points(&series.conservation_gap) {
        since = if gap == 0.0 { None } else { since.or(Some(seconds)) };
        longest = since.map_or(longest, |since: f64| (seconds - since).max(longest));
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(lag: impl Fn(f64) -> f64) -> Series {
        let seconds: Vec<f64> = (0..300).map(f64::from).collect();
        let column = |of: &dyn Fn(f64) -> f64| seconds.iter().map(|second| Some(of(*second))).collect::<Vec<_>>();
        Series {
            event_lag_seconds: column(&lag),
            conservation_gap: column(&|second| if (10.0..15.0).contains(&second) { 1.0 } else { 0.0 }),
            resident_mb: column(&|second| 300.0 + second / 3600.0 * 5.0),
            anonymous_mb: column(&|_| 200.0),
            file_descriptors: column(&|_| 50.0),
            threads: column(&|_| 20.0),
            consumer_lag_records: column(&|_| 0.0),
            in_flight_posts: column(&|_| 0.0),
            media_in_flight_mb: column(&|_| 0.0),
            settled_per_second: column(&|_| 10.0),
            seconds: seconds.clone(),
        }
    }

    fn report() -> SoakReport {
        let series = series(|_| 0.5);
        SoakReport {
            format: 1,
            date: "2026-01-02T03:04:05Z".to_owned(),
            commit: "abc".to_owned(),
            machine: crate::process::machine(),
            model: "stub".to_owned(),
            minutes: 5.0,
            soak_from_seconds: 0.0,
            warm_up_seconds: 0.0,
            capacity: Capacity { posts_per_second: 10.0, seconds: 45.0, open_posts: 128 },
            posts_per_second: 8.0,
            generator_late_by_at_most_ms: 1.0,
            refused_by_broker: 0,
            post_faults: BTreeMap::from([(PostFault::Poison, 3)]),
            outages: Vec::new(),
            tally: Tally::default(),
            lost_ids: Vec::new(),
            store_differences: Vec::new(),
            latency_ms: [100.0, 200.0, 300.0],
            growth: Growth::of(&series, 0.0, f64::INFINITY),
            at_the_end_idle: true,
            drained_after_seconds: Some(1.0),
            conservation_gap_longest_seconds: longest_gap_seconds(&series),
            problems: Vec::new(),
            series,
        }
    }

    #[test]
    fn an_outage_is_over_when_the_lag_is_as_low_as_without_one() {
        let series = series(|second| if (100.0..120.0).contains(&second) { 15.0 } else { 0.5 });
        let record = OutageRecord {
            outage: Outage::RedisPaused,
            at_seconds: 99.0,
            over_at_seconds: 105.0,
            recovered_after_seconds: None,
        };
        let mut outages = [record];
        recoveries(&mut outages, &series);
        assert_eq!(outages[0].recovered_after_seconds, Some(15.0));
        assert_eq!(longest_gap_seconds(&series), 4.0);
    }

    #[test]
    fn growth_is_told_from_the_samples_after_warm_up() {
        let report = report();
        let slope = report.growth.resident_mb.unwrap();
        assert!((slope.per_hour - 5.0).abs() < 1e-6, "{slope:?}");
        assert_eq!(report.growth.verdict, Verdict::Above);
        assert_eq!(Growth::of(&report.series, 200.0, 300.0).verdict, Verdict::CannotTell);
    }

    #[test]
    fn each_kind_of_failure_is_a_problem() {
        let problems = |change: fn(&mut SoakReport)| {
            let mut report = report();
            report.growth.verdict = Verdict::CannotTell;
            change(&mut report);
            report.judge();
            report.problems.len()
        };
        assert_eq!(problems(|_| ()), 0);
        assert_eq!(problems(|report| report.tally.lost = 1), 1);
        assert_eq!(problems(|report| report.tally.duplicates_visible = 1), 1);
        assert_eq!(problems(|report| report.at_the_end_idle = false), 1);
        assert_eq!(problems(|report| report.store_differences.push("a".to_owned())), 1);
        assert_eq!(problems(|report| report.growth.verdict = Verdict::Above), 1);
    }

    #[test]
    fn three_files_are_written_and_the_summary_leaves_the_samples_out() {
        let folder = tempfile::tempdir().unwrap();
        let [json, markdown, png] = report().write(folder.path()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        assert_eq!(value["series"]["resident_mb"].as_array().unwrap().len(), 300);
        assert!(std::fs::read_to_string(markdown).unwrap().contains("| lost, set aside without a cause | 0, 0 |"));
        assert!(std::fs::read(png).unwrap().starts_with(b"\x89PNG"));
        assert!(report().summary().unwrap().get("series").is_none());
    }
}
