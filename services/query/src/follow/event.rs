//! What the stream tells of: one label or one erasure, with the bytes in which it is told.

use bytes::Bytes;
use jtav_kafka::Record;
use jtav_schemas::{Label, SentimentV1};
use serde::Serialize;

use crate::filter::{Facets, Filter};

/// One record of the sentiment topic.
#[derive(Debug, Clone)]
pub struct Event {
    /// Where it stands.
    pub partition: i32,
    /// Where it stands.
    pub offset: i64,
    /// The post.
    pub post_id: String,
    /// A label's filters look at these; an erasure has none.
    pub facets: Option<Facets>,
    /// JSON in one line.
    pub data: Bytes,
    /// Its post was erased since, and nobody wants it any more; nothing of it is left but its place.
    pub is_taken_back: bool,
}

/// `data` of a label.
#[derive(Serialize)]
struct LabelData<'a> {
    partition: i32,
    offset: i64,
    sentiment: &'a SentimentV1,
}

/// `data` of an erasure.
#[derive(Serialize)]
struct ErasureData<'a> {
    partition: i32,
    offset: i64,
    post_id: &'a str,
}

impl Event {
    /// Of a record: a label, or the null value that says that the post is erased. None of what is neither.
    pub fn read(record: &Record) -> Option<Event> {
        if record.cut.is_some() {
            return None;
        }
        let (partition, offset) = (record.partition, record.offset);
        let Some(value) = &record.value else {
            let post_id = String::from_utf8(record.key.as_ref()?.to_vec()).ok()?;
            let data = serde_json::to_vec(&ErasureData { partition, offset, post_id: &post_id }).ok()?;
            return Some(Event { partition, offset, post_id, facets: None, data: data.into(), is_taken_back: false });
        };
        let sentiment: SentimentV1 = serde_json::from_slice(value).ok()?;
        // Written anew: the record may have line breaks, which would end the event.
        let data = serde_json::to_vec(&LabelData { partition, offset, sentiment: &sentiment }).ok()?;
        let facets = Some(Facets::of(&sentiment));
        Some(Event { partition, offset, post_id: sentiment.post_id, facets, data: data.into(), is_taken_back: false })
    }

    /// `label` or `erasure`.
    pub fn name(&self) -> &'static str {
        if self.facets.is_some() { "label" } else { "erasure" }
    }

    /// The label, of one that is none other.
    pub fn label(&self) -> Option<Label> {
        self.facets.as_ref().map(Facets::label)
    }

    /// Its place, without anything of it.
    pub fn taken_back(&self) -> Event {
        let (partition, offset) = (self.partition, self.offset);
        Event { partition, offset, post_id: String::new(), facets: None, data: Bytes::new(), is_taken_back: true }
    }

    /// Whether a reader wants it: erasures always, since the post may have been shown.
    pub fn is_wanted(&self, filter: &Filter) -> bool {
        !self.is_taken_back && self.facets.as_ref().is_none_or(|facets| filter.wants(facets))
    }
}
