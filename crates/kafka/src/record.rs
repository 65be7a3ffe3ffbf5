use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Headers, Message};

/// A record as it was read, untouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Timestamp, milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// Key.
    pub key: Option<Bytes>,
    /// Value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in order, repeated names included.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl Record {
    pub(crate) fn from_native(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.map(Bytes::copy_from_slice))).collect()
        });
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key().map(Bytes::copy_from_slice),
            value: message.payload().map(Bytes::copy_from_slice),
            headers,
        }
    }
}

/// A record to produce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboundRecord {
    /// Topic.
    pub topic: String,
    /// Partition; none lets the key decide, with the same hash as producers written in Java.
    pub partition: Option<i32>,
    /// Key.
    pub key: Option<Bytes>,
    /// Value; none writes a tombstone.
    pub value: Option<Bytes>,
    /// Headers in order.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Timestamp, milliseconds since 1970; none means now.
    pub timestamp_ms: Option<i64>,
}

impl OutboundRecord {
    /// A record with key and value.
    pub fn keyed(topic: impl Into<String>, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), key: Some(key.into()), value: Some(value.into()), ..Self::default() }
    }

    /// A null value for the key.
    pub fn tombstone(topic: impl Into<String>, key: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), key: Some(key.into()), ..Self::default() }
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    /// Bytes of key, value and headers, with the 70 bytes that a record costs at most beside them.
    pub(crate) fn size(&self) -> u64 {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len) + 10).sum();
        let body = self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len);
        (body + headers + 70) as u64
    }
}
