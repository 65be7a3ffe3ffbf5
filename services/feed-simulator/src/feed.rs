use bytes::Bytes;
use jtav_schemas::{MediaRef, PostV1, TextPart};

use crate::media_server::media_url;
use crate::pack::Pack;

/// Post of [`demo_feed`] whose image cannot be decoded; its text is labelled.
pub const BROKEN_IMAGE_ID: &str = "demo-broken-image";
/// Post of [`demo_feed`] whose image lies at [`FORBIDDEN_URL`]; its text is labelled.
pub const FORBIDDEN_ADDRESS_ID: &str = "demo-forbidden-address";
/// Key of the record of [`demo_feed`] that is not JSON; it is dead-lettered.
pub const NOT_JSON_KEY: &str = "demo-not-json";
/// Where clouds hand out credentials to whoever asks from inside: what an attacker would have us fetch.
pub const FORBIDDEN_URL: &str = "http://169.254.169.254/latest/meta-data";

/// A record to produce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRecord {
    /// The post id.
    pub key: Bytes,
    /// A `post.v1` document.
    pub value: Bytes,
    /// Headers in order.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Milliseconds since 1970; none lets the producer say now.
    pub timestamp_ms: Option<i64>,
}

impl FeedRecord {
    fn of_post(post: &PostV1) -> Self {
        // Texts, numbers and lists of them: JSON can hold every post.
        let value = serde_json::to_vec(post).expect("Invariant: a post is JSON");
        Self::new(post.id.clone(), value)
    }

    fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type".to_owned(), Some(Bytes::from_static(b"application/json")))];
        Self { key: key.into(), value: value.into(), headers, timestamp_ms: None }
    }

    /// The same content as another post, its id (and key) with `suffix` appended: playing a pack again must give new
    /// posts, for a repeated id is a redelivery, which changes nothing downstream.
    pub fn with_id_suffix(&self, suffix: &str) -> Self {
        let mut key = self.key.to_vec();
        key.extend_from_slice(suffix.as_bytes());
        let value = match serde_json::from_slice::<PostV1>(&self.value) {
            Ok(mut post) => {
                post.id.push_str(suffix);
                Self::of_post(&post).value
            }
            Err(_) => self.value.clone(),
        };
        Self { key: key.into(), value, ..self.clone() }
    }
}

/// The posts of a pack as records, in the order they were written (`created_at`, then the order of the file). Media
/// paths become addresses below `base_url`; labels, splits and groups stay behind.
pub fn feed(pack: &Pack, base_url: &str) -> Vec<FeedRecord> {
    // RFC 3339 in UTC sorts as text.
    let mut posts: Vec<_> = pack.posts().iter().collect();
    posts.sort_by(|a, b| a.created_at.cmp(&b.created_at));
    posts.iter().map(|post| FeedRecord::of_post(&post.to_post(|path| media_url(base_url, path)))).collect()
}

/// The feed of the demo: [`feed()`] with three records among it that go wrong, each at another quarter, so that one can
/// see what becomes of them: an image that is cut off, an address that must not be fetched, and a record that is not
/// JSON. `base_url` must be that of a [`crate::MediaServer`], which serves the broken image.
pub fn demo_feed(pack: &Pack, base_url: &str) -> Vec<FeedRecord> {
    let mut records = feed(pack, base_url);
    let specials = [
        special_post(
            BROKEN_IMAGE_ID,
            "What a wonderful evening by the lake, I love this place!",
            format!("{}/broken.jpg", base_url.trim_end_matches('/')),
        ),
        special_post(
            FORBIDDEN_ADDRESS_ID,
            "Terrible service, the worst purchase I have ever made.",
            FORBIDDEN_URL.to_owned(),
        ),
        FeedRecord::new(NOT_JSON_KEY, r#"{"id": "demo-not-json", "texts": [{"role": "body", "text": "cut o"#),
    ];
    let posts = records.len();
    for (index, special) in specials.into_iter().enumerate() {
        // Each earlier special has moved what follows by one.
        records.insert(posts * (index + 1) / 4 + index, special);
    }
    records
}

fn special_post(id: &str, text: &str, image_url: String) -> FeedRecord {
    let image = MediaRef { url: image_url, media_type: Some("image/jpeg".to_owned()), sha256: None, bytes: None };
    FeedRecord::of_post(&PostV1 {
        id: id.to_owned(),
        revision: 0,
        author_id: Some("demo".to_owned()),
        created_at: None,
        lang: Some("en".to_owned()),
        texts: vec![TextPart { role: "body".to_owned(), text: text.to_owned() }],
        audio: None,
        image: Some(image),
        deleted: false,
    })
}
