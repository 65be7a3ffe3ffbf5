//! The result: what the honest posts had of it, and what became of the others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::kinds::{Kind, PostEnd};
use super::outcomes::KindResult;
use crate::files;
use crate::process::Machine;

/// A hostile post that has not ended by then holds something up.
pub const LONGEST_END: Duration = Duration::from_secs(120);

/// Least achieved rate of honest posts, as a share of that in blocks without.
const LEAST_RATE: f64 = 0.9;
/// Longest 99th percentile, as a multiple of that in blocks without.
const LONGEST_P99: f64 = 2.0;

/// One block.
#[derive(Debug, Clone, Serialize)]
pub struct Block {
    /// Whether there were hostile posts among the honest.
    pub with_hostile: bool,
    /// Honest posts.
    pub honest_sent: u64,
    /// Hostile posts.
    pub hostile_sent: u64,
    /// What the generator itself was late by, at most.
    pub generator_late_ms: f64,
    /// Honest posts a second that were sent.
    pub arrival_rate_per_second: f64,
    /// Honest posts a second that had their outcome while sending went on.
    pub achieved_rate_per_second: f64,
    /// Of honest labels, from the moment a post was due.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// The same.
    pub max_ms: f64,
    /// Of the worker with the processes it decodes in, while sending went on.
    pub worker_cpu_seconds: f64,
    /// From the last send until everything had ended and was committed; none if that did not come.
    pub drain_seconds: Option<f64>,
    /// Parts of honest posts by modality and status.
    pub honest_parts: BTreeMap<String, u64>,
}

/// What must not happen.
#[derive(Debug, Clone, Serialize)]
pub struct Violations {
    /// Honest posts without an outcome.
    pub lost: u64,
    /// Honest posts that were set aside.
    pub set_aside: u64,
    /// Contradictions that a reader sees.
    pub duplicates_visible: u64,
    /// Restarts of the pipeline.
    pub restarts: u64,
    /// Posts that were given back and came again.
    pub abandoned: u64,
    /// Hostile posts without an end.
    pub unended: u64,
    /// Some of them.
    pub unended_keys: Vec<String>,
    /// Hostile posts that have nothing to label, and so show on no topic.
    pub silent: u64,
    /// Posts that the worker counted as such; the sample feed has none.
    pub silent_counted: u64,
}

/// The result.
#[derive(Debug, Clone, Serialize)]
pub struct HostileReport {
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
    /// Share of hostile posts among all.
    pub share: f64,
    /// What the worker can do; none where the rate was given.
    pub capacity_posts_per_second: Option<f64>,
    /// Share of it that is offered.
    pub load: f64,
    /// Honest posts a second.
    pub rate_per_second: f64,
    /// Length of a block.
    pub block_seconds: f64,
    /// In the order in which they ran.
    pub blocks: Vec<Block>,
    /// What became of the hostile posts.
    pub kinds: BTreeMap<Kind, KindResult>,
    /// What must not happen.
    pub verdict: Violations,
}

impl HostileReport {
    /// Each block with hostile posts by the mean of its neighbours without.
    pub fn ratios(&self, of: impl Fn(&Block) -> f64) -> Vec<f64> {
        let neighbour = |at: Option<usize>| at.and_then(|at| self.blocks.get(at)).map(&of);
        let with = self.blocks.iter().enumerate().filter(|(_, block)| block.with_hostile);
        with.map(|(at, block)| {
            let around: Vec<f64> =
                [neighbour(at.checked_sub(1)), neighbour(Some(at + 1))].into_iter().flatten().collect();
            of(block) / (around.iter().sum::<f64>() / around.len() as f64)
        })
        .collect()
    }

