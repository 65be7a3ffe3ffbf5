//! The process that workers are forked from: `jtav decode-worker`. It has one thread and never sees a medium.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::room::{self, GiveBack};
use super::worker;
use crate::params::DecodeLimits;

/// What every worker is told before it is forked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Setup {
    pub(super) limits: DecodeLimits,
    pub(super) max_memory_bytes: u64,
    pub(super) max_cpu_ms: u64,
}

/// What the nursery is asked, one packet each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Order {
    /// First of all.
    Begin(Setup),
    /// With the worker's end of its socket and where its last words go.
    Fork,
    /// Waits for the end of a worker, which has been killed or has ended.
    Reap { pid: i32 },
}

/// What it answers to each order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Answer {
    Ready,
    Forked { pid: i32 },
    Reaped(Ended),
    Failed { message: String },
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) signal: Option<i32>,
    pub(super) max_resident_kib: u64,
}

const MAX_PACKET_BYTES: usize = 16 << 10;

pub(super) fn send(socket: BorrowedFd<'_>, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    sendmsg(socket, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// `None` where the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut text = vec![0; MAX_PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds = fds.flatten().collect();
    Ok(Some((serde_json::from_slice(&text[..received.bytes])?, fds)))
}

/// Serves as the nursery until whoever started it is gone: orders come over standard input, a socket. Workers hand pages
/// back by `give_back`.
///
/// # Errors
/// Not started by `jtav`, or started with more than one thread.
pub fn serve(give_back: GiveBack) -> io::Result<()> {
    room::set(give_back);
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
                    drop(control);
                    worker::work(socket, &setup);
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
        0 => {
            rustix::stdio::dup2_stderr(&last_words)?;
            // Standard input is the nursery's control socket: not for a worker.
            rustix::stdio::dup2_stdin(&last_words)?;
            // Only for people who look at the list of processes.
            let _ = rustix::thread::set_name(c"jtav-decode");
            Ok(Forked::Worker(UnixStream::from(socket)))
        }
        pid => Ok(Forked::Parent(pid)),
    }
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
