use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jtav_kafka::{ClientSettings, TopicSpec, ensure_topics};

use crate::process::Process;
use crate::workspace_root;

/// One Apache Kafka broker (KRaft) of a test's own, on a free loopback port; killed when dropped.
#[derive(Debug)]
pub struct RealKafka {
    brokers: String,
    // Declared before the folder: killed before its files go.
    _process: Process,
    _folder: tempfile::TempDir,
}

impl RealKafka {
    /// Starts it and blocks until it serves, about 5 s.
    pub fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("jtav-kafka-").tempdir()?;
        let script = workspace_root().join("scripts/kafka-local.sh");
        let instance = folder.path().join("broker");
        // `run` becomes the broker, so the child is the broker and no shell is left between us.
        let mut command = Command::new(&script);
        command.arg("run").arg("--dir").arg(&instance);
        let process = Process::spawn("Apache Kafka", &mut command, folder.path().join("run.log"))?;
        let waited = Command::new(&script).arg("wait").arg("--dir").arg(&instance).output()?;
        ensure!(
            waited.status.success(),
            "Apache Kafka does not serve: {}\n{}",
            String::from_utf8_lossy(&waited.stderr),
            process.log_tail()
        );
        let brokers = String::from_utf8(waited.stdout).context("the address is text")?.trim().to_owned();
        ensure!(!brokers.is_empty(), "kafka-local.sh wait printed no address");
        Ok(Self { brokers, _process: process, _folder: folder })
    }

    /// `host:port`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Settings of a client.
    pub fn client(&self) -> ClientSettings {
        ClientSettings::new(&self.brokers, "jtav-testkit")
    }

    /// Makes topics, each with so many partitions, and waits until they can be used.
    pub async fn create_topics(&self, topics: &[(&str, i32)]) -> Result<()> {
        let specs: Vec<_> = topics.iter().map(|(name, partitions)| TopicSpec::new(*name, *partitions, 1)).collect();
        Ok(ensure_topics(&self.client(), &specs, Duration::from_secs(30)).await?)
    }
}
