//! Faults of what the worker depends on, one every so often.

use std::time::Duration;

use anyhow::Result;
use jtav_testkit::{RealKafka, RealRedis};
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

/// An outage and how long its traces lasted.
#[derive(Debug, Clone, Serialize)]
pub struct OutageRecord {
    /// What.
    pub outage: Outage,
    /// When it began, since the start of the soak.
    pub at_seconds: f64,
    /// When it was over.
    pub over_at_seconds: f64,
    /// From then until the event lag was as it is without an outage; none if the soak ended before.
    pub recovered_after_seconds: Option<f64>,
}

/// Whom the faults befall.
#[derive(Debug)]
pub struct Victims {
    pub broker: RealKafka,
    pub redis: RealRedis,
}

impl Victims {
    /// Brings about a fault of the store or the broker and returns when it is over. Dropping the future may leave a
    /// process stopped; it is killed with the run.
    pub async fn suffer(&mut self, outage: Outage) -> Result<()> {
        match outage {
            Outage::RedisConnectionsReset => {
                self.redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).map(drop)
            }
            Outage::RedisPaused => {
                self.redis.command(&["CLIENT", "PAUSE", &STANDSTILL.as_millis().to_string(), "ALL"])?;
                tokio::time::sleep(STANDSTILL).await;
                Ok(())
            }
            Outage::RedisStopped => {
                self.redis.freeze()?;
                tokio::time::sleep(STANDSTILL).await;
                self.redis.thaw()
            }
            Outage::BrokerStopped => {
                self.broker.freeze()?;
                tokio::time::sleep(STANDSTILL).await;
                self.broker.thaw()
            }
            Outage::WorkerKilled => Ok(()),
        }
    }
}
