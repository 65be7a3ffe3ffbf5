//! The dated result: JSON for programs, Markdown for people.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use jtav_testkit::{Counts, Latency};
use serde::Serialize;

use crate::ceiling::Ceiling;
use crate::files;
use crate::process::Machine;
use crate::scenario::Scenario;
use crate::sender::SendReport;

/// CPU and memory of one process during the measured phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Usage {
    /// User and system seconds, all threads, from the first post due to the last outcome.
    pub cpu_seconds: f64,
    /// The same by the post that got an outcome.
    pub cpu_ms_per_post: f64,
    /// Largest resident set since the process began, loading of the model included.
    pub peak_rss_mib: f64,
}

/// A run, whole.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of this layout.
    pub format: u32,
    /// UTC, RFC 3339.
    pub date: String,
    /// Commit of the checkout, `-dirty` if tracked files differed from it.
    pub commit: String,
    /// Where.
    pub machine: Machine,
    /// Name of the scenario.
    pub name: String,
    /// The scenario as it was run, flags applied.
    pub scenario: Scenario,
    /// `own` or the address that was given.
    pub broker: String,
    /// How the generator did.
    pub send: SendReport,
    /// Posts with an outcome a second, from the first post due to the last outcome.
    pub achieved_rate_per_second: f64,
    /// Posts still open when the last one was sent. More than a second's worth: the worker did not keep up.
    pub backlog_at_last_send: usize,
    /// The achieved rate stayed behind the arrival rate by more than 5 %: latencies then grow with the length of the
    /// run and say nothing but that.
    pub saturated: bool,
    /// Ends.
    pub counts: Counts,
    /// Some lost ids.
    pub lost_ids: Vec<String>,
    /// From the intended send time to the label being read by a consumer.
    pub latency: Option<Latency>,
    /// Labels by modality and status.
    pub modalities: BTreeMap<String, u64>,
    pub worker: Usage,
    /// The broker, if it was this run's own.
    pub kafka: Option<Usage>,
    /// The store, if it was this run's own.
    pub redis: Option<Usage>,
    /// What the rate and the CPU time are held against.
    pub ceiling: Option<Ceiling>,
    /// Why there is no ceiling.
    pub ceiling_left_out: Option<String>,
}

impl Report {
    /// Whether a gate would let it pass: nothing lost, nothing refused, nothing dead-lettered.
    pub fn is_clean(&self) -> bool {
        self.counts.lost == 0 && self.counts.refused_by_broker == 0 && self.counts.dead_lettered == 0
    }

    /// Writes `DATE-NAME.json` and `.md` and returns their paths.
    pub fn write(&self, folder: &Path) -> Result<[PathBuf; 2]> {
        files::write(
            folder,
            &format!("{}-{}", self.date.replace(':', ""), self.name),
            [("json", serde_json::to_string_pretty(self)? + "\n"), ("md", self.markdown())],
        )
    }

