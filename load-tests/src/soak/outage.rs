//! Faults of what the worker depends on, one every so often.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

/// How long something stands still; shorter than every retry together.
const STANDSTILL: Duration = Duration::from_secs(3);

/// What happens to the store, the broker or the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outage {
    /// `CLIENT KILL`: all connections to Redis reset.
    RedisConnectionsReset,
    /// `CLIENT PAUSE` for 3 s: Redis takes commands and answers later.
    RedisPaused,
    /// SIGSTOP for 3 s: Redis takes nothing and answers nothing.
    RedisStopped,
    /// SIGSTOP for 3 s of the broker.
    BrokerStopped,
    /// SIGKILL of the worker and a new one.
    WorkerKilled,
}

impl Outage {
    /// Those of the store and the broker, in their order. The worker lives on through all of them.
    pub const ROUND: [Self; 4] =
        [Self::RedisConnectionsReset, Self::RedisPaused, Self::RedisStopped, Self::BrokerStopped];

    /// For the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::RedisConnectionsReset => "Redis: all connections reset",
            Self::RedisPaused => "Redis: paused 3 s",
            Self::RedisStopped => "Redis: stopped 3 s",
            Self::BrokerStopped => "broker: stopped 3 s",
            Self::WorkerKilled => "worker: SIGKILL and restart",
        }
    }
}

/// Whom the faults befall.
#[derive(Debug, Clone)]
pub struct Victims {
    /// Socket of the redis-server.
    pub redis_socket: PathBuf,
    /// Its process.
    pub redis_pid: u32,
    /// The broker's process.
    pub broker_pid: u32,
}

impl Victims {
    /// Brings about a fault of the store or the broker and returns when it is over. Dropping the future may leave a
    /// process stopped; it is killed with the run.
    pub async fn suffer(&self, outage: Outage) -> Result<()> {
        match outage {
            Outage::RedisConnectionsReset => redis_command(&self.redis_socket, "CLIENT KILL TYPE normal SKIPME yes"),
            Outage::RedisPaused => {
                redis_command(&self.redis_socket, &format!("CLIENT PAUSE {} ALL", STANDSTILL.as_millis()))?;
                tokio::time::sleep(STANDSTILL).await;
                Ok(())
            }
            Outage::RedisStopped => stop_for_a_while(self.redis_pid).await,
            Outage::BrokerStopped => stop_for_a_while(self.broker_pid).await,
            Outage::WorkerKilled => Ok(()),
        }
    }
}

async fn stop_for_a_while(pid: u32) -> Result<()> {
    signal(pid, "-STOP")?;
    tokio::time::sleep(STANDSTILL).await;
    signal(pid, "-CONT")
}

fn signal(pid: u32, name: &str) -> Result<()> {
    let status = Command::new("kill").args([name, &pid.to_string()]).stderr(Stdio::null()).status()?;
    ensure!(status.success(), "kill {name} {pid}: {status}");
    Ok(())
}

/// Sends one inline command and reads the answer.
fn redis_command(socket: &Path, command: &str) -> Result<()> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "{command}\r\n")?;
    let mut answer = [0; 256];
    let length = stream.read(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer[..length]);
    ensure!(!answer.starts_with('-'), "Redis refuses `{command}`: {}", answer.trim());
    Ok(())
}
