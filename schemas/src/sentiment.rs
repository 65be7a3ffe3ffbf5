use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Modality, ModalityStatus, PerModality};

/// The decision: `positive` when the probability reaches the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Label {
    /// Probability below the threshold.
    Negative,
    /// Probability at or above it.
    Positive,
}

impl Label {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A mood of the music with its probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MoodTag {
    /// Quadrant of the valence-arousal plane: `Q1` (happy, lively) to `Q4` (calm, pleasant).
    pub tag: String,
    /// 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f32,
}

/// A word and the share of the attention it got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WordWeight {
    /// The token as the encoder saw it.
    pub word: String,
    /// Position among the tokens of the longest text, from 0.
    pub position: u32,
    /// Share of the attention, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight: f32,
}

/// A stretch of the clip and the share of the attention it got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AudioSpan {
    /// Start, in seconds from the beginning of the clip.
    pub start_seconds: f32,
    /// End, in seconds.
    pub end_seconds: f32,
    /// Share of the attention, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight: f32,
}

/// A cell of the 7 by 7 grid over the centre crop, and its weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImageCell {
    /// Row from the top, 0 to 6.
    pub row: u32,
    /// Column from the left, 0 to 6.
    pub column: u32,
    /// Share of the attention, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight: f32,
}

/// What the networks looked at: the largest weights of each modality, largest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttentionSummary {
    /// Up to 5 words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<WordWeight>,
    /// Up to 3 stretches of the audio clip.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audio_spans: Vec<AudioSpan>,
    /// Up to 5 cells of the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_cells: Vec<ImageCell>,
}

/// What each modality, and their interaction, added to the logit before calibration: positive numbers speak for
/// `positive`. An absent modality adds exactly 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Contributions {
    /// Of the text alone.
    pub text: f32,
    /// Of the audio clip alone.
    pub audio: f32,
    /// Of the image alone.
    pub image: f32,
    /// Of the modalities together (CMF-AP).
    pub interaction: f32,
}

/// `sentiment.v1`: the label of one revision of a post by one model. The Kafka key is the post id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "sentiment.v1")]
pub struct SentimentV1 {
    /// Same for every attempt at this post, revision and model: readers drop an id they have seen.
    pub event_id: String,
    /// The post.
    pub post_id: String,
    /// Its revision.
    pub revision: u64,
    /// The decision.
    pub label: Label,
    /// Calibrated probability of `positive`, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f32,
    /// Distance of the probability from the threshold, scaled to the room on its side: 0 at the threshold, 1 at certainty.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: f32,
    /// Probability from which the label is `positive`.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub threshold: f32,
    /// Moods of the music, most probable first; empty without audio.
    #[serde(default)]
    pub moods: Vec<MoodTag>,
    /// Which modalities took part, and why the others did not.
    pub modalities: PerModality<ModalityStatus>,
    /// Modalities of which only a part was read: the post carries more than the network or the worker's caps take.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub truncated: Vec<Modality>,
    /// What the networks looked at.
    #[serde(default)]
    pub attention: AttentionSummary,
    /// Which modality moved the label, and how far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contributions: Option<Contributions>,
    /// Name and weights of the model.
    pub model_version: String,
    /// Timestamp of the input record, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time_ms: Option<i64>,
    /// When the worker received the record, milliseconds since 1970.
    pub received_at_ms: i64,
    /// When the label was made, milliseconds since 1970.
    pub labelled_at_ms: i64,
}
