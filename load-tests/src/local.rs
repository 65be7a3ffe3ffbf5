//! Broker, store and worker of a run, started here and stopped with it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// A child process; dropped, it is asked to end, and killed if it does not within `patience`.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    patience: Duration,
}

impl Process {
    /// Starts it with both output streams in `log`.
    fn start(name: &'static str, command: &mut Command, log: PathBuf, patience: Duration) -> Result<Self> {
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name}: {}", command.get_program().display()))?;
        Ok(Self { name, child, log, patience })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: as a crash. Returns when it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// An error with the end of its log if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}; the end of its log:\n{}", self.name, self.log_tail()),
        }
    }

    /// The last lines it wrote.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    fn wait_until(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !ready() {
            self.check()?;
            if Instant::now() > deadline {
                bail!(
                    "{} is not ready after {} s; the end of its log:\n{}",
                    self.name,
                    limit.as_secs(),
                    self.log_tail()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = Command::new("kill").args(["-TERM", &self.pid().to_string()]).stderr(Stdio::null()).status();
        let deadline = Instant::now() + self.patience;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The repository: the working folder or one above it, else the one cargo names.
pub fn repository_root() -> Result<PathBuf> {
    let from_cargo = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    [std::env::current_dir().ok(), from_cargo]
        .into_iter()
        .flatten()
        .flat_map(|start| start.ancestors().map(Path::to_owned).collect::<Vec<_>>())
        .find(|folder| folder.join("scripts/kafka-local.sh").is_file())
        .context("this is not the repository: no scripts/kafka-local.sh here or above; run it from the checkout")
}

/// The worker's program: `given`, or the one beside this program (one profile, one target folder).
pub fn worker_program(given: Option<PathBuf>) -> Result<PathBuf> {
    let program = match given {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("jtav"),
    };
    ensure!(
        program.is_file(),
        "there is no worker at {}: build it with `cargo build --release --workspace --bin jtav`, or name one with --worker",
        program.display()
    );
    Ok(program)
}

fn require(program: &str, purpose: &str, instead: &str) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    ensure!(
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file()),
        "`{program}` is missing ({purpose}): `make setup` installs it, or use one that runs already with {instead}"
    );
    Ok(())
}

/// A real Apache Kafka broker of its own; returns it with its address.
pub fn start_kafka(root: &Path, folder: &Path) -> Result<(Process, String)> {
    require("java", "it runs Apache Kafka", "--brokers HOST:PORT")?;
    let script = root.join("scripts/kafka-local.sh");
    let (data, ready) = (folder.join("kafka"), folder.join("kafka-address"));
    let mut run = Command::new(&script);
    run.arg("run").arg("--dir").arg(&data);
    let mut kafka = Process::start("Kafka", &mut run, folder.join("kafka-run.log"), Duration::from_secs(20))?;
    // `wait` prints HOST:PORT; meanwhile this side notices when `run` itself gives up.
    let mut wait = Command::new(&script)
        .arg("wait")
        .arg("--dir")
        .arg(&data)
        .stdin(Stdio::null())
        .stdout(File::create(&ready)?)
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run scripts/kafka-local.sh")?;
    let waited = kafka.wait_until(Duration::from_secs(180), || !matches!(wait.try_wait(), Ok(None)));
    _ = wait.kill();
    _ = wait.wait();
    waited?;
    let address = std::fs::read_to_string(&ready)?.trim().to_owned();
    if address.is_empty() {
        let log = std::fs::read_to_string(data.join("kafka.log")).unwrap_or_default();
        bail!("Kafka did not start:\n{}\n{log}", kafka.log_tail());
    }
    Ok((kafka, address))
}

/// A redis-server of its own on a unix socket, nothing on disk; returns it with its URL.
pub fn start_redis(folder: &Path) -> Result<(Process, String)> {
    require("redis-server", "the store", "--redis-url URL")?;
    let socket = folder.join("redis.sock");
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
    command.arg("--dir").arg(folder).arg("--unixsocket").arg(&socket);
    let mut redis = Process::start("redis-server", &mut command, folder.join("redis.log"), Duration::from_secs(5))?;
    redis.wait_until(Duration::from_secs(20), || UnixStream::connect(&socket).is_ok())?;
    Ok((redis, format!("redis+unix://{}", socket.display())))
}

/// A worker with this configuration file; returns when it says that it is ready.
pub fn start_worker(program: &Path, root: &Path, config: &Path, admin: SocketAddr, folder: &Path) -> Result<Process> {
    let mut command = Command::new(program);
    // Model paths are relative to the repository.
    command.current_dir(root).args(["run", "--config"]).arg(config);
    let mut worker = Process::start("the worker", &mut command, folder.join("worker.log"), Duration::from_secs(30))?;
    worker.wait_until(Duration::from_secs(120), || is_ready(admin))?;
    Ok(worker)
}

fn is_ready(admin: SocketAddr) -> bool {
    get(admin, "/readyz").is_ok()
}

/// Body of a `GET` that is answered with 200.
pub fn get(admin: SocketAddr, path: &str) -> Result<String> {
    let limit = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&admin, limit)?;
    stream.set_read_timeout(Some(limit))?;
    // HTTP/1.0: the body ends with the connection and is never chunked.
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200"), "{path}: {status}");
    Ok(body.to_owned())
}

/// An address on loopback that nobody uses now. Somebody may take it first; the worker then says so and the run ends.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_worker_is_an_error_that_says_how_to_build_it() {
        let error = worker_program(Some("/nonexistent/jtav".into())).unwrap_err().to_string();
        assert!(error.contains("cargo build --release --workspace --bin jtav"), "{error}");
    }

    #[test]
    fn a_missing_program_is_an_error_with_both_ways_out() {
        let error = require("no-such-program-here", "the store", "--redis-url URL").unwrap_err().to_string();
        assert!(error.contains("make setup") && error.contains("--redis-url"), "{error}");
    }

    #[test]
    fn a_process_that_ends_early_is_reported_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no memory left >&2; exit 3"]);
        let mut process =
            Process::start("the worker", &mut command, folder.path().join("log"), Duration::from_secs(1)).unwrap();
        let error = process.wait_until(Duration::from_secs(10), || false).unwrap_err().to_string();
        assert!(error.contains("no memory left") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        let process = Process::start("sleep", &mut command, folder.path().join("log"), Duration::from_secs(5)).unwrap();
        let pid = process.pid();
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
