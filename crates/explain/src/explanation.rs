//! What is said of one record.

use jtav_schemas::{Contributions, Label, Modality, MoodTag, Probabilities, UncertainBecause};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of one kind of input, and how much it moved the label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// Which.
    pub modality: Modality,
    /// `present`, or why it took no part.
    pub status: String,
    /// Only a part of it was read.
    pub truncated: bool,
    /// Its share of all that moved the label, 0 to 1: the size of its contribution among those of the three and of their
    /// interaction. 0 where the record names no contributions.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub share: f32,
}

/// A word that weighed, and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Word {
    /// As the encoder read it.
    pub word: String,
    /// Position among all that was read, from 0.
    pub position: u32,
    /// Share of the attention, 0 to 1.
    pub weight: f32,
    /// The text that it stands in, from 0; absent, like the two that follow, without the texts and where they are not those
    /// that were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_index: Option<u32>,
    /// Its first character there, in Unicode code points from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u32>,
    /// The character behind its last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u32>,
}

/// A stretch of the clip that weighed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Second {
    /// Seconds from the beginning of the clip.
    pub start_seconds: f32,
    /// Seconds from the beginning of the clip.
    pub end_seconds: f32,
    /// Share of the attention, 0 to 1.
    pub weight: f32,
    /// Its address, a temporal W3C media fragment: `/v1/posts/ID/sound.wav#t=12,17`.
    pub fragment: String,
}

/// A cell of the picture that weighed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CellWeight {
    /// Row from the top, 0 to 6.
    pub row: u32,
    /// Column from the left, 0 to 6.
    pub column: u32,
    /// Share of the attention, 0 to 1.
    pub weight: f32,
    /// Its address, a spatial W3C media fragment: `/v1/posts/ID/picture.png#xywh=percent:14.29,28.57,14.29,14.29`.
    pub fragment: String,
}

/// Why a post was labelled as it was. Made of its record alone, but for the places of the words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The post.
    pub post_id: String,
    /// Its revision.
    pub revision: u64,
    /// Who labelled it.
    pub model_version: String,
    /// The label.
    pub label: Label,
    /// Whether the model keeps the accuracy that it promises for such a label.
    pub certain: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertain_because: Option<UncertainBecause>,
    /// Of each label.
    pub probabilities: Probabilities,
    /// How good or bad the post is, -1 to 1.
    pub valence: f32,
    /// Probability of the label.
    pub confidence: f32,
    /// Confidence from which such a label is certain; 1 where none is.
    pub threshold: f32,
    /// Language of the text, ISO 639.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    /// What each part added to the logit of positive against negative; null where the record does not say.
    pub contributions: Option<Contributions>,
    /// Text, audio, image, in this order.
    pub parts: Vec<Part>,
    /// Heaviest first.
    pub words: Vec<Word>,
    /// Heaviest first.
    pub seconds: Vec<Second>,
    /// Heaviest first.
    pub cells: Vec<CellWeight>,
    /// Moods of the music, most probable first.
    pub moods: Vec<MoodTag>,
    /// The same for a person, in plain English.
    pub sentences: Vec<String>,
}

impl Explanation {
    /// What became of `modality`.
    pub fn part(&self, modality: Modality) -> Option<&Part> {
        self.parts.iter().find(|part| part.modality == modality)
    }
}
