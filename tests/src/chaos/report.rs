use std::collections::BTreeMap;
use std::fmt::Write as _;

use jtav_testkit::{Finding, Harm};
use serde_json::{Value, json};

use super::fault::Fault;

/// What one run came to.
#[derive(Debug, Clone)]
pub struct RunResult {
    /// Decided feed, order and moments.
    pub seed: u64,
    /// Records of the input topic.
    pub records: usize,
    /// Ids and revisions that were labelled.
    pub labels: usize,
    /// Workers killed.
    pub kills: u64,
    /// Generations of the group; none on the in-process cluster.
    pub rebalances: usize,
    /// Label records that repeat an event id.
    pub duplicates_raw: usize,
    /// Seconds after each fault until all that was there by then was committed.
    pub recovered_s: Vec<f64>,
    /// Times that positions were held against outcomes while the run went on.
    pub looks: usize,
    /// Most memory of a worker.
    pub resident_bytes: u64,
    /// The run's whole time.
    pub seconds: f64,
    /// What must not be.
    pub findings: Vec<Finding>,
}

impl RunResult {
    /// Findings of a kind.
    pub fn count(&self, harm: Harm) -> usize {
        self.findings.iter().filter(|finding| finding.harm == harm).count()
    }

    /// Nothing was found.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// The runs of one fault.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// In the order in which they ran.
    pub runs: Vec<RunResult>,
}

#[derive(Debug, Clone, Default)]
pub struct Report {
    rows: BTreeMap<Fault, Row>,
}

impl Row {
    fn sum(&self, count: impl Fn(&RunResult) -> usize) -> usize {
        self.runs.iter().map(count).sum()
    }

    fn harm(&self, harm: Harm) -> usize {
        self.sum(|run| run.count(harm))
    }

    /// Median and longest recovery in seconds.
    fn recovery(&self) -> Option<(f64, f64)> {
        let mut all: Vec<f64> = self.runs.iter().flat_map(|run| run.recovered_s.iter().copied()).collect();
        all.sort_by(f64::total_cmp);
        Some((*all.get(all.len() / 2)?, *all.last()?))
    }

    fn json(&self, fault: Fault) -> Value {
        let recovery = self.recovery();
        json!({
            "fault": fault.as_str(),
            "runs": self.runs.len(),
            "records": self.sum(|run| run.records),
            "kills": self.runs.iter().map(|run| run.kills).sum::<u64>(),
            "rebalances": self.sum(|run| run.rebalances),
            "lost": self.harm(Harm::Lost),
            "duplicates_visible": self.harm(Harm::ShownTwice),
            "duplicates_raw": self.sum(|run| run.duplicates_raw),
            "resurrections": self.harm(Harm::Resurrected),
            "other_findings": self.harm(Harm::Wrong),
            "recovered_s_median": recovery.map(|(median, _)| round(median)),
            "recovered_s_max": recovery.map(|(_, longest)| round(longest)),
            "resident_mib_max": self.runs.iter().map(|run| run.resident_bytes >> 20).max(),
        })
    }
}

const READING: &str = "\
Each run is one fault on topics, group and database of its own: two `jtav run` processes with stub networks, 150 posts a
second with edits in and out of order, tombstones, posts that come after their tombstone, poison, media at good and bad
hosts and at a forbidden address. Rows down to `redis-reset` are on Apache Kafka and redis-server (append-only file, synced
before every answer), the others on the in-process cluster with its injected errors and a real redis-server.

*Lost*: a record without the outcome it must have, at the end, or at any of the looks while the run went on (a committed
position above a record whose outcome nobody can see). *Shown twice*: to a reader who drops event ids that he has seen.
*Repeated raw*: label records that repeat an event id. *Other*: a revision that goes back, a committed position that goes
back, a store that contradicts the topic, a worker above its memory ceiling or with a wrong exit code, a visit to the
forbidden address, a fail point that was not reached. *Recovered in*: from the end of the fault (for kills and churn, from
each death or departure, while the next ones come) until everything that lay on the input topic by then was committed,
to within a third of a second.

";

fn round(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

impl Report {
    pub fn add(&mut self, fault: Fault, result: RunResult) {
        self.rows.entry(fault).or_default().runs.push(result);
    }

    pub fn runs(&self) -> impl Iterator<Item = (Fault, &RunResult)> {
        self.rows.iter().flat_map(|(fault, row)| row.runs.iter().map(move |run| (*fault, run)))
    }

    /// Nothing was found in any run.
    pub fn is_clean(&self) -> bool {
        self.runs().all(|(_, run)| run.is_clean())
    }

    /// `{kills, rebalances, lost, duplicates_visible, duplicates_raw, resurrections, faults}`.
    pub fn json(&self) -> Value {
        let sum = |count: &dyn Fn(&RunResult) -> usize| self.runs().map(|(_, run)| count(run)).sum::<usize>();
        let harm = |harm: Harm| sum(&|run: &RunResult| run.count(harm));
        json!({
            "kills": self.runs().map(|(_, run)| run.kills).sum::<u64>(),
            "rebalances": sum(&|run| run.rebalances),
            "records": sum(&|run| run.records),
            "lost": harm(Harm::Lost),
            "duplicates_visible": harm(Harm::ShownTwice),
            "duplicates_raw": sum(&|run| run.duplicates_raw),
            "resurrections": harm(Harm::Resurrected),
            "other_findings": harm(Harm::Wrong),
            "looks": sum(&|run| run.looks),
            "faults": self.rows.iter().map(|(fault, row)| row.json(*fault)).collect::<Vec<_>>(),
        })
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| fault | runs | records | kills | rebalances | lost | shown twice | repeated raw | back from erasure | other | recovered in, median (longest) s |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for (fault, row) in &self.rows {
            let recovery =
                row.recovery().map_or("-".to_owned(), |(median, longest)| format!("{median:.1} ({longest:.1})"));
            // Writing to a string cannot fail.
            _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {recovery} |",
                fault.as_str(),
                row.runs.len(),
                row.sum(|run| run.records),
                row.runs.iter().map(|run| run.kills).sum::<u64>(),
                row.sum(|run| run.rebalances),
                row.harm(Harm::Lost),
                row.harm(Harm::ShownTwice),
                row.sum(|run| run.duplicates_raw),
                row.harm(Harm::Resurrected),
                row.harm(Harm::Wrong),
            );
        }
        text
    }

    /// The table with what is needed to read it, for `docs/results/`.
    pub fn document(&self, command: &str) -> String {
        let json = self.json();
        let total = |name: &str| json[name].as_u64().unwrap_or(0);
        let mut text = String::from("# Broken on purpose\n\n");
        _ = writeln!(
            text,
            "`{command}`: {} kills, {} rebalances, {} records; lost {}, shown twice {}, back from erasure {}, other \
             findings {}; repeated raw {}.\n",
            total("kills"),
            total("rebalances"),
            total("records"),
            total("lost"),
            total("duplicates_visible"),
            total("resurrections"),
            total("other_findings"),
            total("duplicates_raw"),
        );
        text.push_str(READING);
        text.push_str(&self.markdown());
        for finding in self.findings() {
            _ = writeln!(text, "\n- {finding}");
        }
        text
    }

    /// The findings, a line each, with their runs.
    pub fn findings(&self) -> Vec<String> {
        let line = |fault: Fault, run: &RunResult, finding: &Finding| {
            format!("{} (seed {}): {:?}: {}", fault.as_str(), run.seed, finding.harm, finding.text)
        };
        self.runs().flat_map(|(fault, run)| run.findings.iter().map(move |finding| line(fault, run, finding))).collect()
    }
}
