use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jtav_store::{RedisOptions, RedisStore};
use rustix::process::Signal;

use crate::process::Process;

/// The system's.
const PROGRAM: &str = "redis-server";

/// One redis-server of a test's own, on a unix socket; killed when dropped. It can be stopped, killed and frozen.
#[derive(Debug)]
pub struct RealRedis {
    process: Process,
    program: PathBuf,
    folder: tempfile::TempDir,
    durable: bool,
}

impl RealRedis {
    /// Starts it without persistence and blocks until it accepts connections.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// As [`Self::start`], with options as on its command line.
    pub fn start_with(options: &[&str]) -> Result<Self> {
        Self::start_program(Path::new(PROGRAM), options)
    }

    /// As [`Self::start`], with an append-only file that is on disk before a write is answered: what it has taken is
    /// there again after a restart, as in a deployment that may lose nothing.
    pub fn start_durable() -> Result<Self> {
        Self::start_in(Path::new(PROGRAM), true, &[])
    }

    /// As [`Self::start_with`], of another program than the system's.
    pub fn start_program(program: &Path, options: &[&str]) -> Result<Self> {
        Self::start_in(program, false, options)
    }

    fn start_in(program: &Path, durable: bool, options: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("jtav-redis-").tempdir()?;
        let process = spawn(program, &folder, durable, options)?;
        let mut redis = Self { process, program: program.to_owned(), folder, durable };
        redis.wait_for_socket()?;
        Ok(redis)
    }

    /// `redis+unix://…` of one of its 16 databases.
    pub fn url(&self, database: u8) -> String {
        format!("redis+unix://{}?db={database}", self.socket().display())
    }

    /// A client of one of its databases. Must be called inside a tokio runtime.
    pub fn store(&self, database: u8) -> Result<RedisStore> {
        Ok(RedisStore::new(RedisOptions::new(self.url(database)))?)
    }

    /// Sends a command with redis-cli and gives the answer, without the line end.
    ///
    /// # Errors
    /// An answer that is an error, or none.
    pub fn command(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(self.socket()).arg("-e").args(words);
        let output = command.output().context("redis-cli")?;
        ensure!(output.status.success(), "redis-cli {}: {output:?}", words.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// SIGTERM. Blocks until it is gone.
    pub fn stop(&mut self) -> Result<()> {
        self.end(Signal::TERM)
    }

    /// SIGKILL. Blocks until it is gone.
    pub fn kill9(&mut self) -> Result<()> {
        self.end(Signal::KILL)
    }

    fn end(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)?;
        self.process.wait(Duration::from_secs(20)).map(drop)
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill9`] and blocks until it accepts connections. `options` as on
    /// its command line.
    pub fn restart(&mut self, options: &[&str]) -> Result<()> {
        self.process = spawn(&self.program, &self.folder, self.durable, options)?;
        self.wait_for_socket()
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn freeze(&mut self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn thaw(&mut self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// The unix socket on which it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn wait_for_socket(&mut self) -> Result<()> {
        let socket = self.socket();
        self.process.wait_until(Duration::from_secs(20), "serving", || UnixStream::connect(&socket).is_ok())
    }
}

fn spawn(program: &Path, folder: &tempfile::TempDir, durable: bool, options: &[&str]) -> Result<Process> {
    let mut command = Command::new(program);
    // A server that is gone leaves its socket; the next one replaces it.
    command.args(["--port", "0", "--save", "", "--enable-debug-command", "local"]);
    command.args(["--appendonly", if durable { "yes" } else { "no" }, "--appendfsync", "always"]);
    command.arg("--unixsocket").arg(folder.path().join("redis.sock")).arg("--dir").arg(folder.path()).args(options);
    Process::spawn("redis-server", &mut command, folder.path().join("redis.log"))
}
