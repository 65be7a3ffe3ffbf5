use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer as _};
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Resp};

use crate::meter::{self, Meter};
use crate::{ClientSettings, KafkaError, ffi};

/// Requests that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Writing records.
    Produce,
    /// Reading records.
    Fetch,
    /// Asking for watermarks.
    ListOffsets,
    /// Topics and leaders.
    Metadata,
    /// Committing offsets.
    OffsetCommit,
    /// Asking for committed offsets.
    OffsetFetch,
    /// Finding the group's coordinator.
    FindCoordinator,
    /// Joining the group.
    JoinGroup,
    /// Taking part in the assignment.
    SyncGroup,
    /// Staying in the group.
    Heartbeat,
}

/// Errors that can be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InjectedError {
    /// The connection breaks.
    Disconnect,
    /// Too few replicas in sync.
    NotEnoughReplicas,
    /// The broker's own time-out.
    RequestTimedOut,
    /// The leader has moved.
    NotLeader,
    /// The coordinator has moved.
    NotCoordinator,
    /// The coordinator is starting.
    CoordinatorLoading,
    /// The group is changing.
    RebalanceInProgress,
    /// The group has moved on.
    IllegalGeneration,
    /// The group does not know the member (any more).
    UnknownMember,
    /// No access to the topic.
    TopicAuthorizationFailed,
    /// The record is too large for the topic.
    MessageTooLarge,
    /// The offset is not there (any more).
    OffsetOutOfRange,
}

impl Request {
    fn native(self) -> Api {
        match self {
            Self::Produce => Api::Produce,
            Self::Fetch => Api::Fetch,
            Self::ListOffsets => Api::ListOffsets,
            Self::Metadata => Api::Metadata,
            Self::OffsetCommit => Api::OffsetCommit,
            Self::OffsetFetch => Api::OffsetFetch,
            Self::FindCoordinator => Api::FindCoordinator,
            Self::JoinGroup => Api::JoinGroup,
            Self::SyncGroup => Api::SyncGroup,
            Self::Heartbeat => Api::Heartbeat,
        }
    }
}

impl InjectedError {
    fn native(self) -> Resp {
        match self {
            Self::Disconnect => Resp::RD_KAFKA_RESP_ERR__TRANSPORT,
            Self::NotEnoughReplicas => Resp::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            Self::RequestTimedOut => Resp::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            Self::NotLeader => Resp::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Self::NotCoordinator => Resp::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
            Self::CoordinatorLoading => Resp::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
            Self::RebalanceInProgress => Resp::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
            Self::IllegalGeneration => Resp::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
            Self::UnknownMember => Resp::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
            Self::TopicAuthorizationFailed => Resp::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            Self::MessageTooLarge => Resp::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            Self::OffsetOutOfRange => Resp::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE,
        }
    }
}

/// A Kafka cluster inside this process: real protocol, real groups, faults on demand, nothing durable.
///
/// It keeps at most 5 MiB or 100,000 batches per partition and then drops the oldest in silence, which is why
/// [`crate::Producer`] counts what it sends here and fails with [`KafkaError::InProcessFull`] in good time. It redelivers
/// far more than a real broker while a group changes: put no bound on duplicates, and no load, on it.
///
/// Lives until dropped; clients of it must be gone by then.
pub struct InProcessCluster {
    host: BaseProducer,
    bootstrap: String,
    meter: Arc<Meter>,
}

