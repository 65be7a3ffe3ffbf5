//! The worker's part: records that it sets aside, with the very headers that it writes.

// Each test file uses its part of it.
#![allow(dead_code)]

use std::sync::Arc;

use bytes::Bytes;
use jtav_dead_letters::Letter;
use jtav_kafka::{OutboundRecord, Record};
use jtav_pipeline::{DeadLetterRequest, InboundRecord, Stage};
use jtav_publisher::{LetterParams, dead_letter_record};
use jtav_schemas::{DeadLetterReason, DeliveredFrom};

pub const INPUT: &str = "posts";
pub const DEAD: &str = "dead-letters";

/// A record of the input topic as the worker's ingest hands it on.
pub fn inbound(record: &Record) -> InboundRecord {
    InboundRecord {
        source: DeliveredFrom {
            topic: record.topic.clone(),
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
        },
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
        cut: record.cut.clone(),
    }
}

/// What the worker writes when it sets a record aside.
pub fn set_aside(record: InboundRecord, reason: DeadLetterReason, stage: Stage) -> OutboundRecord {
    set_aside_within(u64::MAX, record, reason, stage)
}

/// The same where the topic takes records of so many bytes.
pub fn set_aside_within(
    max_bytes: u64,
    record: InboundRecord,
    reason: DeadLetterReason,
    stage: Stage,
) -> OutboundRecord {
    let request = DeadLetterRequest {
        record: Arc::new(record),
        reason,
        stage,
        message: "line 1, column 2: expected value".to_owned(),
        attempts: 2,
        modalities: None,
    };
    let params = LetterParams { topic: DEAD, max_bytes, model_version: "jtav-modern@1", pipeline_version: "0.1.0" };
    dead_letter_record(&request, 1_700_000_000_000, params)
}

/// As a record lies on its topic.
pub fn stored(record: OutboundRecord, partition: i32, offset: i64) -> Record {
    Record {
        topic: record.topic,
        partition,
        offset,
        timestamp_ms: Some(1_700_000_000_500),
        key: record.key,
        value: record.value,
        headers: record.headers,
        cut: None,
    }
}

pub fn post(id: &str) -> Record {
    let record = OutboundRecord::keyed(INPUT, id.to_owned(), format!(r#"{{"id":"{id}","texts":[]}}"#));
    stored(record.header("trace", "abc"), 1, 40)
}

pub fn letter_of(record: &Record, reason: DeadLetterReason) -> Letter {
    Letter::read(&stored(set_aside(inbound(record), reason, Stage::Router), 0, 7)).unwrap()
}

pub fn header(record: &OutboundRecord, name: &str) -> Option<Bytes> {
    record.headers.iter().rev().find(|(found, _)| found == name)?.1.clone()
}
