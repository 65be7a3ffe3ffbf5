use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::array;

/// Why a record was set aside. Bounded: these are metric labels.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    EnumCount,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DeadLetterReason {
    /// The value is not JSON (or not UTF-8).
    InvalidJson,
    /// JSON that is not a `post.v1`.
    InvalidPost,
    /// No key, or a key that is not the post's id: order and erasure hang on it.
    KeyMismatch,
    /// Larger than `max_record_bytes`.
    RecordTooLarge,
    /// None of the parts could be used; the headers say why for each.
    NoModality,
    /// A network gave a vector or probability that is not finite.
    NonFiniteOutput,
    /// The post made a stage panic or fail twice.
    PoisonPill,
    /// The broker refuses the published record for good (too large, not allowed).
    PublishRejected,
    /// The worker's process ended several times while this record was inside by itself.
    CrashedWorker,
    /// The post was not done with in time again and again, alone too, while others passed where it hung.
    DeadlineExceeded,
}

impl DeadLetterReason {
    /// Every reason.
    pub const ALL: [DeadLetterReason; DeadLetterReason::COUNT] = array(DeadLetterReason::VARIANTS);

    /// The wire and metric name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl std::fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a record came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveredFrom {
    /// Input topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Timestamp of the record, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_ms: Option<i64>,
}

/// Bytes of which perhaps only the first are at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Whole {
    /// How many there are.
    pub bytes: u64,
    /// BLAKE3 of all of them, 64 hexadecimal digits.
    pub blake3: String,
}

impl Whole {
    /// Length and hash of bytes that are all at hand.
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, blake3: blake3::hash(bytes).to_hex().to_string() }
    }
}

/// A record of which a part was left out, because whatever takes it does not take all of it. Key and value are then
/// their first bytes, and of the headers some are missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Truncation {
    /// The whole key; more bytes than are at hand, where it was cut. None where the record has no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Whole>,
    /// The whole value; more bytes than are at hand, where it was cut. None for a null value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Whole>,
    /// Headers that are missing.
    #[serde(default)]
    pub headers_left_out: u64,
    /// Bytes of their names and values.
    #[serde(default)]
    pub header_bytes_left_out: u64,
}

/// `dead-letter.v1`: how a dead letter reads once decoded. On the topic the key, value and headers of the original
/// record are untouched, as far as they fit ([`Truncation`]); everything here but `original_*` travels in added headers named [`DeadLetterHeaders`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "dead-letter.v1")]
pub struct DeadLetterV1 {
    /// Why.
    pub reason: DeadLetterReason,
    /// The stage of the diagram that gave up on it.
    pub stage: String,
    /// One line for a person; no bytes of the post.
    pub message: String,
    /// Where it came from.
    pub source: DeliveredFrom,
    /// How often it was tried.
    pub attempts: u32,
    /// How often it was replayed from the dead-letter topic.
    #[serde(default)]
    pub replay_count: u32,
    /// When it was first given up, milliseconds since 1970.
    pub failed_at_ms: i64,
    /// Model that was serving, if one was loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    /// Version of the program.
    pub pipeline_version: String,
    /// What is missing of the original record, where it did not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<Truncation>,
    /// Key of the original record, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_key_base64: Option<String>,
    /// Value of the original record, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_value_base64: Option<String>,
}

/// Names of the headers that every record of the output topics carries.
pub struct RecordHeaders;

impl RecordHeaders {
    /// [`event_id`](crate::event_id): what a reader has seen, it may drop without reading the value.
    pub const EVENT_ID: &'static str = "jtav-event-id";
    /// Model version.
    pub const MODEL_VERSION: &'static str = "jtav-model-version";
}

/// Names of the headers that a dead letter gains. Kafka keeps repeated names: of two, the last one is ours.
pub struct DeadLetterHeaders;

impl DeadLetterHeaders {
    /// [`DeadLetterReason`].
    pub const REASON: &'static str = "jtav-dl-reason";
    /// Stage name.
    pub const STAGE: &'static str = "jtav-dl-stage";
    /// Message for a person.
    pub const MESSAGE: &'static str = "jtav-dl-message";
    /// Input topic.
    pub const SOURCE_TOPIC: &'static str = "jtav-dl-source-topic";
    /// Input partition, decimal.
    pub const SOURCE_PARTITION: &'static str = "jtav-dl-source-partition";
    /// Input offset, decimal.
    pub const SOURCE_OFFSET: &'static str = "jtav-dl-source-offset";
    /// Input timestamp in milliseconds, decimal.
    pub const SOURCE_TIMESTAMP_MS: &'static str = "jtav-dl-source-timestamp-ms";
    /// Attempts, decimal.
    pub const ATTEMPTS: &'static str = "jtav-dl-attempts";
    /// Replays, decimal.
    pub const REPLAY_COUNT: &'static str = "jtav-dl-replay-count";
    /// Where the first record of a chain of replays lay, `<topic>:<partition>:<offset>`. A replay adds it to what it sends
    /// back, before the headers that the worker adds.
    pub const ORIGIN: &'static str = "jtav-dl-origin";
    /// [`Truncation`] as JSON, where the original record did not fit.
    pub const TRUNCATED: &'static str = "jtav-dl-truncated";
    /// Milliseconds since 1970, decimal.
    pub const FAILED_AT_MS: &'static str = "jtav-dl-failed-at-ms";
    /// Model version.
    pub const MODEL_VERSION: &'static str = "jtav-dl-model-version";
    /// Program version.
    pub const PIPELINE_VERSION: &'static str = "jtav-dl-pipeline-version";
    /// Why each modality was unusable, as JSON, with reason `no_modality`.
    pub const MODALITIES: &'static str = "jtav-dl-modalities";
}
