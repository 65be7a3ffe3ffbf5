use std::process::Command;

use super::*;

/// Set for the process in which the test below tries things.
const INSIDE: &str = "JTAV_TEST_CONFINED";
const MEMORY_BYTES: u64 = 24 << 20;
const MIB: usize = 1 << 20;

type Attempt = (&'static str, fn() -> usize);

/// Everything that could give memory, each until it gives no more: bytes that were had and written to, or only read.
const WAYS_TO_MEMORY: [Attempt; 11] = [
    ("private", || taken(|| map(libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS))),
    ("shared", || taken(|| map(libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS))),
    ("shared and validated", || {
        taken(|| map(libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED_VALIDATE | libc::MAP_ANONYMOUS))
    }),
    ("a stack", || {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_GROWSDOWN;
        taken(|| map(libc::PROT_READ | libc::PROT_WRITE, flags))
    }),
    ("huge pages", || {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB;
        taken(|| map(libc::PROT_READ | libc::PROT_WRITE, flags))
    }),
    ("locked", || {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_LOCKED;
        taken(|| map(libc::PROT_READ | libc::PROT_WRITE, flags))
    }),
    ("made writable afterwards", || {
        taken(|| {
            let at = map(libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS)?;
            // SAFETY: the mapping was made above.
            (unsafe { libc::mprotect(at, MIB, libc::PROT_READ | libc::PROT_WRITE) } == 0).then_some(at)
        })
    }),
    ("moved", || {
        taken(|| {
            let at = map(libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS)?;
            // SAFETY: as above; what was there is not touched again.
            let at = unsafe { libc::mremap(at, MIB, MIB, libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP) };
            (at != libc::MAP_FAILED).then_some(at)
        })
    }),
    ("grown", || {
        let Some(mut at) = map(libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) else {
            return 0;
        };
        let mut bytes = MIB;
        loop {
            // SAFETY: of the mapping as it is now; only the end that was gained is touched.
            unsafe {
                let grown = libc::mremap(at, bytes, bytes + MIB, libc::MREMAP_MAYMOVE);
                if grown == libc::MAP_FAILED || bytes > 16 * MEMORY_BYTES as usize {
                    return bytes;
                }
                at = grown;
                grown.cast::<u8>().add(bytes).write_bytes(1, MIB);
            }
            bytes += MIB;
        }
    }),
    ("the end of the data", || {
        taken(|| {
            // SAFETY: grows what is there; jemalloc does not use it.
            let at = unsafe { libc::sbrk(MIB as libc::intptr_t) };
            (at as isize != -1).then_some(at)
        })
    }),
    ("only read", || {
        let mut bytes = 0;
        // Pages of zeros cost the tables that lead to them.
        while let Some(at) = map(libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) {
            (0..MIB).step_by(4096).for_each(|offset| {
                // SAFETY: inside the mapping.
                std::hint::black_box(unsafe { at.cast::<u8>().add(offset).read_volatile() });
            });
            bytes += MIB;
            if bytes > 16 * MEMORY_BYTES as usize {
                break;
            }
        }
        bytes
    }),
];

fn map(protection: i32, flags: i32) -> Option<*mut libc::c_void> {
    // SAFETY: a new mapping takes nothing from anybody.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), MIB, protection, flags, -1, 0) };
    (at != libc::MAP_FAILED).then_some(at)
}

/// Takes mebibytes until there are none, or far more than there may be.
fn taken(mut next: impl FnMut() -> Option<*mut libc::c_void>) -> usize {
    let mut bytes = 0;
    while let Some(at) = next() {
        // SAFETY: just given, for this.
        unsafe { at.cast::<u8>().write_bytes(1, MIB) };
        bytes += MIB;
        if bytes > 16 * MEMORY_BYTES as usize {
            break;
        }
    }
    bytes
}

fn call(number: libc::c_long, arguments: [libc::c_long; 4]) -> bool {
    // SAFETY: every one of them is one that must be refused; pointers among the arguments are null.
    unsafe { libc::syscall(number, arguments[0], arguments[1], arguments[2], arguments[3]) >= 0 }
}

/// What must not be had at all: the name, and whether it was.
fn forbidden() -> Vec<(&'static str, bool)> {
    let rwx = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let own = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let code = map(libc::PROT_READ, own).is_some_and(|at| {
        // SAFETY: the mapping was made above.
        unsafe { libc::mprotect(at, MIB, libc::PROT_READ | libc::PROT_EXEC) == 0 }
    });
    vec![
        ("new code", map(rwx, own).is_some()),
        ("code made of data", code),
        ("memory with a name", call(libc::SYS_memfd_create, [c"x".as_ptr() as libc::c_long, 0, 0, 0])),
        ("a file", call(libc::SYS_openat, [libc::AT_FDCWD.into(), c"/etc/hosts".as_ptr() as libc::c_long, 0, 0])),
        ("a socket", call(libc::SYS_socket, [libc::AF_INET.into(), libc::SOCK_STREAM.into(), 0, 0])),
        ("a copy of a descriptor", call(libc::SYS_dup, [0, 0, 0, 0])),
        ("a process", call(libc::SYS_clone, [0, 0, 0, 0])),
        ("a higher limit", call(libc::SYS_prlimit64, [0, libc::RLIMIT_DATA as libc::c_long, 0, 0])),
        ("a signal to another", call(libc::SYS_kill, [1, 0, 0, 0])),
        ("pages merged with those of others", call(libc::SYS_madvise, [0, 0, libc::MADV_MERGEABLE.into(), 0])),
    ]
}

/// Confined as a worker is, in a process of its own: limits hold for a whole process and for ever.
fn inside(way: &str) {
    confine(Limits { memory_bytes: MEMORY_BYTES, life_cpu: Duration::from_secs(20) }).unwrap();
    if let Some((_, attempt)) = WAYS_TO_MEMORY.iter().find(|(name, _)| *name == way) {
        let bytes = attempt();
        println!("bytes={bytes}");
    } else {
        let had: Vec<_> = forbidden().into_iter().filter(|(_, had)| *had).map(|(name, _)| name).collect();
        println!("had={}", had.join(", "));
    }
    // SAFETY: always sound. The harness would ask for system calls that are gone.
    unsafe { libc::_exit(0) };
}

/// What the process of a test says behind `key=`.
fn said(way: &str, key: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg("decode::process::confine::tests::no_way_to_memory_gives_more_than_the_limit")
        .env(INSIDE, way)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = text.lines().find_map(|line| Some(line.split_once(&format!("{key}="))?.1.to_owned()));
    said.unwrap_or_else(|| panic!("{way}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn no_way_to_memory_gives_more_than_the_limit() {
    if let Ok(way) = std::env::var(INSIDE) {
        inside(&way);
    }
    for (way, _) in WAYS_TO_MEMORY {
        let bytes: u64 = said(way, "bytes").parse().unwrap();
        let most = if way == "only read" { MEMORY_BYTES + SPARE_ADDRESS_BYTES } else { MEMORY_BYTES };
        assert!(bytes <= most, "{way}: {bytes} bytes");
        if way == "private" {
            assert!(bytes > MEMORY_BYTES / 2, "an honest decoder had {bytes} bytes only");
        }
    }
}

#[test]
fn neither_code_nor_files_nor_anybody_else_can_be_reached() {
    assert_eq!(said("forbidden", "had"), "");
}

#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#[test]
fn a_worker_has_a_stack_canary_of_its_own() {
    let canary = || {
        let value: u64;
        // SAFETY: reads the canary of this thread.
        unsafe { std::arch::asm!("mov {}, fs:[0x28]", out(reg) value, options(nostack, readonly, preserves_flags)) };
        value
    };
    let before = canary();
    // SAFETY: no function that was entered returns before the canary is put back below.
    let after = unsafe {
        take_new_canary().unwrap();
        let after = canary();
        std::arch::asm!("mov fs:[0x28], {}", in(reg) before, options(nostack, preserves_flags));
        after
    };
    assert_ne!(before, after);
    assert_eq!(after & 0xff, 0);
}
