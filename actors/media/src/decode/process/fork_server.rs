//! The process that workers are forked from: `jtav decode-worker`. It has one thread and never sees a medium.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use super::confine::take_new_canary;
use super::orders::{Answer, Ended, Order, receive, send};
use super::scratch::{GiveBack, Scratch};
use super::worker;

/// Serves as the fork server until whoever started it is gone: orders come over standard input, a socket. Workers hand pages
/// back by `give_back`.
///
/// # Errors
/// Not started by `jtav`, or started with more than one thread.
pub fn serve(give_back: GiveBack) -> io::Result<()> {
    // Whoever started this program may hold descriptors that go down to it, pipes that wake its threads among them.
    close_all_above(libc::STDERR_FILENO)?;
    let control = io::stdin().as_fd().try_clone_to_owned()?;
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("a process of {threads} threads cannot be forked safely")));
    }
    let Some((Order::Begin(setup), _)) = receive(control.as_fd())? else {
        return Err(io::Error::other("the first order must be to begin; this command is for jtav itself"));
    };
    send(control.as_fd(), &Answer::Ready, &[])?;
    while let Some((order, fds)) = receive(control.as_fd())? {
        let answer = match order {
            Order::Begin(_) => Answer::Failed { message: "begun already".to_owned() },
            Order::Reap { pid } => reap(pid),
            Order::Fork => match fork(fds) {
                Ok(Forked::Parent(pid)) => Answer::Forked { pid },
                Ok(Forked::Worker(socket)) => {
                    // Closed already, and another one may have its number.
                    std::mem::forget(control);
                    // SAFETY: `work` never returns.
                    unsafe { take_new_canary() }.unwrap_or_else(|error| end_child(&error));
                    worker::work(socket, &setup, Scratch::new(give_back));
                }
                Err(error) => Answer::Failed { message: error.to_string() },
            },
        };
        match send(control.as_fd(), &answer, &[]) {
            // Who asked is gone, and nobody else is to be told.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            sent => sent?,
        }
    }
    Ok(())
}

/// Closes what this process has open above `last`. It must own nothing of it, or never touch it again.
pub(super) fn close_all_above(last: RawFd) -> io::Result<()> {
    // Kernels before 5.9, and filters of some containers, know no close_range(2).
    // SAFETY: closing takes nothing from anybody who keeps to the above.
    if unsafe { libc::syscall(libc::SYS_close_range, last + 1, libc::c_uint::MAX, 0) } == 0 {
        return Ok(());
    }
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > last)
        .collect();
    // SAFETY: as above; the folder's own descriptor is closed already, which close(2) takes amiss with an error only.
    open.into_iter().for_each(|fd| unsafe { _ = libc::close(fd) });
    Ok(())
}

enum Forked {
    Parent(i32),
    Worker(UnixStream),
}

fn fork(fds: Vec<OwnedFd>) -> io::Result<Forked> {
    let Ok([socket, last_words]) = <[OwnedFd; 2]>::try_from(fds) else {
        return Err(io::Error::other("a worker needs its socket and a place for its last words"));
    };
    // SAFETY: this process has one thread, so the child finds no lock held; it goes on as an ordinary program.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // An error must not send the child on into its parent's work.
        0 => Ok(Forked::Worker(move_in(socket, last_words).unwrap_or_else(|error| end_child(&error)))),
        pid => Ok(Forked::Parent(pid)),
    }
}

/// Makes a worker's descriptors what it may have: its socket, and its last words in the place of the standard ones.
fn move_in(socket: OwnedFd, last_words: OwnedFd) -> io::Result<UnixStream> {
    rustix::stdio::dup2_stderr(&last_words)?;
    // Standard input is the fork server's control socket: not for a worker. What libraries print goes with its words.
    rustix::stdio::dup2_stdin(&last_words)?;
    rustix::stdio::dup2_stdout(&last_words)?;
    drop(last_words);
    // Only for people who look at the list of processes.
    let _ = rustix::thread::set_name(c"jtav-decode");
    at_the_lowest_place(socket)
}

/// Ends a child that cannot become a worker.
fn end_child(error: &io::Error) -> ! {
    eprintln!("{error}");
    // SAFETY: always sound; its parent's clean-up is not for it.
    unsafe { libc::_exit(1) }
}

/// A worker's socket as its first descriptor behind the standard ones, and nothing behind it.
fn at_the_lowest_place(socket: OwnedFd) -> io::Result<UnixStream> {
    const PLACE: RawFd = libc::STDERR_FILENO + 1;
    if socket.as_raw_fd() == PLACE {
        close_all_above(PLACE)?;
        return Ok(UnixStream::from(socket));
    }
    // SAFETY: who owns the place in this process, the fork server's control socket, is forgotten by the caller and not
    // closed.
    let moved = unsafe {
        if libc::dup2(socket.as_raw_fd(), PLACE) != PLACE {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(PLACE)
    };
    std::mem::forget(socket);
    close_all_above(PLACE)?;
    Ok(UnixStream::from(moved))
}

fn reap(pid: i32) -> Answer {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are valid for the call; zero bytes are a valid rusage.
    let (reaped, usage) = unsafe {
        let reaped = libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr());
        (reaped, usage.assume_init())
    };
    if reaped != pid {
        return Answer::Failed { message: io::Error::last_os_error().to_string() };
    }
    let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
    Answer::Reaped(Ended { signal, max_resident_kib: usage.ru_maxrss.max(0) as u64 })
}
