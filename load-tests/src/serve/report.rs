//! The result: JSON for programs, Markdown for people.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use super::lookups::Lookups;
use super::rig::Rebuild;
use super::streams::Streams;
use crate::files;
use crate::process::Machine;

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct ServeReport {
    /// UTC, RFC 3339.
    pub date: String,
    pub commit: String,
    pub machine: Machine,
    /// Posts in the store and in the index.
    pub posts: usize,
    pub lookups: Lookups,
    pub streams: Streams,
    pub rebuild: Rebuild,
}

impl ServeReport {
    /// Whether no reader missed an event or was told one twice.
    pub fn is_whole(&self) -> bool {
        self.streams.lost == 0 && self.streams.repeated == 0 && self.streams.events > 0
    }

    /// Writes `readers-load.json` and `.md`; gives their paths.
    pub fn write(&self, folder: &Path) -> Result<[PathBuf; 2]> {
        let json = serde_json::to_string_pretty(self)? + "\n";
        files::write(folder, "readers-load", [("json", json), ("md", self.markdown())])
    }

    /// Heading and tables.
    pub fn markdown(&self) -> String {
        let Self { lookups, streams, rebuild, .. } = self;
        let mut text = format!(
            "# The readers' side under load, {}\n\nCommit {}; {}. One server with one \
             thread; broker, store and generator on the same machine; {} posts in the store and in the index. Made by \
             `make load-test ARGS=serve`.\n\n",
            self.date, self.commit, self.machine, self.posts,
        );
        text += "| looking up | answers/s | CPU-ms each | answers a core and second |\n|---|---|---|---|\n";
        for (name, of) in [("`GET /v1/posts/{id}`", &lookups.posts), ("`/healthz`, the ceiling", &lookups.ceiling)] {
            text += &format!("| {name} | {:.0} | {:.3} | {:.0} |\n", of.per_second, of.cpu_ms, of.per_core_second);
        }
        text += &format!(
            "\nAt {:.0} lookups a second that do not wait ({:.0} answered): p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, at most {:.1} ms.\n\n",
            lookups.rate_per_second,
            lookups.achieved_per_second,
            lookups.p50_ms,
            lookups.p99_ms,
            lookups.p99_9_ms,
            lookups.max_ms
        );
        text += "| following the stream | |\n|---|---|\n";
        let rows = [
            ("readers, each with a filter", streams.readers.to_string()),
            ("labels", format!("{} at {:.0}/s", streams.labels, streams.labels_per_second)),
            ("events told", format!("{}, {:.0}/s", streams.events, streams.events_per_second)),
            ("lost, repeated", format!("{}, {}", streams.lost, streams.repeated)),
            (
                "due on the topic to told, p50 / p99 / max",
                format!("{:.1} / {:.1} / {:.1} ms", streams.p50_ms, streams.p99_ms, streams.max_ms),
            ),
            ("server's CPU", format!("{:.2} cores", streams.cpu_cores)),
            (
                "server's memory: before, after a quarter, at the end",
                format!("{:.0}, {:.0}, {:.0} MiB", streams.before_mib, streams.quarter_mib, streams.end_mib),
            ),
            ("generator late by at most", format!("{:.1} ms", streams.late_by_at_most_ms)),
        ];
        for (name, value) in rows {
            text += &format!("| {name} | {value} |\n");
        }
        text += &format!(
            "\nKilled and started again: the first lookup was answered after {:.1} s; after {:.1} s the index held its {} posts again \
             ({:.0} MiB) and found the same neighbours.\n",
            rebuild.first_answer_seconds, rebuild.index_complete_seconds, rebuild.posts, rebuild.index_mib
        );
        text
    }
}
