//! Where the worker's time goes: stacks sampled by Linux's `perf` while a run is measured, drawn as a flame graph.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use inferno::collapse::Collapse as _;
use inferno::collapse::perf::{Folder, Options as FolderOptions};
use inferno::flamegraph::{self, Options as GraphOptions};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Samples a second and core: enough for a share of a percent in ten seconds, and no multiple of a timer's rate.
const FREQUENCY_HZ: &str = "397";
/// How much of each stack is kept. Release builds have no frame pointers, so stacks are unwound later from these bytes.
const CALL_GRAPH: &str = "dwarf,16384";
/// Longest wait for `perf` to write what it has.
const PATIENCE: Duration = Duration::from_secs(20);
/// Functions that are named on the terminal.
const NAMED: usize = 25;

/// A running `perf record` on one process.
pub struct Profiler {
    perf: Child,
    folder: TempDir,
}

impl Profiler {
    /// Begins to sample every thread of the process.
    ///
    /// # Errors
    /// No `perf`, or a kernel that does not let this user sample.
    pub fn start(pid: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let perf = Command::new("perf")
            .args(["record", "--quiet", "-F", FREQUENCY_HZ, "--call-graph", CALL_GRAPH, "-p", &pid.to_string(), "-o"])
            .arg(folder.path().join("perf.data"))
            .stdin(Stdio::null())
            .spawn()
            .context("`perf` is missing: apt-get install linux-perf")?;
        Ok(Self { perf, folder })
    }

    /// Ends the sampling, writes the graph, and names the hottest functions.
    ///
    /// # Errors
    /// No sample was taken: the kernel may not allow it (`kernel.perf_event_paranoid`).
    pub fn finish(mut self, svg: &Path) -> Result<String> {
        kill_process(Pid::from_child(&self.perf), Signal::INT)?;
        let until = Instant::now() + PATIENCE;
        while self.perf.try_wait()?.is_none() {
            if Instant::now() > until {
                self.perf.kill()?;
                bail!("perf did not end within {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let folded = self.folded()?;
        let stacks = std::fs::read_to_string(&folded)?;
        ensure!(
            !stacks.trim().is_empty(),
            "perf took no sample; as root: sysctl kernel.perf_event_paranoid=1, or run as root"
        );
        draw(&folded, svg)?;
        Ok(hottest(&stacks))
    }

    /// One line a stack, with its number of samples.
    fn folded(&self) -> Result<PathBuf> {
        let folded = self.folder.path().join("folded");
        let mut script = Command::new("perf")
            .args(["script", "--no-inline", "-F", "comm,pid,tid,time,event,ip,sym,dso", "-i"])
            .arg(self.folder.path().join("perf.data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stacks = BufReader::new(script.stdout.take().context("Invariant: it is piped")?);
        let mut folder = Folder::from(FolderOptions::default());
        folder.collapse(stacks, BufWriter::new(File::create(&folded)?))?;
        ensure!(script.wait()?.success(), "perf script failed");
        Ok(folded)
    }
}

fn draw(folded: &Path, svg: &Path) -> Result<()> {
    let mut options = GraphOptions::default();
    options.title = "the worker's CPU time".to_owned();
    options.count_name = "samples".to_owned();
    let file = BufWriter::new(File::create(svg).with_context(|| svg.display().to_string())?);
    flamegraph::from_files(&mut options, &[folded.to_owned()], file)?;
    Ok(())
}

/// The functions with the most samples of their own, and the threads, each with its share.
fn hottest(stacks: &str) -> String {
    let (mut own, mut threads, mut all) = (HashMap::new(), HashMap::new(), 0_u64);
    for (frames, count) in stacks.lines().filter_map(|line| line.rsplit_once(' ')) {
        let count: u64 = count.parse().unwrap_or(0);
        let mut frames = frames.split(';');
        let thread = frames.next().unwrap_or_default();
        *own.entry(frames.next_back().unwrap_or(thread)).or_insert(0) += count;
        *threads.entry(thread).or_insert(0) += count;
        all += count;
    }
    let mut text = format!("{all} samples\n");
    for (title, counts) in [("threads", threads), ("functions, their own time", own)] {
        let mut counts: Vec<(&str, u64)> = counts.into_iter().collect();
        counts.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
        text += &format!("{title}:\n");
        for (name, count) in counts.into_iter().take(NAMED) {
            text += &format!("  {:5.1} %  {name}\n", count as f64 * 100.0 / all.max(1) as f64);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_own_time_is_that_of_the_stacks_that_end_in_it() {
        let text = hottest("poll;run;read 3\nlane;run;write 6\npoll;run 1\n");
        assert!(text.starts_with("10 samples"), "{text}");
        for line in ["60.0 %  lane", "40.0 %  poll", "60.0 %  write", "30.0 %  read", "10.0 %  run"] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
