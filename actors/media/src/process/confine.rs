//! What a worker may do: take some memory and CPU time, read and write the socket that it has, end.

use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// System calls of a decoder: memory, time, its socket, its end. Not among them: files, network, processes, signals to
/// others. What is not listed fails with EPERM.
const ALLOWED: [libc::c_long; 27] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_close,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigreturn,
    // Rust's handler of memory faults takes itself away and faults again: without this it would do so for ever.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_setitimer,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Confines this process for the rest of its life. Its threads must be one.
///
/// # Errors
/// The kernel knows no seccomp, or /proc is not there.
pub(super) fn confine(max_memory_bytes: u64) -> io::Result<()> {
    // The kernel should take a worker, and not the one that holds the posts, when memory runs out.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let data = data_bytes()?.saturating_add(max_memory_bytes);
    // libtorch alone maps hundreds of megabytes of address space; RLIMIT_DATA counts what can be written (setrlimit(2)).
    limit(Resource::Data, data)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    seccompiler::apply_filter(&filter().map_err(io::Error::other)?).map_err(io::Error::other)
}

fn limit(resource: Resource, value: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}

/// Private memory that this process has mapped writable, bytes.
fn data_bytes() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmData:")?.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("/proc/self/status states no VmData"))
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let not_executable = || {
        let protection = libc::PROT_EXEC as u64;
        let condition = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(protection), 0)?;
        SeccompRule::new(vec![condition])
    };
    let mut rules: std::collections::BTreeMap<libc::c_long, Vec<SeccompRule>> =
        ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    // Memory, but no new code.
    rules.insert(libc::SYS_mmap, vec![not_executable()?]);
    rules.insert(libc::SYS_mprotect, vec![not_executable()?]);
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, denied, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?.try_into()
}

/// Ends this process by SIGPROF after so much CPU time from now; zero takes the order back.
pub(super) fn end_after_cpu_time(time: Duration) {
    let none = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let value =
        libc::timeval { tv_sec: time.as_secs() as libc::time_t, tv_usec: time.subsec_micros() as libc::suseconds_t };
    let order = libc::itimerval { it_interval: none, it_value: value };
    // SAFETY: `order` is valid for the call, nothing is asked back, and the signal's default ends the process.
    unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const order, std::ptr::null_mut()) };
}
