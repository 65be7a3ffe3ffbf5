use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jtav_kafka::{ClientSettings, TopicSpec, ensure_topics};
use rustix::process::Signal;

use crate::process::Process;
use crate::root::workspace_root;

/// What the broker's log says whenever the members of a group have agreed on a new generation.
const NEW_GENERATION: &str = "Stabilized group";

/// One Apache Kafka broker (KRaft) of a test's own, on a free loopback port; killed when dropped. It can be stopped,
/// killed and frozen; what it was given lies in its folder and is there again when it is back.
#[derive(Debug)]
pub struct RealKafka {
    brokers: String,
    // Declared before the folder: killed before its files go.
    process: Process,
    folder: tempfile::TempDir,
    /// Generations that earlier processes saw; each begins a new log.
    earlier_generations: usize,
}

impl RealKafka {
    /// Starts it and blocks until it serves, about 5 s.
    pub fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("jtav-kafka-").tempdir()?;
        let (process, brokers) = spawn(&folder)?;
        Ok(Self { brokers, process, folder, earlier_generations: 0 })
    }

    /// `host:port`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    pub fn client(&self) -> ClientSettings {
        ClientSettings::new(&self.brokers, "jtav-testkit")
    }

    /// Makes topics, each with so many partitions, and waits until they can be used.
    pub async fn create_topics(&self, topics: &[(&str, i32)]) -> Result<()> {
        let specs: Vec<_> = topics.iter().map(|(name, partitions)| TopicSpec::new(*name, *partitions, 1)).collect();
        Ok(ensure_topics(&self.client(), &specs, Duration::from_secs(30)).await?)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// SIGTERM: a controlled shutdown. Blocks until it is gone.
    pub fn stop(&mut self) -> Result<()> {
        self.end(Signal::TERM)
    }

    /// SIGKILL. Blocks until it is gone.
    pub fn kill9(&mut self) -> Result<()> {
        self.end(Signal::KILL)
    }

    fn end(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)?;
        self.process.wait(Duration::from_secs(60))?;
        self.earlier_generations += self.generations_in_log();
        Ok(())
    }

    /// Starts it again where it was, after [`Self::stop`] or [`Self::kill9`]. Blocks until it serves.
    pub fn restart(&mut self) -> Result<()> {
        let (process, brokers) = spawn(&self.folder)?;
        ensure!(brokers == self.brokers, "the broker came back as {brokers}, not {}", self.brokers);
        self.process = process;
        Ok(())
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn freeze(&mut self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn thaw(&mut self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Rebalances that ended so far, of all groups: generations that their members agreed on.
    pub fn rebalances(&self) -> usize {
        self.earlier_generations + self.generations_in_log()
    }

    fn generations_in_log(&self) -> usize {
        let log = std::fs::read(instance(&self.folder).join("kafka.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).matches(NEW_GENERATION).count()
    }
}

fn instance(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("broker")
}

/// Starts the broker of a folder and waits until it serves; gives its address.
fn spawn(folder: &tempfile::TempDir) -> Result<(Process, String)> {
    let script = workspace_root().join("scripts/kafka-local.sh");
    // `run` becomes the broker, so the child is the broker and no shell is left between us.
    let mut command = Command::new(&script);
    command.arg("run").arg("--dir").arg(instance(folder));
    let process = Process::spawn("Apache Kafka", &mut command, folder.path().join("run.log"))?;
    let waited = Command::new(&script).arg("wait").arg("--dir").arg(instance(folder)).output()?;
    ensure!(
        waited.status.success(),
        "Apache Kafka does not serve: {}\n{}",
        String::from_utf8_lossy(&waited.stderr),
        process.log_tail()
    );
    let brokers = String::from_utf8(waited.stdout).context("the address is text")?.trim().to_owned();
    ensure!(!brokers.is_empty(), "kafka-local.sh wait printed no address");
    Ok((process, brokers))
}