    /// Nothing was lost, nothing restarted, and every hostile post came to the end that it must come to, in time.
    pub fn is_safe(&self) -> bool {
        let Violations { lost, set_aside, duplicates_visible, restarts, unended, silent, silent_counted, .. } =
            &self.verdict;
        let ended_well = |kind: &KindResult| kind.wrong == 0 && kind.slowest_seconds <= LONGEST_END.as_secs_f64();
        [lost, set_aside, duplicates_visible, restarts, unended].into_iter().all(|count| *count == 0)
            && silent == silent_counted
            && self.kinds.values().all(ended_well)
            && self.blocks.iter().all(|block| block.drain_seconds.is_some())
    }

    /// The honest posts kept their rate and their latency.
    pub fn is_fair(&self) -> bool {
        self.ratios(|block| block.achieved_rate_per_second).iter().all(|ratio| *ratio >= LEAST_RATE)
            && self.ratios(|block| block.p99_ms).iter().all(|ratio| *ratio <= LONGEST_P99)
    }

    /// Heading and tables.
    pub fn markdown(&self) -> String {
        let capacity = self.capacity_posts_per_second.map_or_else(
            || "not measured".to_owned(),
            |capacity| format!("{capacity:.1} posts a second, of which {:.0} % are offered", self.load * 100.0),
        );
        let list = |values: Vec<f64>| {
            let values: Vec<String> = values.iter().map(|value| format!("{value:.3}")).collect();
            values.join(", ")
        };
        let verdict = &self.verdict;
        let mut text = format!(
            "# Hostile posts among honest ones, {}\n\nCommit {}; {}. Networks: {}. \
             Capacity: {capacity}.\n\n`make load-test ARGS=hostile`: the sample feed at {:.1} posts a second, media over HTTP, \
             alone and with {:.0} % hostile\nposts of {} kinds among it, in blocks of {:.0} s. Broker, store, media servers and generator \
             share the machine.\n\n\
             | honest posts: with / mean of the neighbours without | found | wanted |\n|---|---|---|\n\
             | achieved rate | {} | at least {LEAST_RATE} |\n| 99th percentile of the latency | {} | at most {LONGEST_P99} |\n\n\
             | must be 0 | |\n|---|---|\n| honest posts lost | {} |\n| honest posts set aside | {} |\n\
             | contradictions on the topics | {} |\n| restarts of the pipeline | {} |\n| hostile posts without an end | {} |\n\n\
             Given back and read again: {}. Posts with nothing to label: {} sent, {} counted.\n\n",
            self.date,
            self.commit,
            self.machine,
            self.model,
            self.rate_per_second,
            self.share * 100.0,
            Kind::ALL.len(),
            self.block_seconds,
            list(self.ratios(|block| block.achieved_rate_per_second)),
            list(self.ratios(|block| block.p99_ms)),
            verdict.lost,
            verdict.set_aside,
            verdict.duplicates_visible,
            verdict.restarts,
            verdict.unended,
            verdict.abandoned,
            verdict.silent,
            verdict.silent_counted,
        );
        text += &self.block_table();
        text += &self.kind_table();
        text
    }

    fn block_table(&self) -> String {
        let mut text =
            "| block | honest | hostile | achieved/s | p50 ms | p99 ms | max ms | worker CPU s | to rest s | \
                        honest parts not used |\n|---|---|---|---|---|---|---|---|---|---|\n"
                .to_owned();
        for block in &self.blocks {
            let unused =
                block.honest_parts.iter().filter(|(part, _)| !part.ends_with("=present") && !part.ends_with("=absent"));
            let unused: Vec<String> = unused.map(|(part, count)| format!("{part} {count}")).collect();
            text += &format!(
                "| {} | {} | {} | {:.1} | {:.0} | {:.0} | {:.0} | {:.1} | {} | {} |\n",
                if block.with_hostile { "with" } else { "without" },
                block.honest_sent,
                block.hostile_sent,
                block.achieved_rate_per_second,
                block.p50_ms,
                block.p99_ms,
                block.max_ms,
                block.worker_cpu_seconds,
                block.drain_seconds.map_or("never".to_owned(), |seconds| format!("{seconds:.1}")),
                if unused.is_empty() { "none".to_owned() } else { unused.join(", ") },
            );
        }
        text + "\n"
    }

