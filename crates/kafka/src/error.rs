use rdkafka::error::RDKafkaErrorCode as Code;

use crate::UnsafeSetting;

/// What a failure means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The same call may go through later: brokers away, leader moving, queue full, time-out.
    Retryable,
    /// The broker refuses this record for good (too large, malformed); other records are not concerned.
    RecordRefused,
    /// No record gets through until somebody acts: credentials, access rights, a topic that does not exist, a setting.
    /// A systemic fault: it must stop intake and never send records to the dead-letter topic.
    NeedsOperator,
    /// This client instance is dead (fenced, or a fatal error of librdkafka); a new one may work.
    ClientDead,
}

/// Every failure of this crate.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KafkaError {
    /// Passed-through settings that would break a promise of the system.
    #[error("unsafe kafka settings: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    UnsafeSettings(Vec<UnsafeSetting>),
    /// A setting that librdkafka does not know or cannot use.
    #[error("kafka settings: {0}")]
    InvalidSettings(String),
    /// The broker, or the client on its behalf, said no.
    #[error("{operation}: {message} ({code})")]
    Broker {
        /// What was tried.
        operation: &'static str,
        /// Name of librdkafka's error code; bounded, fit for a metric label.
        code: String,
        message: String,
        fault: Fault,
    },
    /// No answer in time.
    #[error("{operation}: no answer within {waited_ms} ms")]
    Timeout {
        /// What was tried.
        operation: &'static str,
        /// How long was waited.
        waited_ms: u64,
    },
    /// A topic that should be there is not.
    #[error("topic `{0}` does not exist")]
    UnknownTopic(String),
    /// Nothing lies behind the last record now. Only told to a consumer that asked for it.
    #[error("end of partition {0}")]
    EndOfPartition(i32),
    /// A record came beside the queue of its partition, where it cannot be held back; it must not be passed over.
    #[error("a record came beside the queue of its partition")]
    StrayRecord,
    /// The in-process cluster would drop its oldest records without a word from 5 MiB on, so nothing more is sent.
    #[error("in-process cluster: topic `{topic}` is full ({bytes} bytes, {records} records in one partition)")]
    InProcessFull {
        topic: String,
        /// Bytes in its fullest partition.
        bytes: u64,
        /// Records in its fullest partition.
        records: u64,
    },
}

impl KafkaError {
    pub(crate) fn broker(operation: &'static str, error: rdkafka::error::KafkaError) -> Self {
        use rdkafka::error::KafkaError as Native;
        match error {
            Native::ClientConfig(_, description, key, value) => {
                let value = crate::passthrough::shown(&key, &value);
                Self::InvalidSettings(format!("`{key}` = `{value}`: {description}"))
            }
            Native::ClientCreation(message) => Self::InvalidSettings(message),
            Native::MessageConsumptionFatal(code) => Self::from_code(operation, code, Fault::ClientDead),
            Native::AdminOp(code) => Self::from_code(operation, code, fault_of(code)),
            Native::PartitionEOF(partition) => Self::EndOfPartition(partition),
            other => match other.rdkafka_error_code() {
                Some(code) => Self::from_code(operation, code, fault_of(code)),
                None => Self::Broker {
                    operation,
                    code: "Local".to_owned(),
                    message: other.to_string(),
                    fault: Fault::Retryable,
                },
            },
        }
    }

    pub(crate) fn code_only(operation: &'static str, code: Code) -> Self {
        Self::from_code(operation, code, fault_of(code))
    }

    fn from_code(operation: &'static str, code: Code, fault: Fault) -> Self {
        Self::Broker { operation, code: format!("{code:?}"), message: code.to_string(), fault }
    }

    /// Names the topic in the message.
    pub(crate) fn about_topic(self, topic: &str) -> Self {
        match self {
            Self::Broker { operation, code, message, fault } => {
                Self::Broker { operation, code, message: format!("topic `{topic}`: {message}"), fault }
            }
            other => other,
        }
    }

