use anyhow::Result;
use jtav_feed_simulator::{MediaServer, SAMPLE_FEED};
use jtav_kafka::{ClientSettings, InProcessCluster};
use jtav_testkit::{RealKafka, RealRedis, workspace_root};

use super::canary::Canary;
use super::fault::Broker;

/// Brokers of the in-process cluster: leaders and coordinators need somewhere to go.
const IN_PROCESS_BROKERS: u32 = 3;

/// What the workers of all runs work with; the harness owns it.
pub struct Environment {
    pub broker: RunningBroker,
    /// The store, which keeps what it has taken.
    pub redis: RealRedis,
    /// Hosts of media, good and bad.
    pub media: MediaServer,
    /// What must not be fetched.
    pub(super) canary: Canary,
}

/// One of the two brokers.
pub enum RunningBroker {
    /// Apache Kafka, a process.
    Real(Box<RealKafka>),
    /// librdkafka's own, in this process.
    InProcess(InProcessCluster),
}

impl Environment {
    /// Starts everything; about 6 s with a real broker.
    pub async fn start(kind: Broker) -> Result<Self> {
        let broker = match kind {
            Broker::Real => RunningBroker::Real(Box::new(RealKafka::start()?)),
            Broker::InProcess => RunningBroker::InProcess(InProcessCluster::create(IN_PROCESS_BROKERS)?),
        };
        Ok(Self {
            broker,
            redis: RealRedis::start_durable()?,
            media: MediaServer::on_loopback(workspace_root().join(SAMPLE_FEED))?,
            canary: Canary::start()?,
        })
    }

    pub fn kind(&self) -> Broker {
        match self.broker {
            RunningBroker::Real(_) => Broker::Real,
            RunningBroker::InProcess(_) => Broker::InProcess,
        }
    }

    /// The real broker.
    ///
    /// # Errors
    /// It is the other one.
    pub fn kafka(&mut self) -> Result<&mut RealKafka> {
        match &mut self.broker {
            RunningBroker::Real(kafka) => Ok(kafka),
            RunningBroker::InProcess(_) => anyhow::bail!("this fault needs a real broker"),
        }
    }

    /// The in-process cluster.
    ///
    /// # Errors
    /// It is the other one.
    pub fn cluster(&self) -> Result<&InProcessCluster> {
        match &self.broker {
            RunningBroker::InProcess(cluster) => Ok(cluster),
            RunningBroker::Real(_) => anyhow::bail!("this fault needs the in-process cluster"),
        }
    }

    pub fn client(&self) -> ClientSettings {
        match &self.broker {
            RunningBroker::Real(kafka) => kafka.client(),
            RunningBroker::InProcess(cluster) => cluster.client("jtav-chaos"),
        }
    }

    pub async fn create_topics(&self, topics: &[(&str, i32)]) -> Result<()> {
        match &self.broker {
            RunningBroker::Real(kafka) => kafka.create_topics(topics).await,
            RunningBroker::InProcess(cluster) => {
                for (name, partitions) in topics {
                    cluster.create_topic(name, *partitions)?;
                }
                Ok(())
            }
        }
    }

    /// Rebalances so far; the in-process cluster does not tell.
    pub fn rebalances(&self) -> usize {
        match &self.broker {
            RunningBroker::Real(kafka) => kafka.rebalances(),
            RunningBroker::InProcess(_) => 0,
        }
    }
}
