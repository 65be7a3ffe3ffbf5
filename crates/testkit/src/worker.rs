use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::process::Process;
use crate::{jtav_binary, workspace_root};

/// A `jtav run` of a test's own; killed when dropped.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    admin: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Worker {
    /// Starts `jtav run` with this configuration (TOML, as config/default.toml). Its admin server gets a free loopback
    /// port; variables of this process that would configure it are taken away.
    pub fn spawn(name: &str, config: &str) -> Result<Self> {
        Self::spawn_with(name, config, &[])
    }

    /// As [`Self::spawn`], with variables of its environment: `JTAV_FAIL_POINTS` above all.
    pub fn spawn_with(name: &str, config: &str, variables: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("jtav-worker-").tempdir()?;
        let config_file = folder.path().join("config.toml");
        std::fs::write(&config_file, config)?;
        let admin = free_address()?;
        let mut command = Command::new(jtav_binary()?);
        // The folder of the model is relative to the repository.
        command.arg("run").arg("--config").arg(&config_file).current_dir(workspace_root());
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("JTAV__") {
                command.env_remove(variable);
            }
        }
        command.env("JTAV__ADMIN__LISTEN", admin.to_string());
        command.env_remove("JTAV_FAIL_POINTS").envs(variables.iter().copied());
        let process = Process::spawn(name, &mut command, folder.path().join("worker.log"))?;
        Ok(Self { process, admin, _folder: folder })
    }

    /// Where it serves `/metrics`, `/healthz`, `/readyz` and `/describe`.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Blocks until `/readyz` answers 200.
    pub fn wait_ready(&mut self, timeout: Duration) -> Result<()> {
        let admin = self.admin;
        self.process.wait_until(timeout, "ready", || matches!(get(admin, "/readyz"), Ok((200, _))))
    }

    /// SIGKILL: as a crash, nothing is committed or flushed any more. Returns when it is gone.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.signal("-KILL")?;
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

    /// Any other signal, in the words of kill(1): `-STOP`, `-CONT`, `-TERM`. Nothing is waited for.
    pub fn signal(&mut self, signal: &str) -> Result<()> {
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
        self.process.signal("-TERM")?;
        self.process.wait(timeout)
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.process.poll(), Ok(None))
    }

    /// Status and body of a `GET` of the admin server.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        get(self.admin, path)
    }

    /// A metric by its name, summed over its labels; none while it has no sample.
    pub fn metric(&self, name: &str) -> Result<Option<f64>> {
        Ok(sum_of(name, &self.get("/metrics")?.1))
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
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// HTTP/1.0, so that the body ends with the connection and is never chunked.
fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).context("an HTTP status")?;
    Ok((status, body.to_owned()))
}

fn sum_of(name: &str, exposition: &str) -> Option<f64> {
    let values = exposition.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_of_its_own_samples() {
        let text = "# TYPE a gauge\na{p=\"0 1\"} 2\na{p=\"1\"} 3.5\na_b 7\nb 1e3\n";
        assert_eq!(sum_of("a", text), Some(5.5));
        assert_eq!(sum_of("b", text), Some(1000.0));
        assert_eq!(sum_of("c", text), None);
    }
}
