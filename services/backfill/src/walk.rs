//! Reads ranges of the topic from end to end on a thread of its own, because the client blocks.

use jtav_ingest::{inbound, parse_record};
use jtav_kafka::{PartitionRange, Record, TopicScan};
use jtav_pipeline::{PostEvent, Rejection};
use tokio::sync::mpsc;

use crate::plan::InputTopic;

/// Events that are read ahead; a post's id is the largest part of one.
const READ_AHEAD: usize = 1_024;

/// What a record asks for, without its content.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    Post(String),
    Tombstone { post_id: String, revision: u64 },
    Rejected(Rejection),
}

/// Ends when all is read, or when the receiver is dropped.
pub(crate) fn walk(
    topic: &InputTopic,
    ranges: Vec<PartitionRange>,
    max_record_bytes: usize,
) -> mpsc::Receiver<anyhow::Result<Event>> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let topic = topic.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read(&topic, &ranges, max_record_bytes, &sender) {
            // Nobody is left to tell if this fails.
            let _ = sender.blocking_send(Err(error));
        }
    });
    receiver
}

fn read(
    topic: &InputTopic,
    ranges: &[PartitionRange],
    max_record_bytes: usize,
    sender: &mpsc::Sender<anyhow::Result<Event>>,
) -> anyhow::Result<()> {
    let mut scan = TopicScan::new(&topic.client, &topic.name, ranges, topic.patience)?;
    while let Some(record) = scan.next_record()? {
        if sender.blocking_send(Ok(event(record, max_record_bytes))).is_err() {
            break;
        }
    }
    Ok(())
}

/// As the worker reads it.
fn event(record: Record, max_record_bytes: usize) -> Event {
    match parse_record(&inbound(record), max_record_bytes) {
        Ok(PostEvent::Upsert(post)) => Event::Post(post.id.clone()),
        Ok(PostEvent::Tombstone { post_id, revision }) => Event::Tombstone { post_id, revision },
        Err(rejection) => Event::Rejected(rejection),
    }
}
