//! What a pack is made of: labelled posts, their media, and rated texts without a post.

use std::path::PathBuf;
use std::sync::Arc;

use jtav_schemas::TextPart;
use serde::{Deserialize, Serialize};

/// Names of the mood quadrants; a mood is an index into this list.
pub const MOODS: [&str; 4] = ["Q1", "Q2", "Q3", "Q4"];

/// The part of a pack that a post belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Weights are fitted here.
    Train,
    /// Epochs, temperatures and thresholds are chosen here.
    Validation,
    /// Looked at once, at the end.
    Test,
}

impl Split {
    /// All three, in that order.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// As written in a pack.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|split| split.name() == name)
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A media file of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaFile {
    /// Absolute, or relative to the working folder, as the pack's own path was.
    pub path: PathBuf,
    /// SHA-256 that the pack declares, in lower-case hexadecimal; checked when the file is read.
    pub sha256: Option<String>,
    /// Media type that the pack declares.
    pub media_type: Option<String>,
    /// Theme of a picture, song or speaker of a clip: what it must stay together with when files are dealt to folds; none
    /// where the pack does not say.
    pub group: Option<String>,
    /// A clip of speech, as the pack has it; all others are taken for music.
    pub is_speech: bool,
}

impl MediaFile {
    /// The group, and where there is none the file itself.
    pub fn group(&self) -> String {
        self.group.clone().unwrap_or_else(|| self.path.to_string_lossy().into_owned())
    }
}

/// A labelled post.
#[derive(Debug, Clone)]
pub struct Post {
    pub id: String,
    /// Line of the pack's file of posts, from 1.
    pub line: usize,
    /// Its texts, in declared order.
    pub texts: Vec<TextPart>,
    pub audio: Option<Arc<MediaFile>>,
    pub image: Option<Arc<MediaFile>>,
    pub positive: bool,
    /// Index into [`MOODS`], where the audio has one.
    pub mood: Option<usize>,
    pub split: Split,
}

/// A labelled post whose split may not be known yet.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub id: String,
    pub line: usize,
    pub texts: Vec<TextPart>,
    pub audio: Option<Arc<MediaFile>>,
    pub image: Option<Arc<MediaFile>>,
    pub positive: bool,
    pub mood: Option<usize>,
    pub split: Option<Split>,
    /// What it must stay together with, for example its song.
    pub group: Option<String>,
}

impl Candidate {
    pub fn in_split(self, split: Split) -> Post {
        let Self { id, line, texts, audio, image, positive, mood, .. } = self;
        Post { id, line, texts, audio, image, positive, mood, split }
    }
}

/// A rated text without a post. It belongs to the training side.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ExtraText {
    /// Identity in its source.
    pub id: String,
    /// `caption`, `body`, …
    pub role: String,
    pub text: String,
    /// 0 negative, 1 positive.
    pub sentiment: u8,
}