    fn kind_table(&self) -> String {
        let mut text = "| hostile post | sent | ended | wrong | slowest s |\n|---|---|---|---|---|\n".to_owned();
        for (kind, result) in &self.kinds {
            let mut ended: Vec<String> =
                result.ended.iter().map(|(post_end, count)| format!("{} {count}", name_of(post_end))).collect();
            match result.sent - result.ended.values().sum::<u64>() {
                0 => {}
                unseen if kind.expected() == PostEnd::Skipped => ended.push(format!("on no topic {unseen}")),
                unended => ended.push(format!("not at all {unended}")),
            }
            text += &format!(
                "| {} | {} | {} | {} | {:.1} |\n",
                name_of(kind),
                result.sent,
                ended.join(", "),
                result.wrong,
                result.slowest_seconds
            );
        }
        text
    }

    /// Writes `hostile.json` and `hostile.md`.
    pub fn write(&self, folder: &Path) -> Result<[PathBuf; 2]> {
        files::write(folder, "hostile", [("json", serde_json::to_string_pretty(self)? + "\n"), ("md", self.markdown())])
    }
}

/// As it stands in the JSON.
fn name_of(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(with_hostile: bool, achieved_rate_per_second: f64, p99_ms: f64) -> Block {
        Block {
            with_hostile,
            honest_sent: 100,
            hostile_sent: 5,
            generator_late_ms: 0.0,
            arrival_rate_per_second: 10.0,
            achieved_rate_per_second,
            p50_ms: 1.0,
            p99_ms,
            max_ms: 1.0,
            worker_cpu_seconds: 1.0,
            drain_seconds: Some(1.0),
            honest_parts: BTreeMap::new(),
        }
    }

    fn report(blocks: Vec<Block>) -> HostileReport {
        HostileReport {
            format: 1,
            date: String::new(),
            commit: String::new(),
            machine: crate::process::machine(),
            model: String::new(),
            share: 0.05,
            capacity_posts_per_second: Some(10.0),
            load: 0.7,
            rate_per_second: 7.0,
            block_seconds: 60.0,
            blocks,
            kinds: BTreeMap::from([(Kind::NotJson, KindResult::default())]),
            verdict: Violations {
                lost: 0,
                set_aside: 0,
                duplicates_visible: 0,
                restarts: 0,
                abandoned: 0,
                unended: 0,
                unended_keys: Vec::new(),
                silent: 0,
                silent_counted: 0,
            },
        }
    }

    #[test]
    fn a_block_with_hostile_posts_is_held_against_the_mean_of_its_neighbours() {
        let blocks =
            vec![block(false, 10.0, 100.0), block(true, 9.0, 190.0), block(false, 8.0, 100.0), block(true, 4.0, 300.0)];
        let mut report = report(blocks);
        assert_eq!(report.ratios(|block| block.achieved_rate_per_second), [1.0, 0.5]);
        assert_eq!(report.ratios(|block| block.p99_ms), [1.9, 3.0]);
        assert!(!report.is_fair() && report.is_safe());
        report.blocks.truncate(2);
        assert!(report.is_fair());
    }

    #[test]
    fn a_wrong_or_late_end_a_lost_post_and_a_worker_without_rest_are_not_safe() {
        let safe = report(vec![block(false, 1.0, 1.0), block(true, 1.0, 1.0)]);
        let with = |change: fn(&mut HostileReport)| {
            let mut report = safe.clone();
            change(&mut report);
            report.is_safe()
        };
        assert!(with(|_| {}));
        assert!(!with(|report| report.verdict.lost = 1));
        assert!(!with(|report| report.verdict.restarts = 1));
        assert!(!with(|report| report.verdict.silent = 1));
        assert!(!with(|report| report.blocks[1].drain_seconds = None));
        assert!(!with(|report| report.kinds.entry(Kind::List).or_default().wrong = 1));
        assert!(!with(|report| report.kinds.entry(Kind::List).or_default().slowest_seconds = 121.0));
    }
}
