//! The side of `jtav`: starts the nursery, asks it for workers, talks to them, learns how they ended.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jtav_pipeline::FetchedMedia;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::nursery::{Answer, Ended, Order, Setup, receive, send};
use super::wire::{Job, Outcome, ReplyLimits, read_reply, write_header};
use crate::params::{DecodeLimits, ProcessParams};

/// Longest wait for the nursery. It forks in milliseconds; it starts as slowly as the program on a busy machine.
const NURSERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Of a worker's last words that are read.
const MAX_LAST_WORDS: usize = 4 << 10;

/// What the nursery hands down of the environment: how the loader finds libraries, and the faults that tests inject.
const ENVIRONMENT: [&str; 3] = ["LD_LIBRARY_PATH", "PATH", jtav_pipeline::fail_point::VARIABLE];
/// Of the allocator of the nursery and its workers: no thread beside; unused pages stay until they are given back
/// ([`super::room`]), and then as address space too, which the limit counts.
const MALLOC_CONF: &str = "background_thread:false,retain:false,dirty_decay_ms:-1,muzzy_decay_ms:0,narenas:1";

/// A running nursery, started anew when it is gone.
pub(crate) struct Nursery {
    params: ProcessParams,
    setup: Setup,
    reply_limits: ReplyLimits,
    running: Mutex<Option<Running>>,
}

struct Running {
    control: OwnedFd,
    process: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Closing its control socket would end it too, a moment later; it is not left behind as a zombie.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One worker.
pub(crate) struct Worker {
    socket: UnixStream,
    last_words: OwnedFd,
    pid: i32,
    handle: OwnedFd,
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

impl Nursery {
    /// Starts the nursery and waits until it is ready.
    ///
    /// # Errors
    /// The program cannot be started, or is not one that serves as a nursery.
    pub(crate) fn start(params: ProcessParams, limits: &DecodeLimits) -> io::Result<Self> {
        let mut limits = limits.clone();
        // What could not be had is refused by the header, with a reason, and not tried.
        limits.max_image_working_bytes = limits.max_image_working_bytes.min(params.max_memory_bytes);
        let setup = Setup {
            max_memory_bytes: params.max_memory_bytes,
            max_cpu_ms: params.max_cpu.as_millis().clamp(1, u128::from(u64::MAX)) as u64,
            limits,
        };
        let reply_limits = ReplyLimits::of(&setup.limits);
        let running = Mutex::new(Some(start_process(&params, &setup)?));
        Ok(Self { params, setup, reply_limits, running })
    }

    /// A worker that is ready for a medium.
    pub(super) fn worker(&self) -> io::Result<Worker> {
        let (socket, theirs) = UnixStream::pair()?;
        let (last_words, their_last_words) = rustix::pipe::pipe_with(
            // A worker must not block on words that nobody reads.
            rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK,
        )?;
        let fds = [theirs.as_fd(), their_last_words.as_fd()];
        match self.ask(&Order::Fork, &fds)? {
            Answer::Forked { pid } => {
                let id = Pid::from_raw(pid).ok_or_else(|| io::Error::other("the nursery named no process"))?;
                let handle = pidfd_open(id, PidfdFlags::empty())?;
                Ok(Worker { socket, last_words, pid, handle })
            }
            answer => Err(io::Error::other(format!("no decode worker was forked: {answer:?}"))),
        }
    }

    /// Ends a worker; how it ended and what it said last.
    pub(super) fn end(&self, worker: Worker) -> (Option<Ended>, String) {
        // Killing what has ended already changes nothing.
        let _ = pidfd_send_signal(&worker.handle, Signal::KILL);
        self.wait(worker)
    }

    /// Closes a worker's socket, which ends it when it has done what it is doing, and waits for that.
    pub(super) fn dismiss(&self, worker: Worker) -> (Option<Ended>, String) {
        let _ = worker.socket.shutdown(std::net::Shutdown::Both);
        self.wait(worker)
    }

    fn wait(&self, worker: Worker) -> (Option<Ended>, String) {
        // A nursery that was started anew does not know the workers of the one before it.
        let ended = match self.ask(&Order::Reap { pid: worker.pid }, &[]) {
            Ok(Answer::Reaped(ended)) => Some(ended),
            _ => None,
        };
        (ended, worker.last_words())
    }

    /// One order and its answer. A nursery that gives none is started anew and asked once more.
    fn ask(&self, order: &Order, fds: &[std::os::fd::BorrowedFd<'_>]) -> io::Result<Answer> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(nursery) = running.as_ref() {
            match exchange(&nursery.control, order, fds) {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    tracing::warn!(%error, "the process that decode workers come from is gone; it is started anew");
                    *running = None;
                }
            }
        }
        let nursery = running.insert(start_process(&self.params, &self.setup)?);
        exchange(&nursery.control, order, fds)
    }
}

fn start_process(params: &ProcessParams, setup: &Setup) -> io::Result<Running> {
    let (control, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&control, Timeout::Recv, Some(NURSERY_TIMEOUT))?;
    set_socket_timeout(&control, Timeout::Send, Some(NURSERY_TIMEOUT))?;
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
    let running = Running { control, process };
    match exchange(&running.control, &Order::Begin(setup.clone()), &[])? {
        Answer::Ready => Ok(running),
        answer => Err(io::Error::other(format!("the program serves no decode workers: {answer:?}"))),
    }
}

fn exchange(control: &OwnedFd, order: &Order, fds: &[std::os::fd::BorrowedFd<'_>]) -> io::Result<Answer> {
    send(control.as_fd(), order, fds)?;
    let answer = receive(control.as_fd())?;
    Ok(answer.ok_or(io::ErrorKind::UnexpectedEof)?.0)
}

impl Worker {
    /// Has a medium decoded. A worker that gave no reply must be ended.
    pub(super) fn decode(&mut self, media: &FetchedMedia, nursery: &Nursery) -> Result<Outcome, NoReply> {
        let mut socket = Until { socket: &self.socket, deadline: Instant::now() + nursery.params.max_wall };
        let job = Job {
            modality: media.modality,
            media_type: media.media_type.clone(),
            size_bytes: u32::try_from(media.bytes.len()).map_err(|_| NoReply::Broken)?,
        };
        write_header(&mut socket, &job).map_err(|_| NoReply::Gone)?;
        let result = socket.write_all(&media.bytes).and_then(|()| read_reply(&mut socket, &nursery.reply_limits));
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
