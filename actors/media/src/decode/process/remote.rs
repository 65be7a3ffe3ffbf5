//! The side of `jtav`: talks to a fork server and to the workers that come from it, and learns how they ended. Which fork
//! server, and for how long, is the keeper's to say ([`super::keeper`]).

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jtav_pipeline::FetchedMedia;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::orders::{Answer, Ended, Order, Setup, receive, send};
use super::wire::{Job, ReplyLimits, WorkerResult, read_reply, write_header};
use crate::decode::params::ProcessParams;

/// Longest wait for a fork server. It forks in milliseconds; it starts as slowly as the program on a busy machine.
pub(super) const FORK_SERVER_TIMEOUT: Duration = Duration::from_secs(30);
/// Of a worker's last words that are read.
const MAX_LAST_WORDS: usize = 4 << 10;

/// What a fork server hands down of the environment: how the loader finds libraries, and the faults that tests inject.
const ENVIRONMENT: [&str; 3] = ["LD_LIBRARY_PATH", "PATH", jtav_pipeline::fail_point::VARIABLE];
/// Of the allocator of a fork server and its workers: no thread beside; unused pages stay until they are given back
/// ([`super::scratch`]), and then as address space too, which the limit counts.
const MALLOC_CONF: &str = "background_thread:false,retain:false,dirty_decay_ms:-1,muzzy_decay_ms:0,narenas:1";

/// A running fork server. It ends when its last worker is gone and nobody wants another one of it.
pub(super) struct ForkServer {
    /// Taken for an order and its answer.
    control: Mutex<OwnedFd>,
    process: Mutex<Child>,
    started: Instant,
    forks: AtomicU32,
    crashes: AtomicU32,
    retired: AtomicBool,
    /// An order got no answer: the next one could get that one's.
    broken: AtomicBool,
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Closing its control socket would end it too, a moment later; it is not left behind as a zombie.
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// One worker.
pub(crate) struct Worker {
    socket: UnixStream,
    last_words: OwnedFd,
    pid: i32,
    handle: OwnedFd,
    home: Arc<ForkServer>,
    served: u32,
}

/// Why a worker gave no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoReply {
    /// It took longer than it may.
    Hung,
    /// Its socket is closed.
    Broken,
    /// It sent what no worker sends.
    Nonsense,
    /// It had ended before it was told of the medium.
    Gone,
}

impl ForkServer {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// The program cannot be started, or is not one that serves as a fork server.
    pub(super) fn start(params: &ProcessParams, setup: &Setup) -> io::Result<Self> {
        let (control, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&control, Timeout::Recv, Some(FORK_SERVER_TIMEOUT))?;
        set_socket_timeout(&control, Timeout::Send, Some(FORK_SERVER_TIMEOUT))?;
        let environment = ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let process = Command::new(&params.program)
            .args(&params.arguments)
            .env_clear()
            .envs(environment)
            .env("MALLOC_CONF", MALLOC_CONF)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            // A Ctrl-C in a terminal goes to the whole group: the posts in flight still need their decoders.
            .process_group(0)
            .spawn()?;
        let fork_server = Self {
            control: Mutex::new(control),
            process: Mutex::new(process),
            started: Instant::now(),
            forks: AtomicU32::new(0),
            crashes: AtomicU32::new(0),
            retired: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        };
        match fork_server.ask(&Order::Begin(setup.clone()), &[])? {
            Answer::Ready => Ok(fork_server),
            answer => Err(io::Error::other(format!("the program serves no decode workers: {answer:?}"))),
        }
    }

