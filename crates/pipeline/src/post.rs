use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use jtav_delivery::{DeliveryGuard, PostPermit};
use jtav_schemas::{DeadLetterReason, DeliveredFrom, PostV1, Stage, Truncation};

/// A record of the input topic as it came.
#[derive(Debug, Clone, Default)]
pub struct InboundRecord {
    /// Where it came from.
    pub source: DeliveredFrom,
    pub key: Option<Bytes>,
    /// Kafka value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Kafka headers, in order, repeated names included.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// What is missing above, where the record is larger than is kept of one.
    pub cut: Option<Box<Truncation>>,
}

impl InboundRecord {
    /// Bytes of the value, those that were not kept included.
    pub fn value_bytes(&self) -> u64 {
        let whole = self.cut.as_ref().and_then(|cut| cut.value.as_ref());
        whole.map_or(self.value.as_ref().map_or(0, Bytes::len) as u64, |whole| whole.bytes)
    }
}

/// Position of a record in the input log; the tie-break between equal revisions of a post, whose records share a
/// partition because the key is the post id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePosition {
    pub partition: i32,
    pub offset: i64,
}

/// What a readable record asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum PostEvent {
    /// Label this revision.
    Upsert(Arc<PostV1>),
    /// Erase the post.
    Tombstone {
        post_id: String,
        /// Revision of the tombstone; 0 for a null value.
        revision: u64,
    },
}

impl PostEvent {
    pub fn post_id(&self) -> &str {
        match self {
            PostEvent::Upsert(post) => &post.id,
            PostEvent::Tombstone { post_id, .. } => post_id,
        }
    }
}

/// Why a record is no post.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection {
    pub reason: DeadLetterReason,
    /// One line for a person: what, where in the value, what was expected.
    pub message: String,
}

/// How a record is to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Run {
    /// As all others.
    #[default]
    Ordinary,
    /// It ran into its deadline before: it gets less time now, and what comes of it is judged.
    Trial,
    /// Not at all: it hung by its own content. The event is the rejection that says so.
    SetAside {
        /// Where it hung.
        stage: Stage,
        /// Deadlines that it ran into.
        deadlines: u32,
    },
    /// For somebody who asks, outside of any feed: what becomes of it is told to them, and not counted among the feed's posts.
    Asked,
}

/// A record that was let in: what it says, and the responsibility for it.
#[derive(Debug)]
pub struct Admitted {
    /// The record as it came.
    pub record: Arc<InboundRecord>,
    /// What it asks for, or why it cannot be read.
    pub event: Result<PostEvent, Rejection>,
    /// How it is to be run.
    pub run: Run,
    /// Settles the offset.
    pub guard: DeliveryGuard,
    /// Leave to be inside.
    pub permit: PostPermit,
    /// When the worker received it.
    pub received_at: Instant,
    /// The same, milliseconds since 1970.
    pub received_at_ms: i64,
}

impl InboundRecord {
    /// Bytes of key, value and headers.
    pub fn bytes(&self) -> usize {
        let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + of(value)).sum();
        of(&self.key) + of(&self.value) + headers
    }

    /// Position in the log.
    pub fn position(&self) -> SourcePosition {
        SourcePosition { partition: self.source.partition, offset: self.source.offset }
    }
}
