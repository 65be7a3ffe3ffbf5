use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::array;

/// One of the three kinds of input a post may carry.
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
pub enum Modality {
    /// Words of any script, in one or more parts.
    Text,
    /// One audio clip.
    Audio,
    /// One still image.
    Image,
}

impl Modality {
    /// All three, in the order of every table of this project.
    pub const ALL: [Modality; Modality::COUNT] = array(Modality::VARIANTS);

    /// The wire and metric name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl std::fmt::Display for Modality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a modality took no part in a label (ADR 41). Bounded: these are metric labels.
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
pub enum AbsentReason {
    /// The post does not carry it.
    Absent,
    /// The address policy refused the URL, a DNS answer or a redirect hop.
    FetchDenied,
    /// The host answered with an error, or the connection broke, after all retries.
    FetchFailed,
    /// 404 or 410.
    NotFound,
    /// Not complete within its deadline.
    Timeout,
    /// More bytes, pixels or seconds than the limits allow.
    TooLarge,
    /// The bytes are not of the kind that the post declares (audio where an image should be).
    TypeMismatch,
    /// The bytes do not have the declared SHA-256.
    HashMismatch,
    /// A container or codec that is recognised and not decoded (HE-AAC, AVIF, SVG).
    Unsupported,
    /// Damaged, truncated or empty content.
    DecodeError,
}

impl AbsentReason {
    /// Every reason, for the metric catalogue and the schema test.
    pub const ALL: [AbsentReason; AbsentReason::COUNT] = array(AbsentReason::VARIANTS);

    /// The wire and metric name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// True where the same bytes would give the same answer again, so the answer may be cached.
    pub fn is_deterministic(self) -> bool {
        matches!(
            self,
            AbsentReason::TooLarge | AbsentReason::TypeMismatch | AbsentReason::Unsupported | AbsentReason::DecodeError
        )
    }
}

impl std::fmt::Display for AbsentReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a modality took part in a label. On the wire: `"present"` or the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModalityStatus {
    /// It was fetched, decoded, encoded and fused.
    Present,
    /// It was not, and why.
    Absent(AbsentReason),
}

impl ModalityStatus {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            ModalityStatus::Present => "present",
            ModalityStatus::Absent(reason) => reason.as_str(),
        }
    }

    /// True if the modality took part.
    pub fn is_present(self) -> bool {
        self == ModalityStatus::Present
    }
}

impl Serialize for ModalityStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ModalityStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name == "present" {
            return Ok(ModalityStatus::Present);
        }
        AbsentReason::ALL
            .into_iter()
            .find(|reason| reason.as_str() == name)
            .map(ModalityStatus::Absent)
            .ok_or_else(|| serde::de::Error::custom(format!("unknown modality status `{name}`")))
    }
}

impl JsonSchema for ModalityStatus {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ModalityStatus".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<&str> =
            std::iter::once("present").chain(AbsentReason::ALL.iter().map(|reason| reason.as_str())).collect();
        schemars::json_schema!({
            "description": "`present`, or why the modality took no part in the label",
            "type": "string",
            "enum": names,
        })
    }
}

/// One value per modality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerModality<T> {
    /// Of the text.
    pub text: T,
    /// Of the audio clip.
    pub audio: T,
    /// Of the image.
    pub image: T,
}

impl<T> PerModality<T> {
    /// The value of one modality.
    pub fn get(&self, modality: Modality) -> &T {
        match modality {
            Modality::Text => &self.text,
            Modality::Audio => &self.audio,
            Modality::Image => &self.image,
        }
    }

    /// The value of one modality, to change.
    pub fn get_mut(&mut self, modality: Modality) -> &mut T {
        match modality {
            Modality::Text => &mut self.text,
            Modality::Audio => &mut self.audio,
            Modality::Image => &mut self.image,
        }
    }

    /// The three values with their names, in the usual order.
    pub fn iter(&self) -> impl Iterator<Item = (Modality, &T)> {
        Modality::ALL.into_iter().map(move |modality| (modality, self.get(modality)))
    }

    /// Applies `f` to each value.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> PerModality<U> {
        PerModality { text: f(self.text), audio: f(self.audio), image: f(self.image) }
    }
}
