//! What a command prints, and how it leaves.
//!
//! Whoever reads may go away (`jtav … | head -1`): the command then ends quietly, with the status of a program that the
//! signal for it (SIGPIPE) ends. The signal itself stays ignored, because sockets and the pipes of decode processes would raise it too.

use std::io::{self, ErrorKind, Write};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Exit code after the reader of the output went away: 128 + SIGPIPE, as a shell reports it.
pub const READER_GONE: u8 = 141;

/// Marks a failure to write as one of the command's own output and not of some connection.
#[derive(Debug, thiserror::Error)]
#[error("writing the output: {0}")]
pub struct OutputError(io::Error);

impl OutputError {
    /// Whether nobody reads it any more.
    pub fn is_reader_gone(&self) -> bool {
        self.0.kind() == ErrorKind::BrokenPipe
    }
}

/// Standard output of which every failure is an [`OutputError`] inside the `io::Error`.
#[derive(Debug, Default)]
pub struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stdout().write(bytes).map_err(own)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().map_err(own)
    }
}

/// A failure to write the command's output, marked as that.
pub fn own(error: io::Error) -> io::Error {
    // `write_all` tries an interrupted write again by its kind.
    if error.kind() == ErrorKind::Interrupted {
        return error;
    }
    io::Error::new(error.kind(), OutputError(error))
}

/// The mark, if `error` has one.
pub fn of(error: &anyhow::Error) -> Option<&OutputError> {
    error.chain().find_map(|cause| match cause.downcast_ref::<io::Error>() {
        Some(error) => error.get_ref()?.downcast_ref::<OutputError>(),
        None => cause.downcast_ref::<OutputError>(),
    })
}

/// Resolves when nobody reads standard output any more, though nothing is written to it; never where it is a file. Cancel safe.
pub async fn reader_gone() {
    // Files cannot be waited for.
    // SAFETY: `io::Stdout` names the same descriptor always, which nothing here closes before the process ends.
    let registered = unsafe { AsyncFd::register_with_interest(io::stdout(), Interest::ERROR) };
    if let Ok(stdout) = registered
        && stdout.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Ends the process with what was printed flushed, and without the destructors of libraries: threads may be inside
/// libtorch, and tearing its statics down under them ends in a crash.
pub fn leave(code: u8) -> ! {
    let flushed = io::stdout().flush();
    let code = match flushed {
        Ok(()) => code,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => READER_GONE,
        Err(error) => {
            errln!("error: writing the output: {error}");
            if code == 0 { 1 } else { code }
        }
    };
    // SAFETY: it only ends the process, and takes any number.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Prints on standard output; gives an error where `print!` panics.
macro_rules! out {
    ($($argument:tt)*) => { std::io::Write::write_fmt(&mut crate::output::Stdout, format_args!($($argument)*)) };
}

/// The same with a line's end.
macro_rules! outln {
    ($($argument:tt)*) => { std::io::Write::write_fmt(&mut crate::output::Stdout, format_args!("{}\n", format_args!($($argument)*))) };
}

/// A remark on standard error; where nobody reads it, nobody misses it.
macro_rules! errln {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($argument)*);
    }};
}

pub(crate) use out;
pub(crate) use {errln, outln};
