//! The texts and addresses of a post. They stand in no label and are copied nowhere: they are read from the input topic, at
//! the record that the label came from, when somebody asks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jtav_kafka::{ClientSettings, KafkaError, Record, RecordReader};
use jtav_pipeline::{PostEvent, ReadRules, read_post};
use jtav_schemas::{PostV1, TextPart};
use jtav_store::Source;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Semaphore;

/// Clients that read at once; each is a thread and a connection while it does.
const READERS: usize = 4;
/// Longest wait for one answer of the broker.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What a post says, or why that cannot be had.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Content {
    /// The post as it came.
    Available {
        /// Its texts.
        texts: Vec<TextPart>,
        /// Address of its picture, as the author gave it. Show it to nobody's browser: `picture.png` is safe to show.
        #[serde(skip_serializing_if = "Option::is_none")]
        image_url: Option<String>,
        /// Address of its clip, as the author gave it.
        #[serde(skip_serializing_if = "Option::is_none")]
        audio_url: Option<String>,
    },
    /// It cannot be had.
    Unavailable {
        /// Why, for programs.
        reason: ContentMissing,
        /// Why, for people.
        detail: String,
    },
}

/// Why a post's content cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContentMissing {
    /// The input topic no longer holds the record.
    PastRetention,
    /// The place holds another record: the topic was made anew.
    Replaced,
    /// The broker does not answer.
    InputTopicUnreachable,
}

impl Content {
    fn unavailable(reason: ContentMissing, detail: impl Into<String>) -> Self {
        Content::Unavailable { reason, detail: detail.into() }
    }
}

impl From<&PostV1> for Content {
    fn from(post: &PostV1) -> Self {
        Content::Available {
            texts: post.texts.clone(),
            image_url: post.image.as_ref().map(|image| image.url.clone()),
            audio_url: post.audio.as_ref().map(|audio| audio.url.clone()),
        }
    }
}

/// Reads posts from the input topic.
#[derive(Clone)]
pub struct ContentReader {
    shared: Arc<Shared>,
}

struct Shared {
    client: ClientSettings,
    topic: String,
    max_record_bytes: usize,
    turns: Semaphore,
    idle: Mutex<Vec<RecordReader>>,
}

impl ContentReader {
    /// Of an input topic; no connection is opened yet.
    pub fn new(client: ClientSettings, topic: &str, max_record_bytes: usize) -> Self {
        let (topic, turns) = (topic.to_owned(), Semaphore::new(READERS));
        Self { shared: Arc::new(Shared { client, topic, max_record_bytes, turns, idle: Mutex::default() }) }
    }

    /// The post that a label came from, or why it cannot be had. Waits for its turn; dropped, it gives up the answer.
    pub async fn post(&self, post_id: &str, source: Source) -> Result<Arc<PostV1>, Content> {
        let Ok(_turn) = self.shared.turns.acquire().await else {
            return Err(Content::unavailable(ContentMissing::InputTopicUnreachable, "the server is ending"));
        };
        let (shared, post_id) = (Arc::clone(&self.shared), post_id.to_owned());
        let read = tokio::task::spawn_blocking(move || match shared.read(source) {
            Ok(record) => shared.post(&post_id, source, record),
            Err(error) => Err(Content::unavailable(ContentMissing::InputTopicUnreachable, error.to_string())),
        });
        read.await
            .unwrap_or_else(|error| Err(Content::unavailable(ContentMissing::InputTopicUnreachable, error.to_string())))
    }
}

impl Shared {
    fn read(&self, source: Source) -> Result<Option<Record>, KafkaError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let reader = match idle {
            Some(reader) => reader,
            // Twice as much as a post may have: a deletion may be longer, and more is no post.
            None => RecordReader::new(&self.client, &self.topic, self.max_record_bytes as u64 * 2)?,
        };
        let record = reader.read(source.partition, source.offset, TIMEOUT)?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        Ok(record)
    }

    fn post(&self, post_id: &str, source: Source, record: Option<Record>) -> Result<Arc<PostV1>, Content> {
        let Some(record) = record else {
            let detail = format!("the input topic no longer holds record {source}: its retention is over");
            return Err(Content::unavailable(ContentMissing::PastRetention, detail));
        };
        let value = record.value.unwrap_or_default();
        match read_post(&value, &ReadRules::feed(self.max_record_bytes)) {
            Ok(PostEvent::Upsert(post)) if post.id == post_id => Ok(post),
            _ => {
                let detail = format!("record {source} of the input topic is another post's: the topic was made anew");
                Err(Content::unavailable(ContentMissing::Replaced, detail))
            }
        }
    }
}
