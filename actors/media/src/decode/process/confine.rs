//! What a worker may do: take some memory and CPU time, read and write the socket that it has, end.
//!
//! Each limit is held by something that the worker cannot undo, because code of a stranger may be what runs in it.

use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// System calls of a decoder: memory, time, its socket, its end. Not among them: files, network, processes, signals to
/// others. What is not listed fails with EPERM.
const ALLOWED: [libc::c_long; 25] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_close,
    libc::SYS_munmap,
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

/// Address space that a worker may take beside its memory: what the allocator maps and gives back when it aligns, and what
/// is only read. `RLIMIT_DATA` does not count what is read, shared or a stack, and touching a terabyte that is only read
/// would take gigabytes of page tables.
const SPARE_ADDRESS_BYTES: u64 = 64 << 20;
/// Of the stack; Linux's usual value, also where none was set.
const STACK_BYTES: u64 = 8 << 20;

/// What one worker may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Memory beside what it has now, bytes.
    pub(super) memory_bytes: u64,
    /// CPU time of its whole life. The timer of a medium can be taken back by whoever runs in the worker; this cannot.
    pub(super) life_cpu: Duration,
}

/// Confines this process for the rest of its life. Its threads must be one.
///
/// # Errors
/// The kernel knows no seccomp, or /proc is not there.
pub(super) fn confine(limits: Limits) -> io::Result<()> {
    // The kernel should take a worker, and not the one that holds the posts, when memory runs out.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let status = std::fs::read_to_string("/proc/self/status")?;
    // libtorch alone maps hundreds of megabytes of address space: both count from what there is now (setrlimit(2)).
    let data = bytes_of(&status, "VmData:")?.saturating_add(limits.memory_bytes);
    let space = bytes_of(&status, "VmSize:")?.saturating_add(limits.memory_bytes).saturating_add(SPARE_ADDRESS_BYTES);
    let stack = getrlimit(Resource::Stack).current.map_or(STACK_BYTES, |bytes| bytes.min(STACK_BYTES));
    limit(Resource::Data, data)?;
    limit(Resource::As, space)?;
    limit(Resource::Stack, stack)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Cpu, limits.life_cpu.as_secs().saturating_add(1))?;
    seccompiler::apply_filter(&filter().map_err(io::Error::other)?).map_err(io::Error::other)
}

fn limit(resource: Resource, value: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}

/// A field of `/proc/self/status` that is given in kB. Read by hand and not with `procfs`: how a worker is confined should
/// hang on no library that may one day open, map or ask for more than the filter's list was made for.
fn bytes_of(status: &str, field: &str) -> io::Result<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other(format!("/proc/self/status states no {field}")))
}

/// That an argument has no bit beside these.
fn only(argument: u8, allowed: i32) -> Result<SeccompCondition, seccompiler::BackendError> {
    exactly(argument, allowed, 0)
}

/// That an argument is `value`, whatever its bits of `ignored` are.
fn exactly(argument: u8, ignored: i32, value: i32) -> Result<SeccompCondition, seccompiler::BackendError> {
    let mask = u64::from(!ignored as u32);
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value as u64)
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: std::collections::BTreeMap<libc::c_long, Vec<SeccompRule>> =
        ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    // Memory that is this process's own, that `RLIMIT_DATA` counts (nothing shared, no stack that grows, no huge pages of the
    // kernel's reserve), and that holds no new code.
    let (read_write, own) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let harmless = libc::MAP_FIXED | libc::MAP_NORESERVE | libc::MAP_STACK;
    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(vec![only(2, read_write)?, exactly(3, harmless, own)?])?]);
    rules.insert(libc::SYS_mprotect, vec![SeccompRule::new(vec![only(2, read_write)?])?]);
    rules.insert(libc::SYS_mremap, vec![SeccompRule::new(vec![only(3, libc::MREMAP_MAYMOVE)?])?]);
    // To give pages back. Other advice merges pages with those of other processes or pins them.
    let given_back = [libc::MADV_DONTNEED, libc::MADV_FREE];
    let given_back = given_back.map(|advice| exactly(2, 0, advice).and_then(|is| SeccompRule::new(vec![is])));
    rules.insert(libc::SYS_madvise, given_back.into_iter().collect::<Result<_, _>>()?);
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

/// Gives this process a stack canary of its own: one that is forked has that of the process it comes from, so that each
/// of a thousand workers could be asked for one more byte of it.
///
/// # Safety
/// The functions that have been entered must never return: they would find another canary than the one that they left.
#[inline(always)]
pub(super) unsafe fn take_new_canary() -> io::Result<()> {
    // The first byte stays zero, as glibc has it: a text that overruns ends there.
    let mut canary = [0; 8];
    // SAFETY: seven bytes follow the first one.
    if unsafe { libc::getrandom(canary.as_mut_ptr().add(1).cast(), 7, 0) } != 7 {
        return Err(io::Error::last_os_error());
    }
    #[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
    // SAFETY: of a thread of glibc, 0x28 from `fs` is the canary (sysdeps/x86_64/nptl/tls.h) and nothing else.
    unsafe {
        std::arch::asm!("mov fs:[0x28], {}", in(reg) u64::from_le_bytes(canary), options(nostack, preserves_flags));
    }
    Ok(())
}

#[cfg(test)]
#[path = "confine_tests.rs"]
mod tests;