    /// True if the broker refuses the record, or the batch it came in, for its size.
    pub fn is_too_large(&self) -> bool {
        matches!(self.code(), "MessageSizeTooLarge" | "MessageBatchTooLarge")
    }

    /// What the failure means for the caller.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Broker { fault, .. } => *fault,
            Self::Timeout { .. } | Self::EndOfPartition(_) => Fault::Retryable,
            Self::StrayRecord => Fault::ClientDead,
            Self::UnsafeSettings(_) | Self::InvalidSettings(_) | Self::UnknownTopic(_) => Fault::NeedsOperator,
            // Nothing ever leaves the in-process cluster, so waiting does not help.
            Self::InProcessFull { .. } => Fault::NeedsOperator,
        }
    }

    /// Can the same call go through later, with nobody acting?
    pub fn is_retryable(&self) -> bool {
        self.fault() == Fault::Retryable
    }

    /// Bounded name, fit for a metric label.
    pub fn code(&self) -> &str {
        match self {
            Self::UnsafeSettings(_) => "UnsafeSettings",
            Self::InvalidSettings(_) => "InvalidSettings",
            Self::Broker { code, .. } => code,
            Self::Timeout { .. } => "Timeout",
            Self::UnknownTopic(_) => "UnknownTopic",
            Self::StrayRecord => "StrayRecord",
            Self::EndOfPartition(_) => "EndOfPartition",
            Self::InProcessFull { .. } => "InProcessFull",
        }
    }

    /// True for the refusals of a commit that are normal while partitions change hands: the group has moved on, or is
    /// about to (ADR 41). Counted, never a failure: whoever owns the partition now reads the records again.
    pub fn is_not_owner(&self) -> bool {
        matches!(
            self.code(),
            "State"
                | "IllegalGeneration"
                | "UnknownMemberId"
                | "RebalanceInProgress"
                | "AssignmentLost"
                | "FencedInstanceId"
                | "UnknownPartition"
        )
    }
}

/// Sorts librdkafka's codes. Unknown ones are retryable: waiting loses nothing, giving up may.
fn fault_of(code: Code) -> Fault {
    match code {
        Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidMessage
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::KeySerialization
        | Code::ValueSerialization => Fault::RecordRefused,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SSL
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition
        | Code::InvalidTopic
        | Code::InvalidConfig
        | Code::InvalidArgument
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidSessionTimeout
        | Code::InvalidGroupId
        | Code::InconsistentGroupProtocol
        | Code::GroupMaxSizeReached
        | Code::InvalidRequiredAcks
        | Code::PolicyViolation
        | Code::UnsupportedFeature
        | Code::UnsupportedVersion
        | Code::UnsupportedCompressionType
        | Code::SecurityDisabled => Fault::NeedsOperator,
        Code::Fatal | Code::Fenced | Code::FencedInstanceId | Code::ProducerFenced | Code::InvalidProducerEpoch => {
            Fault::ClientDead
        }
        _ => Fault::Retryable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_record_is_told_from_a_fault_of_the_system() {
        let fault = |code| KafkaError::code_only("produce", code).fault();
        assert_eq!(fault(Code::MessageSizeTooLarge), Fault::RecordRefused);
        assert_eq!(fault(Code::TopicAuthorizationFailed), Fault::NeedsOperator);
        assert_eq!(fault(Code::Fatal), Fault::ClientDead);
        assert_eq!(fault(Code::NotEnoughReplicas), Fault::Retryable);
        assert_eq!(fault(Code::MessageTimedOut), Fault::Retryable);
        assert!(!KafkaError::code_only("produce", Code::SSL).is_retryable());
    }

    #[test]
    fn the_refusals_of_a_changing_group_are_not_failures() {
        for code in [Code::State, Code::IllegalGeneration, Code::UnknownMemberId, Code::RebalanceInProgress] {
            assert!(KafkaError::code_only("commit", code).is_not_owner(), "{code:?}");
        }
        assert!(!KafkaError::code_only("commit", Code::NetworkException).is_not_owner());
    }
}
