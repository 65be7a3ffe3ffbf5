use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rustix::process::Signal;

use crate::binary::jtav_binary;
use crate::http::{free_address, http_get, metric};
use crate::process::Process;
use crate::root::workspace_root;
use crate::worker_config::WorkerConfig;

/// Longest wait for an answer of the admin server.
const PATIENCE: Duration = Duration::from_secs(5);

/// A `jtav run` of a test's own, or a `jtav serve`; killed when dropped.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    start: Start,
    _folder: tempfile::TempDir,
}

/// What is started.
#[derive(Debug, Clone, Copy)]
enum Role {
    Worker,
    Server,
    ServerWithWorker,
}

impl Role {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Worker => &["run"],
            Self::Server => &["serve"],
            Self::ServerWithWorker => &["serve", "--worker"],
        }
    }

    /// The variable that says where it answers `/readyz` and `/metrics`.
    fn listen_variable(self) -> &'static str {
        match self {
            Self::Worker => "JTAV__ADMIN__LISTEN",
            Self::Server | Self::ServerWithWorker => "JTAV__SERVE__LISTEN",
        }
    }
}

/// How it is started, and started again.
#[derive(Debug)]
struct Start {
    name: String,
    role: Role,
    program: PathBuf,
    config_file: PathBuf,
    log: PathBuf,
    admin: SocketAddr,
    variables: Vec<(String, String)>,
}

impl Start {
    fn process(&self) -> Result<Process> {
        let mut command = Command::new(&self.program);
        // The folder of the model is relative to the repository.
        command.args(self.role.arguments()).arg("--config").arg(&self.config_file).current_dir(workspace_root());
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("JTAV__") {
                command.env_remove(variable);
            }
        }
        command.env(self.role.listen_variable(), self.admin.to_string());
        command.env_remove("JTAV_FAIL_POINTS").envs(self.variables.iter().map(|(name, value)| (name, value)));
        Process::spawn(&self.name, &mut command, self.log.clone())
    }
}

impl Worker {
    /// Starts `jtav run` with this configuration. Its admin server gets a free loopback port; variables of this process
    /// that would configure it are taken away.
    pub fn spawn(name: &str, config: &WorkerConfig) -> Result<Self> {
        Self::spawn_with(name, config, &[])
    }

    /// As [`Self::spawn`], with variables of its environment: `JTAV_FAIL_POINTS` above all.
    pub fn spawn_with(name: &str, config: &WorkerConfig, variables: &[(&str, &str)]) -> Result<Self> {
        Self::spawn_program(&jtav_binary()?, name, config, variables)
    }

    /// As [`Self::spawn_with`], of a program that is taken as it is.
    pub fn spawn_program(
        program: &Path,
        name: &str,
        config: &WorkerConfig,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        Self::start(Role::Worker, program, name, config, variables)
    }

    /// `jtav serve` of `program` with this configuration; [`Self::admin`] is where it serves.
    pub fn spawn_server(program: &Path, name: &str, config: &WorkerConfig) -> Result<Self> {
        Self::start(Role::Server, program, name, config, &[])
    }

    /// As [`Self::spawn_server`], with a worker in the same process.
    pub fn spawn_server_with_worker(program: &Path, name: &str, config: &WorkerConfig) -> Result<Self> {
        Self::start(Role::ServerWithWorker, program, name, config, &[])
    }

    fn start(
        role: Role,
        program: &Path,
        name: &str,
        config: &WorkerConfig,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("jtav-worker-").tempdir()?;
        let start = Start {
            name: name.to_owned(),
            role,
            program: program.to_owned(),
            config_file: folder.path().join("config.toml"),
            log: folder.path().join("worker.log"),
            admin: free_address()?,
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        std::fs::write(&start.config_file, config.to_toml())?;
        Ok(Self { process: start.process()?, start, _folder: folder })
    }

    /// [`Self::kill9`], and the same worker again at the same address, with a new log. It is not waited for.
    pub fn restart(&mut self) -> Result<()> {
        self.kill9()?;
        self.process = self.start.process()?;
        Ok(())
    }

    /// An error with the end of its log if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.process.poll()? {
            None => Ok(()),
            Some(status) => {
                bail!("{} ended with {status}; the end of its log:\n{}", self.start.name, self.log_tail())
            }
        }
    }

    /// Where it serves `/metrics`, `/healthz`, `/readyz` and, a worker, `/describe`.
    pub fn admin(&self) -> SocketAddr {
        self.start.admin
    }

    /// Blocks until `/readyz` answers 200.
    pub fn wait_ready(&mut self, timeout: Duration) -> Result<()> {
        let admin = self.start.admin;
        self.process.wait_until(timeout, "ready", || is_ready(admin))
    }

    /// Whether `/readyz` answers 200 now.
    pub fn is_ready(&self) -> bool {
        is_ready(self.start.admin)
    }

    /// SIGKILL: as a crash, nothing is committed or flushed any more. Returns when it is gone.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.signal(Signal::KILL)?;
        self.process.wait(Duration::from_secs(10)).map(drop)
    }

    /// Blocks until something holds, asked every tenth of a second.
    ///
    /// # Errors
    /// The worker ends before, or time runs out: with the end of its log.
    pub fn wait_until(
        &mut self,
        what: &str,
        timeout: Duration,
        mut holds: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        let started = Instant::now();
        while !holds(self)? {
            ensure!(self.is_running(), "the worker has ended before {what}:\n{}", self.log_tail());
            ensure!(started.elapsed() < timeout, "{what} did not come about:\n{}", self.log_tail());
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.poll()
    }

    /// Any other signal. Nothing is waited for.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Resident memory in bytes; none once it has ended.
    pub fn resident_bytes(&self) -> Option<u64> {
        resident_bytes(self.pid())
    }

    /// SIGTERM, then the exit status of the drained worker; an error if it is not gone in time.
    pub fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus> {
        self.process.signal(Signal::TERM)?;
        self.process.wait(timeout)
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.process.poll(), Ok(None))
    }

    /// Status and body of a `GET` of the admin server.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        http_get(self.start.admin, path, PATIENCE)
    }

    /// A metric by its name, summed over its labels; none while it has no sample.
    pub fn metric(&self, name: &str) -> Result<Option<f64>> {
        Ok(metric(&self.get("/metrics")?.1, name, |a, b| a + b))
    }

    /// The conservation gap once it has come to rest, or after five seconds: it is exported once a second, and between the
    /// settlement of a post and the return of its permit it is below 0.
    pub async fn gap_at_rest(&self) -> Result<Option<f64>> {
        let started = Instant::now();
        loop {
            let gap = self.metric("jtav_conservation_gap")?;
            if gap == Some(0.0) || started.elapsed() > Duration::from_secs(5) {
                return Ok(gap);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// All that it wrote.
    pub fn log(&self) -> Result<String> {
        self.process.log()
    }

    /// The end of what it wrote.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}

/// Resident memory of a process in bytes; none once it has ended.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let status = procfs::process::Process::new(pid.try_into().ok()?).and_then(|process| process.status()).ok()?;
    status.vmrss.map(|kib| kib * 1024)
}

fn is_ready(admin: SocketAddr) -> bool {
    matches!(http_get(admin, "/readyz", PATIENCE), Ok((200, _)))
}
