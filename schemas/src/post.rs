use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reading::{null_is_default, objects, optional_object};

/// Text parts of a post that are read; of more, this many and one are kept, so that it is known that there were more.
pub const MAX_TEXT_PARTS: usize = 64;

/// One text of a post.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TextPart {
    /// What the text is to the post: `caption`, `body`, `lyrics`, … Free, and kept as it came.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schemars(!default)]
    pub role: String,
    /// The words, any script. Of all texts of a post together the worker reads its `router.max_text_chars`.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schemars(!default)]
    pub text: String,
}

/// Where a medium is and what the post claims about it. Claims are checked, never trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MediaRef {
    /// `http` or `https` address.
    pub url: String,
    /// Declared media type, for example `image/jpeg`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Declared SHA-256 of the bytes, 64 hexadecimal digits; a different one is `hash_mismatch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Declared size in bytes; a claim on which nothing depends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// `post.v1`: the input record. The Kafka key is the post id; a null value, or `deleted`, erases the post. How a worker
/// reads what is not quite this stands in `schemas/reading-posts.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "post.v1")]
pub struct PostV1 {
    /// Identity of the post and key of its record; 1 to 256 characters, the first of them not `}`.
    #[schemars(length(min = 1, max = 256), regex(pattern = "^[^}]"))]
    pub id: String,
    /// Rises with every edit; of two revisions the higher one wins whatever the order of arrival.
    #[serde(default, deserialize_with = "null_is_default")]
    pub revision: u64,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_id: Option<String>,
    /// When it was written, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// BCP 47 language tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    /// Its texts, possibly none; the first 64 are read.
    #[serde(default, deserialize_with = "objects::<MAX_TEXT_PARTS, _, _>")]
    pub texts: Vec<TextPart>,
    /// Its audio clip, if any.
    #[serde(default, deserialize_with = "optional_object")]
    pub audio: Option<MediaRef>,
    /// Its image, if any.
    #[serde(default, deserialize_with = "optional_object")]
    pub image: Option<MediaRef>,
    /// Tombstone: erase this post everywhere, for every model, for good.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// A file of a data pack, with the same claims as a [`MediaRef`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetMedia {
    /// Path relative to the JSONL file.
    pub path: String,
    /// Media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// SHA-256 of the bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What people said of a post.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetLabels {
    /// 0 negative, 1 positive.
    #[serde(default)]
    pub sentiment: Option<u8>,
    /// Mood quadrant `Q1` to `Q4` of the music, null otherwise.
    #[serde(default)]
    pub mood: Option<String>,
    /// Further labels of other packs.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// Groups of posts that share a source; for grouped evaluation only, never a model's input.
pub type DatasetGroups = BTreeMap<String, Option<String>>;

/// `dataset-post.v1`: a post of a data pack: paths in place of URLs, and labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "dataset-post.v1")]
pub struct DatasetPostV1 {
    /// Identity of the post.
    pub id: String,
    /// As in `post.v1`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub revision: u64,
    /// As in `post.v1`.
    #[serde(default)]
    pub author_id: Option<String>,
    /// As in `post.v1`.
    #[serde(default)]
    pub created_at: Option<String>,
    /// As in `post.v1`.
    #[serde(default)]
    pub lang: Option<String>,
    /// As in `post.v1`.
    #[serde(default, deserialize_with = "objects::<MAX_TEXT_PARTS, _, _>")]
    pub texts: Vec<TextPart>,
    /// Its audio file, if any.
    #[serde(default, deserialize_with = "optional_object")]
    pub audio: Option<DatasetMedia>,
    /// Its image file, if any.
    #[serde(default, deserialize_with = "optional_object")]
    pub image: Option<DatasetMedia>,
    /// The truth, for training and evaluation only.
    #[serde(default)]
    pub labels: DatasetLabels,
    /// `train`, `validation` or `test`.
    #[serde(default)]
    pub split: Option<String>,
    /// Sources that must not be split.
    #[serde(default)]
    pub groups: DatasetGroups,
}

impl DatasetPostV1 {
    /// The post as a feed would carry it: `url_of` turns a media path into an address; labels stay behind.
    pub fn to_post(&self, url_of: impl Fn(&str) -> String) -> PostV1 {
        let media = |file: &DatasetMedia| MediaRef {
            url: url_of(&file.path),
            media_type: file.media_type.clone(),
            sha256: file.sha256.clone(),
            bytes: file.bytes,
        };
        PostV1 {
            id: self.id.clone(),
            revision: self.revision,
            author_id: self.author_id.clone(),
            created_at: self.created_at.clone(),
            lang: self.lang.clone(),
            texts: self.texts.clone(),
            audio: self.audio.as_ref().map(media),
            image: self.image.as_ref().map(media),
            deleted: false,
        }
    }
}
