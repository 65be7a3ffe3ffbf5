use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Label, Modality, ModalityStatus, PerModality, Probabilities, UncertainBecause};

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
    /// The word as the encoder saw it: lower-case, spelled as it reads it, an emoji by its name. Never punctuation.
    pub word: String,
    /// Position among what was read, from 0, punctuation counted: first the words of the text that has the most of them, then
    /// those of the others in their order.
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

/// What each modality, and their interaction, added to the logit of `positive` against `negative` before calibration:
/// numbers above 0 speak for `positive`. An absent modality adds exactly 0.
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

/// When the post of a written `sentiment.v1` record was made, milliseconds since 1970: it stands in the record alone, of which nothing
/// else is read. None of what is no such record.
pub fn event_time_ms(sentiment_json: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Time {
        event_time_ms: Option<i64>,
    }
    serde_json::from_slice::<Time>(sentiment_json).ok()?.event_time_ms
}

/// `sentiment.v1`: the label of one revision of a post by one model. The Kafka key is the post id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(
    title = "sentiment.v1",
    extend(
        "if" = { "properties": { "certain": { "const": true } } },
        "then" = { "not": { "required": ["uncertain_because"] } },
        "else" = { "required": ["uncertain_because"] }
    )
)]
pub struct SentimentV1 {
    /// Same for every attempt at this post, revision and model: readers drop an id they have seen.
    pub event_id: String,
    /// The post.
    pub post_id: String,
    /// Its revision.
    pub revision: u64,
    /// The largest of the three probabilities; of two that are equal `neutral` comes first, then `negative`. Always there,
    /// certain or not.
    pub label: Label,
    /// Calibrated probability of each label.
    pub probabilities: Probabilities,
    /// How good or bad the post is, from -1 to 1: 0 is in the middle.
    #[schemars(range(min = -1.0, max = 1.0))]
    pub valence: f32,
    /// Calibrated probability of `positive` for a post that is not neutral, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f32,
    /// Probability of the label: the largest of the three.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: f32,
    /// Confidence from which a label of this combination of modalities is certain: above it the model keeps the accuracy
    /// that it promises. 1 where it promises nothing; then no label is certain.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub threshold: f32,
    /// The confidence reaches the threshold, and the text is in a language that the model was measured on.
    pub certain: bool,
    /// Why not; there if, and only if, the label is not certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertain_because: Option<UncertainBecause>,
    /// Language of the text as it was identified, ISO 639 (`en`; three letters where there are no two; `zxx` for what is in
    /// none, such as emoji); absent without text, and from a model that identifies none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z]{2,3}$"))]
    pub lang: Option<String>,
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
