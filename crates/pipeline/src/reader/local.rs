//! Posts whose media may lie in files: `post.v1`, with a `path` where `dataset-post.v1` has one.

use jtav_schemas::reading::{null_is_default, objects, optional_object};
use jtav_schemas::{MAX_TEXT_PARTS, MediaRef, PostV1, TextPart};
use serde::Deserialize;

/// The fields of a [`PostV1`]; labels and other fields of data packs are passed over.
#[derive(Deserialize)]
pub(super) struct LocalPost {
    id: String,
    #[serde(default, deserialize_with = "null_is_default")]
    revision: u64,
    #[serde(default)]
    author_id: Option<String>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    lang: Option<String>,
    #[serde(default, deserialize_with = "objects::<MAX_TEXT_PARTS, _, _>")]
    texts: Vec<TextPart>,
    #[serde(default, deserialize_with = "optional_object")]
    audio: Option<LocalMedium>,
    #[serde(default, deserialize_with = "optional_object")]
    image: Option<LocalMedium>,
    #[serde(default, deserialize_with = "null_is_default")]
    deleted: bool,
}

#[derive(Deserialize)]
struct LocalMedium {
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    sha256: Option<String>,
    #[serde(default)]
    bytes: Option<u64>,
}

impl LocalPost {
    pub fn into_post(self, url_of: &dyn Fn(&str) -> String) -> Result<PostV1, &'static str> {
        let media = |medium: Option<LocalMedium>| medium.map(|medium| medium.into_media(url_of)).transpose();
        Ok(PostV1 {
            id: self.id,
            revision: self.revision,
            author_id: self.author_id,
            created_at: self.created_at,
            lang: self.lang,
            texts: self.texts,
            audio: media(self.audio)?,
            image: media(self.image)?,
            deleted: self.deleted,
        })
    }
}

impl LocalMedium {
    fn into_media(self, url_of: &dyn Fn(&str) -> String) -> Result<MediaRef, &'static str> {
        let url = match (self.path, self.url) {
            (Some(path), _) => url_of(&path),
            (None, Some(url)) => url,
            (None, None) => return Err("missing field `url` or `path`"),
        };
        Ok(MediaRef { url, media_type: self.media_type, sha256: self.sha256, bytes: self.bytes })
    }
}
