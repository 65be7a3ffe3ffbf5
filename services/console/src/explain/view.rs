//! What is known of a post that is shown.

use jtav_explain::Explanation;
use jtav_schemas::{Label, SentimentV1, TextPart};

/// A post with its reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The reasons.
    pub explanation: Explanation,
    /// What it says.
    pub texts: Texts,
    /// Timestamp of the input record, milliseconds since 1970.
    pub posted_at_ms: Option<i64>,
    /// When the label was made, milliseconds since 1970.
    pub labelled_at_ms: i64,
    /// Partition and offset of the input record.
    pub source: Option<(i32, i64)>,
    /// The posts that are like it.
    pub nearby: Nearby,
}

impl Shown {
    /// Of a label, and what its post says. Neighbours and source are not known.
    pub fn of(sentiment: &SentimentV1, texts: Texts) -> Self {
        let known = match &texts {
            Texts::Known(texts) => Some(texts.as_slice()),
            Texts::Missing(_) => None,
        };
        Self {
            explanation: Explanation::of(sentiment, known),
            texts,
            posted_at_ms: sentiment.event_time_ms,
            labelled_at_ms: sentiment.labelled_at_ms,
            source: None,
            nearby: Nearby::NotAsked,
        }
    }
}

/// The texts of a post.
#[derive(Debug, Clone, PartialEq)]
pub enum Texts {
    /// As they came.
    Known(Vec<TextPart>),
    /// Why they are not there.
    Missing(String),
}

/// Posts that are like one.
#[derive(Debug, Clone, PartialEq)]
pub enum Nearby {
    /// Nobody was asked.
    NotAsked,
    /// Why there are none.
    Missing(String),
    /// These.
    Found {
        /// By what they were compared, in words.
        by: &'static str,
        /// Nearest first.
        posts: Vec<Near>,
        /// Vectors that were compared.
        searched: u64,
        /// From when on no post is missing, milliseconds since 1970.
        reaches_back_to_ms: Option<i64>,
    },
}

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Near {
    /// Which.
    pub post_id: String,
    /// Cosine, -1 to 1.
    pub similarity: f32,
    /// Its label.
    pub label: Label,
    /// Whether that is certain.
    pub is_certain: bool,
    /// What it says.
    pub excerpt: Option<String>,
}
