//! The manifest of a checkpoint of image2song: everything about the towers that is not a weight.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::networks::TowerWidths;

/// Version of the folder's layout.
pub(super) const FORMAT: u32 = 1;
/// What the towers are for.
pub(super) const TASK: &str = "image2song";

/// How songs were divided into those of training and those of the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Songs of the test are never seen in training: the paper's †.
    Disjoint,
    /// All songs are on both sides and one picture of each is held out: the paper's §.
    Shared,
}

impl Protocol {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Disjoint, Self::Shared];

    /// `disjoint` or `shared`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disjoint => "disjoint",
            Self::Shared => "shared",
        }
    }
}

/// Whether a ranking was told from chance on the test, by what there was to rank by: the rule of the sentence "Above chance by the
/// interval of the MRR" of `jtav table retrieval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AboveChance {
    /// Pictures with their captions, songs with their lyrics: the table's row.
    pub with_captions: bool,
    /// Pictures alone, songs with their lyrics.
    pub pictures_alone: bool,
    /// Pictures alone, songs without lyrics.
    pub pictures_and_sounds_alone: bool,
}

/// `manifest.json`. Unknown fields are refused: a field that an older program does not know may matter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrievalManifest {
    /// Version of the layout, 1.
    pub format: u32,
    /// `image2song`.
    pub task: String,
    /// `model_version` of the checkpoint whose vectors the towers read.
    pub encoder: String,
    /// How songs were divided.
    pub protocol: Protocol,
    /// Sizes.
    pub widths: TowerWidths,
    /// Of the training.
    pub seed: u64,
    /// The step size that was best on validation.
    pub learning_rate: f64,
    /// The epoch whose weights these are, from 1.
    pub epoch: usize,
    /// Whether the 95 % interval of the mean reciprocal rank on the test lies above chance.
    pub above_chance: AboveChance,
    /// What whoever reads a ranking has to know, in plain sentences.
    pub note: String,
    /// Whatever the trainer measured.
    pub metrics: serde_json::Value,
    /// SHA-256 of the data that the weights come from, by name.
    pub data: BTreeMap<String, String>,
    /// SHA-256 of each other file in the folder, by name. Filled when the checkpoint is written.
    pub files: BTreeMap<String, String>,
}

impl RetrievalManifest {
    /// The format is looked at first: another one has other fields.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
            task: Option<String>,
        }
        let header: Header = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if header.task.as_deref() != Some(TASK) {
            return Err(format!("it is no checkpoint of {TASK}; jtav train --task {TASK} makes one"));
        }
        if header.format != FORMAT {
            return Err(format!("format {} is not {FORMAT}; use the version of jtav that wrote it", header.format));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        manifest.widths.check()?;
        Ok(manifest)
    }
}

/// What the training of towers says of them, for [`RetrievalCheckpoint::new`](super::RetrievalCheckpoint::new).
impl Default for RetrievalManifest {
    fn default() -> Self {
        Self {
            format: FORMAT,
            task: TASK.to_owned(),
            encoder: String::new(),
            protocol: Protocol::Disjoint,
            widths: TowerWidths { image: 1, caption: 0, lyrics: 0, audio: 1, hidden: 1, embedding: 1 },
            seed: 0,
            learning_rate: 0.0,
            epoch: 0,
            above_chance: AboveChance::default(),
            note: String::new(),
            metrics: serde_json::Value::Null,
            data: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }
}
