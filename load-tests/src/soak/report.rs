//! The result of a soak: verdicts, JSON with every sample, a table, a picture.

mod picture;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use jtav_testkit::Tally;
use serde::Serialize;

use super::feed::PostFault;
use super::outage::OutageRecord;
use super::sample::Series;
use super::slope::{Slope, Trend, block_medians, trend};
use crate::files;
use crate::process::Machine;

/// What memory may grow by.
pub const LIMIT_MB_PER_HOUR: f64 = 1.0;
/// Points of a slope are medians of so long.
const BLOCK_SECONDS: f64 = 30.0;
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
    pub verdict: Trend,
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
            verdict: trend(resident_mb.as_ref(), LIMIT_MB_PER_HOUR),
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
        require(self.growth.verdict != Trend::Above, "resident memory grows by more than 1 MB an hour".to_owned());
        self.problems = problems;
    }

    /// Writes `soak-DATE.json`, `.md` and `.png`.
    pub fn write(&self, folder: &Path) -> Result<[PathBuf; 3]> {
        let stem = format!("soak-{}", self.date.replace(':', ""));
        let markdown = format!("{}\n![memory, descriptors, lag, throughput]({stem}.png)\n", self.markdown());
        let json = serde_json::to_string(self)? + "\n";
        let contents = [("json", json.into_bytes()), ("md", markdown.into_bytes()), ("png", self.picture()?)];
        files::write(folder, &stem, contents)
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
            "# Soak of {:.0} minutes, {}\n\nCommit {}; {}. Networks: {}.\n\n",
            self.minutes, self.date, self.commit, self.machine, self.model,
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::recovery::longest_gap_seconds;

    fn report() -> SoakReport {
        let series = Series::of_a_quiet_run(|_| 0.5);
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
    fn growth_is_told_from_the_samples_after_warm_up() {
        let report = report();
        let slope = report.growth.resident_mb.unwrap();
        assert!((slope.per_hour - 5.0).abs() < 1e-6, "{slope:?}");
        assert_eq!(report.growth.verdict, Trend::Above);
        assert_eq!(Growth::of(&report.series, 200.0, 300.0).verdict, Trend::CannotTell);
    }

    #[test]
    fn each_kind_of_failure_is_a_problem() {
        let problems = |change: fn(&mut SoakReport)| {
            let mut report = report();
            report.growth.verdict = Trend::CannotTell;
            change(&mut report);
            report.judge();
            report.problems.len()
        };
        assert_eq!(problems(|_| ()), 0);
        assert_eq!(problems(|report| report.tally.lost = 1), 1);
        assert_eq!(problems(|report| report.tally.duplicates_visible = 1), 1);
        assert_eq!(problems(|report| report.at_the_end_idle = false), 1);
        assert_eq!(problems(|report| report.store_differences.push("a".to_owned())), 1);
        assert_eq!(problems(|report| report.growth.verdict = Trend::Above), 1);
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