    /// Heading and table.
    pub fn markdown(&self) -> String {
        let rows = self.rows();
        let width = |column: fn(&(String, String)) -> &String| {
            rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0)
        };
        let (left, right) = (width(|row| &row.0), width(|row| &row.1));
        let mut text = format!(
            "# Load test `{}`, {}\n\n{}.\nCommit {}; {}.\n\n",
            self.name, self.date, self.scenario.description, self.commit, self.machine,
        );
        text += &format!("| {:left$} | {:right$} |\n", "what", "value");
        text += &format!("|{}|{}|\n", "-".repeat(left + 2), "-".repeat(right + 2));
        for (name, value) in &rows {
            text += &format!("| {name:left$} | {value:right$} |\n");
        }
        text += "\nLatency counts from the time a post was due to be sent, not from when it was.\n";
        if self.saturated {
            text += "\n**Saturated**: the worker did not keep up; the latencies measure the queue.\n";
        }
        text
    }

    fn rows(&self) -> Vec<(String, String)> {
        let counts = &self.counts;
        let mut rows = vec![
            ("posts".to_owned(), format!("{} in {:.0} s", counts.planned, self.scenario.seconds)),
            ("arrival rate".to_owned(), format!("{:.1} /s", self.send.arrival_rate_per_second)),
            ("achieved rate".to_owned(), format!("{:.1} /s", self.achieved_rate_per_second)),
            ("open at the last send".to_owned(), self.backlog_at_last_send.to_string()),
            ("labelled, dead-lettered".to_owned(), format!("{}, {}", counts.labelled, counts.dead_lettered)),
            ("lost, refused by the broker".to_owned(), format!("{}, {}", counts.lost, counts.refused_by_broker)),
            ("repeated".to_owned(), counts.repeated.to_string()),
        ];
        if let Some(latency) = &self.latency {
            let values = [latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p99_9_ms, latency.max_ms];
            let values = values.map(|value| format!("{value:.1}")).join(" / ");
            rows.push(("latency p50 / p90 / p99 / p99.9 / max".to_owned(), format!("{values} ms")));
        }
        rows.push(("generator late by at most".to_owned(), format!("{:.1} ms", self.send.max_lateness_ms)));
        let usages = [("worker", Some(&self.worker)), ("Kafka", self.kafka.as_ref()), ("Redis", self.redis.as_ref())];
        for (name, usage) in usages {
            let Some(usage) = usage else { continue };
            rows.push((
                format!("{name}: CPU, memory at most"),
                format!("{:.3} CPU-ms a post, {:.0} MiB", usage.cpu_ms_per_post, usage.peak_rss_mib),
            ));
        }
        rows.extend(self.ceiling_rows());
        let statuses: Vec<String> = self.modalities.iter().map(|(name, count)| format!("{name} {count}")).collect();
        rows.push(("labels by modality".to_owned(), statuses.join(", ")));
        rows
    }

    fn ceiling_rows(&self) -> Vec<(String, String)> {
        let Some(ceiling) = &self.ceiling else {
            return vec![("ceiling".to_owned(), self.ceiling_left_out.clone().unwrap_or_default())];
        };
        let mut rows = vec![
            ("ceiling".to_owned(), ceiling.what.clone()),
            (
                "ceiling: rate, CPU".to_owned(),
                format!("{:.1} /s, {:.3} CPU-ms a post", ceiling.rate_per_second, ceiling.cpu_ms_per_post),
            ),
            (
                // Below saturation the achieved rate is the one that was asked for, and says nothing of a limit.
                if self.saturated { "achieved rate / ceiling" } else { "chosen rate / ceiling" }.to_owned(),
                format!("{:.3}", self.achieved_rate_per_second / ceiling.rate_per_second),
            ),
            (
                "ceiling's CPU / worker's CPU".to_owned(),
                format!("{:.3}", ceiling.cpu_ms_per_post / self.worker.cpu_ms_per_post),
            ),
        ];
        if let Some(preparation) = ceiling.preparation_cpu_ms_per_post {
            rows.push(("decoding and constant-Q, beside it".to_owned(), format!("{preparation:.3} CPU-ms a post")));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{CeilingKind, Posts};

    fn report() -> Report {
        let usage = Usage { cpu_seconds: 2.0, cpu_ms_per_post: 2.0, peak_rss_mib: 300.0 };
        Report {
            format: 1,
            date: "2026-01-02T03:04:05Z".to_owned(),
            commit: "abc".to_owned(),
            machine: crate::process::machine(),
            name: "text".to_owned(),
            scenario: Scenario {
                description: "d".to_owned(),
                posts: Posts::Texts,
                rate_per_second: 100.0,
                seconds: 10.0,
                warm_up_seconds: 1.0,
                ceiling: CeilingKind::Forward,
                worker: toml::Table::new(),
            },
            broker: "own".to_owned(),
            send: SendReport::default(),
            achieved_rate_per_second: 100.0,
            backlog_at_last_send: 0,
            saturated: false,
            counts: Counts { planned: 1000, labelled: 1000, ..Counts::default() },
            lost_ids: Vec::new(),
            latency: None,
            modalities: BTreeMap::new(),
            worker: usage,
            kafka: None,
            redis: None,
            ceiling: Some(Ceiling {
                what: "forward".to_owned(),
                posts: 10,
                threads: 2,
                rate_per_second: 400.0,
                cpu_ms_per_post: 1.5,
                preparation_cpu_ms_per_post: None,
            }),
            ceiling_left_out: None,
        }
    }

    #[test]
    fn both_files_are_written_under_the_date_and_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let [json, markdown] = report().write(folder.path()).unwrap();
        assert!(json.ends_with("2026-01-02T030405Z-text.json"), "{}", json.display());
        let value: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        assert_eq!(value["counts"]["labelled"], 1000);
        let text = std::fs::read_to_string(markdown).unwrap();
        let row = |name: &str| text.lines().find(|line| line.contains(name)).map(str::to_owned).unwrap_or_default();
        assert!(row("chosen rate / ceiling").contains("0.250"), "{text}");
        assert!(row("ceiling's CPU / worker's CPU").contains("0.750"), "{text}");
    }

    #[test]
    fn one_lost_post_spoils_the_run() {
        let mut report = report();
        assert!(report.is_clean());
        report.counts.lost = 1;
        assert!(!report.is_clean());
    }
}