    /// One order and its answer.
    fn ask(&self, order: &Order, fds: &[BorrowedFd<'_>]) -> io::Result<Answer> {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let answer = send(control.as_fd(), order, fds).and_then(|()| receive(control.as_fd()));
        let answer = answer.and_then(|answer| Ok(answer.ok_or(io::ErrorKind::UnexpectedEof)?.0));
        answer.inspect_err(|_| self.broken.store(true, Ordering::Relaxed))
    }

    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Workers that it has forked.
    pub(super) fn forks(&self) -> u32 {
        self.forks.load(Ordering::Relaxed)
    }

    /// Workers of it that a medium has broken.
    pub(super) fn crashes(&self) -> u32 {
        self.crashes.load(Ordering::Relaxed)
    }

    /// A medium has broken a worker of it: whoever sent the medium has learned something of its layout.
    pub(super) fn count_crash(&self) {
        self.crashes.fetch_add(1, Ordering::Relaxed);
    }

    /// Another one has taken its place: its workers are replaced when they are next looked at.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }
}

impl Worker {
    /// A worker that is ready for a medium.
    ///
    /// # Errors
    /// The fork server is gone, or the system gives no process.
    pub(super) fn fork(home: Arc<ForkServer>) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let (last_words, their_last_words) = rustix::pipe::pipe_with(
            // A worker must not block on words that nobody reads.
            rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK,
        )?;
        match home.ask(&Order::Fork, &[theirs.as_fd(), their_last_words.as_fd()])? {
            Answer::Forked { pid } => {
                home.forks.fetch_add(1, Ordering::Relaxed);
                let id = Pid::from_raw(pid).ok_or_else(|| io::Error::other("the fork server named no process"))?;
                let handle = pidfd_open(id, PidfdFlags::empty())?;
                Ok(Worker { socket, last_words, pid, handle, home, served: 0 })
            }
            answer => Err(io::Error::other(format!("no decode worker was forked: {answer:?}"))),
        }
    }

    /// Media that it has decoded.
    pub(super) fn served(&self) -> u32 {
        self.served
    }

    /// Whether another fork server has taken the place of the one that it comes from.
    pub(super) fn is_of_yesterday(&self) -> bool {
        self.home.retired.load(Ordering::Relaxed)
    }

    /// What it comes from.
    pub(super) fn home(&self) -> Arc<ForkServer> {
        Arc::clone(&self.home)
    }

    /// Ends it; how it ended and what it said last. One that is at rest has nothing to lose, and one that is asked to go
    /// could stay, so it is always killed.
    pub(super) fn end(self) -> (Option<Ended>, String) {
        // Killing what has ended already changes nothing.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
        // A fork server that is gone tells nothing.
        let ended = match self.home.ask(&Order::Reap { pid: self.pid }, &[]) {
            Ok(Answer::Reaped(ended)) => Some(ended),
            _ => None,
        };
        (ended, self.last_words())
    }

    /// Has a medium decoded. A worker that gave no reply must be ended.
    pub(super) fn decode(
        &mut self,
        media: &FetchedMedia,
        max_wall: Duration,
        limits: &ReplyLimits,
    ) -> Result<WorkerResult, NoReply> {
        self.served += 1;
        let mut socket = Until { socket: &self.socket, deadline: Instant::now() + max_wall };
        let job = Job {
            modality: media.modality,
            media_type: media.media_type.clone(),
            size_bytes: u32::try_from(media.bytes.len()).map_err(|_| NoReply::Broken)?,
        };
        write_header(&mut socket, &job).map_err(|_| NoReply::Gone)?;
        let result = socket.write_all(&media.bytes).and_then(|()| read_reply(&mut socket, limits));
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => NoReply::Hung,
            io::ErrorKind::InvalidData => NoReply::Nonsense,
            _ => NoReply::Broken,
        })
    }

    fn last_words(&self) -> String {
        let mut text = vec![0; MAX_LAST_WORDS];
        let read = rustix::io::read(&self.last_words, &mut text).unwrap_or(0);
        // A medium may have chosen them: no control characters in anybody's log.
        let text = String::from_utf8_lossy(&text[..read]);
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
    }
}

/// A socket whose every read and write together end at a moment, however slowly the other side drips.
struct Until<'a> {
    socket: &'a UnixStream,
    deadline: Instant,
}

impl Until<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(buffer)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
