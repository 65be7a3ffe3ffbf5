use bytes::Bytes;
use jtav_schemas::{Truncation, Whole};
use rdkafka::message::{BorrowedMessage, Message};

use crate::ffi::NativeHeaders;
use crate::fit::{HeaderRoom, Shares, header_bytes};

/// Bytes that a record takes beside key, value and headers when it is alone in its batch, at most: 61 of the batch, 36 of
/// the record.
pub const RECORD_FRAME_BYTES: u64 = 97;

/// A record as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// Timestamp, milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    pub key: Option<Bytes>,
    /// Value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in order, repeated names included. Names that are not UTF-8 are read with U+FFFD.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// What is missing above, where the record is larger than its reader keeps.
    pub cut: Option<Box<Truncation>>,
}

/// How much of a record is kept in memory when it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    /// Bytes of key, headers and value together.
    pub bytes: u64,
    /// Headers: an empty one takes two bytes on the wire and sixty here.
    pub headers: usize,
}

impl Keep {
    pub(crate) const ALL: Self = Self { bytes: u64::MAX, headers: usize::MAX };
}

impl Record {
    /// Bytes of key, value and headers that are kept.
    pub fn bytes(&self) -> usize {
        let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + of(value)).sum();
        of(&self.key) + of(&self.value) + headers
    }

    pub(crate) fn from_native(message: &BorrowedMessage<'_>, keep: Keep) -> Self {
        let headers = NativeHeaders::of(message);
        let (key, value) = (message.key(), message.payload());
        let shares = Shares::of(
            keep.bytes,
            key.map_or(0, <[u8]>::len) as u64,
            headers.as_ref().map_or(0, all_bytes),
            value.map_or(0, <[u8]>::len) as u64,
        );
        let mut cut = Truncation::default();
        let record = Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: key.map(|key| first(key, shares.key, &mut cut.key)),
            value: value.map(|value| first(value, shares.value, &mut cut.value)),
            headers: match headers {
                Some(headers) => last_of(&headers, shares.headers, keep.headers, &mut cut),
                None => Vec::new(),
            },
            cut: None,
        };
        let is_cut = cut.key.is_some() || cut.value.is_some() || cut.headers_left_out > 0;
        Self { cut: is_cut.then(|| Box::new(cut)), ..record }
    }
}

fn first(bytes: &[u8], most: u64, whole: &mut Option<Whole>) -> Bytes {
    let kept = bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX));
    if kept < bytes.len() {
        *whole = Some(Whole::of(bytes));
    }
    Bytes::copy_from_slice(&bytes[..kept])
}

fn all_bytes(headers: &NativeHeaders<'_>) -> u64 {
    let sizes = (0..headers.count()).filter_map(|index| headers.get(index));
    sizes.map(|(name, value)| header_bytes(name.count_bytes(), value.map(<[u8]>::len))).sum()
}

fn last_of(
    headers: &NativeHeaders<'_>,
    bytes: u64,
    count: usize,
    cut: &mut Truncation,
) -> Vec<(String, Option<Bytes>)> {
    let mut room = HeaderRoom::new(bytes, count);
    let mut kept = Vec::new();
    for (name, value) in (0..headers.count()).rev().filter_map(|index| headers.get(index)) {
        if room.takes(name.count_bytes(), value.map(<[u8]>::len)) {
            kept.push((name.to_string_lossy().into_owned(), value.map(Bytes::copy_from_slice)));
        }
    }
    kept.reverse();
    (cut.headers_left_out, cut.header_bytes_left_out) = (room.left_out, room.left_out_bytes);
    kept
}

/// A record to produce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboundRecord {
    pub topic: String,
    /// Partition; none lets the key decide, with the same hash as producers written in Java.
    pub partition: Option<i32>,
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

    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    /// Bytes of key, value and headers, with what a record costs at most beside them.
    pub fn size(&self) -> u64 {
        let headers: u64 =
            self.headers.iter().map(|(name, value)| header_bytes(name.len(), value.as_ref().map(Bytes::len))).sum();
        let body = self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len);
        body as u64 + headers + RECORD_FRAME_BYTES
    }
}
