//! Types of single values that are more than a number or a text.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Where the networks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The first GPU that works, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// This GPU or none: failing is better than being slow unseen.
    Cuda(usize),
}

/// A device name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no device: use `auto`, `cpu` or `cuda:` and a number")]
pub struct ParseDeviceError(String);

impl FromStr for Device {
    type Err = ParseDeviceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |index: &str| index.parse().ok().filter(|_| index.bytes().all(|byte| byte.is_ascii_digit()));
        match text {
            "auto" => Some(Device::Auto),
            "cpu" => Some(Device::Cpu),
            _ => text.strip_prefix("cuda:").and_then(number).map(Device::Cuda),
        }
        .ok_or_else(|| ParseDeviceError(text.to_owned()))
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Device {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Device".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^(auto|cpu|cuda:[0-9]+)$" })
    }
}

/// What computes the networks on a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CpuEngine {
    /// For each network the faster one of those that are installed, measured at the start.
    Auto,
    /// libtorch alone.
    Libtorch,
    /// OpenVINO where it can run a network; a worker does not start without it.
    Openvino,
}

/// In which numbers networks on a CPU multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CpuPrecision {
    /// bf16 where the processor multiplies it and the answers are near those in f32.
    Auto,
    /// f32 alone.
    F32,
}

/// How partitions are shared out among the workers of a group; the names are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AssignmentStrategy {
    /// A rebalance moves the partitions that must move; the others carry on.
    #[serde(rename = "cooperative-sticky")]
    CooperativeSticky,
    /// Every worker gives up everything at every rebalance.
    #[serde(rename = "range")]
    Range,
    /// As `range`, dealt out one by one.
    #[serde(rename = "roundrobin")]
    RoundRobin,
}

/// Where media may lie besides the web.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MediaSource {
    /// Inside their own URL.
    Data,
    /// In folders of this machine.
    File,
    /// In an object store.
    S3,
}

/// Where labels and vectors are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// A Redis server.
    Redis,
    /// The memory of this process.
    Embedded,
}

/// Where neighbours are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IndexBackend {
    /// In the memory of each server, filled from the embeddings topic; exact.
    Memory,
    /// In vector sets of the store's Redis (8 or newer, no Cluster), written by the workers; nearly exact.
    Redis,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Pretty => "pretty",
            LogFormat::Json => "json",
        }
    }
}

/// 0 stands for the number of CPU cores this process may use.
pub(super) fn or_cores(count: usize) -> usize {
    match count {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

/// TOML has no null: an empty text is none.
pub(super) fn empty_as_none<'de, T: From<String>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Some(String::deserialize(deserializer)?).filter(|text| !text.is_empty()).map(T::from))
}

pub(super) fn none_as_empty<T: AsRef<OsStr>, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let text = value.as_ref().map(|value| value.as_ref().to_string_lossy());
    serializer.serialize_str(text.as_deref().unwrap_or_default())
}

fn parse_address<E: serde::de::Error>(text: &str) -> Result<SocketAddr, E> {
    text.parse()
        .map_err(|_| E::custom(format!("`{text}` is not an IP address and port such as 127.0.0.1:8080 or [::1]:8080")))
}

pub(super) fn exact_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parse_address(&String::deserialize(deserializer)?)
}

/// Names are refused: whoever owns the name could point it at another address later.
pub(super) fn exact_addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    Vec::<String>::deserialize(deserializer)?.iter().map(|text| parse_address(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_read_as_they_are_written_and_nothing_else_is_one() {
        for (text, device) in [("auto", Device::Auto), ("cpu", Device::Cpu), ("cuda:1", Device::Cuda(1))] {
            assert_eq!(text.parse(), Ok(device));
            assert_eq!(device.to_string(), text);
        }
        for text in ["", "gpu", "cuda", "cuda:", "cuda:x", "cuda:+1", "cuda:-1", "CPU"] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }

    #[test]
    fn zero_workers_means_one_for_each_core() {
        assert_eq!(or_cores(0), std::thread::available_parallelism().unwrap().get());
        assert_eq!(or_cores(3), 3);
    }
}
