//! What the kernel says of a process and of the machine (proc(5)).

use std::fmt;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use jtav_testkit::workspace_root;
use procfs::process::{Process, Stat, all_processes};
use procfs::{CpuInfo, Current as _, LoadAverage, Meminfo};
use serde::Serialize;

/// CPU seconds (user and system, all threads) since the process began.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    Ok(own_seconds(&process(pid)?.stat().with_context(|| format!("process {pid}: did it end?"))?))
}

/// The same of a process with what it started and what that started, as long as each waits for what ends: a worker decodes
/// in processes of its own, and replaces them.
pub fn cpu_seconds_of_tree(root: u32) -> Result<f64> {
    let root = i32::try_from(root)?;
    // A process may end between the listing and the look.
    let processes: Vec<Stat> =
        all_processes()?.filter_map(|process| process.and_then(|process| process.stat()).ok()).collect();
    ensure!(processes.iter().any(|stat| stat.pid == root), "process {root} has ended");
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(&parent) = tree.get(at) {
        tree.extend(processes.iter().filter(|stat| stat.ppid == parent).map(|stat| stat.pid));
        at += 1;
    }
    let of_tree = processes.iter().filter(|stat| tree.contains(&stat.pid));
    Ok(of_tree.map(|stat| own_seconds(stat) + ended_children_seconds(stat)).sum())
}

fn own_seconds(stat: &Stat) -> f64 {
    (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64
}

/// Of children that ended and were waited for.
fn ended_children_seconds(stat: &Stat) -> f64 {
    (stat.cutime + stat.cstime) as f64 / procfs::ticks_per_second() as f64
}

/// A running process.
pub fn process(pid: u32) -> Result<Process> {
    Process::new(i32::try_from(pid)?).with_context(|| format!("process {pid}: did it end?"))
}

/// Largest resident set of the process so far, MiB.
pub fn peak_rss_mib(pid: u32) -> Result<f64> {
    let peak_kib = process(pid)?.status()?.vmhwm;
    peak_kib.map(|kib| kib as f64 / 1024.0).with_context(|| format!("process {pid} has no peak: did it end?"))
}

/// Where a run took place.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// As /proc/cpuinfo names it.
    pub cpu: String,
    /// CPUs this process may use.
    pub cores: usize,
    /// Memory of the machine.
    pub memory_gib: f64,
    /// Load averages before the run: above 0, somebody else was busy too.
    pub load_average_before: String,
}

/// As a report names it.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, memory_gib, load_average_before } = self;
        write!(f, "{cpu}, {cores} cores, {memory_gib:.0} GiB; load average before: {load_average_before}")
    }
}

/// Looks at the machine now.
pub fn machine() -> Machine {
    let cpu = CpuInfo::current().ok().and_then(|info| info.model_name(0).map(str::to_owned));
    let memory_bytes = Meminfo::current().map_or(0, |memory| memory.mem_total);
    let load = LoadAverage::current().map(|load| format!("{:.2} {:.2} {:.2}", load.one, load.five, load.fifteen));
    Machine {
        cpu: cpu.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cores: cores(),
        memory_gib: memory_bytes as f64 / f64::from(1 << 30),
        load_average_before: load.unwrap_or_default(),
    }
}

/// CPUs this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// Now, in UTC, RFC 3339.
pub fn utc_now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Commit of the checkout.
pub fn commit() -> String {
    let root = workspace_root();
    let root = root.to_string_lossy();
    let git = |arguments: &[&str]| output_of("git", &[&["-C", &root], arguments].concat());
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|changes| !changes.is_empty());
    if dirty { format!("{commit}-dirty") } else { commit }
}

/// Trimmed standard output of a command; none if it fails.
fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_memory() {
        assert!(peak_rss_mib(std::process::id()).unwrap() > 0.5);
    }

    #[test]
    fn the_work_of_a_child_counts_for_its_parent_and_still_does_when_it_has_ended() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let start = std::time::Instant::now();
        let grown = || cpu_seconds_of_tree(std::process::id()).unwrap() - cpu_seconds(std::process::id()).unwrap();
        // Twice what is asked below: the two clocks are read one after the other, in ticks of 10 ms, while other tests work too.
        while grown() < 0.1 && start.elapsed().as_secs() < 20 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let grown = grown();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(grown >= 0.05, "{grown}");
        let of_all = cpu_seconds_of_tree(std::process::id()).unwrap() - cpu_seconds(std::process::id()).unwrap();
        assert!(of_all >= 0.05, "{of_all} after it has ended");
    }

    #[test]
    fn work_shows_in_the_cpu_time_of_this_process() {
        let before = cpu_seconds(std::process::id()).unwrap();
        let start = std::time::Instant::now();
        let mut sum = 0u64;
        while start.elapsed().as_millis() < 2_000 && cpu_seconds(std::process::id()).unwrap() < before + 0.05 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_seconds(std::process::id()).unwrap() >= before + 0.05);
    }
}
