//! What the kernel says of a process and of the machine (proc(5)).

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use jtav_testkit::workspace_root;
use serde::Serialize;

/// Ticks a second in `/proc/PID/stat`: USER_HZ, 100 on every Linux that Rust's standard library supports as tier 1.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds (user and system, all threads) since the process began.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}: did the process end?"))?;
    Ok(Stat::parse(&stat).with_context(|| format!("{path} is not as proc(5) says"))?.own_seconds)
}

/// The same of a process with what it started and what that started, as long as each waits for what ends: a worker decodes
/// in processes of its own, and replaces them.
pub fn cpu_seconds_of_tree(root: u32) -> Result<f64> {
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc").context("/proc")? {
        let pid: Option<u32> = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        // A process may end between the listing and the look.
        let stat = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok());
        processes.extend(pid.zip(stat.as_deref().and_then(Stat::parse)));
    }
    ensure!(processes.iter().any(|(pid, _)| *pid == root), "process {root} has ended");
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(&parent) = tree.get(at) {
        tree.extend(processes.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    let of_tree = processes.iter().filter(|(pid, _)| tree.contains(pid));
    Ok(of_tree.map(|(_, stat)| stat.own_seconds + stat.ended_children_seconds).sum())
}

/// What is read of `/proc/PID/stat`: CPU times are user and system time together.
#[derive(Debug, PartialEq)]
struct Stat {
    parent: u32,
    own_seconds: f64,
    /// Of children that ended and were waited for.
    ended_children_seconds: f64,
}

impl Stat {
    fn parse(stat: &str) -> Option<Self> {
        // The name in parentheses may itself hold spaces and parentheses; the fields begin after the last one.
        let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
        // Counted from the state, which is field 3: the parent is field 4, the times are fields 14 to 17.
        let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        let seconds = |user: usize, system: usize| Some((ticks(user)? + ticks(system)?) / TICKS_PER_SECOND);
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own_seconds: seconds(14, 15)?,
            ended_children_seconds: seconds(16, 17)?,
        })
    }
}

/// Largest resident set of the process so far, MiB.
pub fn peak_rss_mib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    status_kib(&status, "VmHWM:").map(|kib| kib / 1024.0).with_context(|| format!("{path} has no VmHWM"))
}

/// Value in KiB of a line such as `VmRSS:   1234 kB`.
pub fn status_kib(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.trim().parse().ok())
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

/// Looks at the machine now.
pub fn machine() -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    Machine {
        cpu: cpu.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned()),
        cores: cores(),
        memory_gib: status_kib(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0.0) / (1024.0 * 1024.0),
        load_average_before: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
    }
}

/// CPUs this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// Now, in UTC, RFC 3339.
pub fn utc_now() -> Result<String> {
    output_of("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]).context("`date` failed")
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
    fn cpu_time_is_found_behind_a_name_with_spaces_and_parentheses() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194304 9 0 0 0 150 50 7 7 20 0 1 0 100 0 0";
        assert_eq!(Stat::parse(stat), Some(Stat { parent: 1, own_seconds: 2.0, ended_children_seconds: 0.14 }));
    }

    #[test]
    fn a_stat_line_that_is_cut_off_gives_nothing() {
        assert_eq!(Stat::parse("42 (a) S 1 42"), None);
    }

    #[test]
    fn this_process_has_used_memory() {
        assert!(peak_rss_mib(std::process::id()).unwrap() > 0.5);
    }

    #[test]
    fn the_work_of_a_child_counts_for_its_parent_and_still_does_when_it_has_ended() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let start = std::time::Instant::now();
        let grown = || cpu_seconds_of_tree(std::process::id()).unwrap() - cpu_seconds(std::process::id()).unwrap();
        while grown() < 0.05 && start.elapsed().as_secs() < 20 {
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
