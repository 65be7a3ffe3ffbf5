//! What `explain`, `tap` and `top` share: the server and its key, how their output looks, and the codes of their failures.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use jtav_console::{ConsoleError, Fault, Ink, Key, Server, window_columns};
use jtav_feed_processor::exit;

use crate::failure::coded;
use crate::output::errln;

/// Holds a key where no `--key-file` is given.
const KEY_VARIABLE: &str = "JTAV_KEY";
/// Bytes of a key file.
const MAX_KEY_BYTES: u64 = 4_096;
/// Columns of an output that nobody looks at.
const PLAIN_WIDTH: usize = 80;

/// A `jtav serve`, and the key for it.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// Address of a running `jtav serve` or `jtav demo --serve`.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9700")]
    pub server: String,
    /// File that holds the key, where the server asks for one [default: the environment variable JTAV_KEY].
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

impl ServerArgs {
    /// The server.
    ///
    /// # Errors
    /// An address that is none, a key that cannot be read.
    pub fn open(&self) -> anyhow::Result<Server> {
        let server = Server::new(&self.server, self.key()?).map_err(failed)?;
        if server.exposes_key() {
            errln!("warning: the key goes to {} unencrypted; https keeps it to yourselves", server.address());
        }
        Ok(server)
    }

    fn key(&self) -> anyhow::Result<Option<Key>> {
        use std::io::Read as _;
        let Some(path) = &self.key_file else {
            let value = std::env::var_os(KEY_VARIABLE).filter(|value| !value.is_empty());
            let Some(value) = value else { return Ok(None) };
            return Key::read(&value.to_string_lossy()).map(Some).map_err(failed).context(KEY_VARIABLE);
        };
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_KEY_BYTES).read_to_string(&mut text));
        read.with_context(|| format!("--key-file {}", path.display())).map_err(coded(exit::CONFIG))?;
        Key::read(&text).map(Some).map_err(failed).with_context(|| format!("--key-file {}", path.display()))
    }
}

/// What standard output can show.
pub fn ink() -> Ink {
    let variable = |name: &str| std::env::var(name).ok();
    Ink::of(std::io::stdout().is_terminal(), variable("NO_COLOR").as_deref(), variable("TERM").as_deref())
}

/// Columns of the terminal; none where standard output is none.
pub fn terminal_columns() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    Some(window_columns().filter(|columns| *columns > 0).unwrap_or(PLAIN_WIDTH))
}

/// Columns to fit into.
pub fn columns() -> usize {
    terminal_columns().unwrap_or(PLAIN_WIDTH)
}

/// With the exit code that its fault has.
pub fn failed(error: ConsoleError) -> anyhow::Error {
    let code = match error.fault() {
        Fault::Usage => exit::USAGE,
        Fault::Data => exit::DATA,
        Fault::Unavailable => exit::UNAVAILABLE,
        Fault::Settings => exit::CONFIG,
        // Keeps the mark of a reader that is gone.
        Fault::Output => return error.into(),
    };
    coded(code)(error.into())
}