impl InProcessCluster {
    /// Starts `brokers` brokers on free local ports.
    pub fn create(brokers: u32) -> Result<Self, KafkaError> {
        let mut config = ClientConfig::new();
        config.set("test.mock.num.brokers", brokers.max(1).to_string());
        // Nobody polls this client, so its log lines would pile up in the queue.
        config.set_log_level(RDKafkaLogLevel::Emerg);
        let host: BaseProducer = BaseProducer::from_config_and_context(&config, DefaultProducerContext)
            .map_err(|error| KafkaError::broker("start in-process cluster", error))?;
        let bootstrap = match host.client().mock_cluster() {
            Some(cluster) => cluster.bootstrap_servers(),
            None => return Err(KafkaError::InvalidSettings("librdkafka started no in-process cluster".to_owned())),
        };
        // Real brokers wait 3 s for the members of a new group to gather; here there is one.
        ffi::set_group_initial_delay(host.client().native_ptr(), 100);
        let meter = meter::register(&bootstrap);
        Ok(Self { host, bootstrap, meter })
    }

    fn native(&self) -> Result<MockCluster<'_, DefaultProducerContext>, KafkaError> {
        self.host
            .client()
            .mock_cluster()
            .ok_or_else(|| KafkaError::InvalidSettings("librdkafka started no in-process cluster".to_owned()))
    }

    /// Addresses, as for [`ClientSettings::brokers`]; other processes can connect too.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Settings of a client of this cluster.
    pub fn client(&self, client_id: &str) -> ClientSettings {
        ClientSettings::new(self.bootstrap.clone(), client_id)
    }

    /// Creates a topic with one replica.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), KafkaError> {
        self.native()?.create_topic(name, partitions, 1).map_err(|error| KafkaError::broker("create topic", error))
    }

    /// Lets the next requests of a kind fail, one error each, in order.
    pub fn inject(&self, request: Request, errors: &[InjectedError]) -> Result<(), KafkaError> {
        let errors: Vec<Resp> = errors.iter().map(|error| error.native()).collect();
        self.native()?.request_errors(request.native(), &errors);
        Ok(())
    }

    /// Takes back what [`Self::inject`] has not used up.
    pub fn clear_injected(&self, request: Request) -> Result<(), KafkaError> {
        self.native()?.clear_request_errors(request.native());
        Ok(())
    }

    /// Delays every answer of a broker, or of all of them.
    pub fn set_round_trip(&self, broker: Option<u32>, delay: Duration) -> Result<(), KafkaError> {
        self.native()?
            .broker_round_trip_time(broker_id(broker), delay)
            .map_err(|error| KafkaError::broker("set round trip", error))
    }

    /// Cuts a broker off, or all of them. Leaders do not move.
    pub fn broker_down(&self, broker: Option<u32>) -> Result<(), KafkaError> {
        self.native()?.broker_down(broker_id(broker)).map_err(|error| KafkaError::broker("stop broker", error))
    }

    /// Lets it back.
    pub fn broker_up(&self, broker: Option<u32>) -> Result<(), KafkaError> {
        self.native()?.broker_up(broker_id(broker)).map_err(|error| KafkaError::broker("start broker", error))
    }

    /// Moves a partition's leader; none leaves it without one.
    pub fn set_leader(&self, topic: &str, partition: i32, broker: Option<u32>) -> Result<(), KafkaError> {
        let broker = broker.and_then(|id| i32::try_from(id).ok());
        self.native()?
            .partition_leader(topic, partition, broker)
            .map_err(|error| KafkaError::broker("move leader", error))
    }

    /// Moves the coordinator of a group.
    pub fn set_coordinator(&self, group: &str, broker: u32) -> Result<(), KafkaError> {
        self.native()?
            .coordinator(MockCoordinator::Group(group.to_owned()), broker_id(Some(broker)))
            .map_err(|error| KafkaError::broker("move coordinator", error))
    }

    /// Bytes that producers of this process have put into the fullest partition of a topic.
    pub fn fullest_partition_bytes(&self, topic: &str) -> u64 {
        self.meter.fullest_bytes(topic)
    }
}

impl Drop for InProcessCluster {
    fn drop(&mut self) {
        meter::unregister(&self.meter);
    }
}

/// librdkafka numbers brokers from 1; -1 means all.
fn broker_id(broker: Option<u32>) -> i32 {
    broker.and_then(|id| i32::try_from(id).ok()).unwrap_or(-1)
}
