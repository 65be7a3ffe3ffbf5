//! What a reader of the stream missed, read again from the sentiment topic.

use std::sync::Arc;
use std::time::Duration;

use jtav_kafka::{ClientSettings, KafkaError, PartitionRange, TopicScan, watermarks};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::follow::Event;
use crate::positions::Positions;

/// Readers that catch up at once, each with a thread and a connection.
const AT_ONCE: usize = 8;
/// Longest wait of a reader for its turn.
const TURN: Duration = Duration::from_secs(20);
/// Longest wait for a record.
const PATIENCE: Duration = Duration::from_secs(5);
/// Records that wait for the reader.
const AHEAD: usize = 256;

/// Turns of those that catch up.
pub(crate) fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_ONCE))
}

/// The topic that is read.
#[derive(Clone)]
pub(crate) struct SentimentTopic {
    pub(crate) client: ClientSettings,
    pub(crate) name: String,
}

/// One step of catching up.
#[derive(Debug)]
pub(crate) enum Missed {
    /// A record; an event unless it is foreign.
    Record { partition: i32, offset: i64, event: Option<Arc<Event>> },
    /// Records that the topic no longer holds.
    Gap { partition: i32, from: i64, to: i64 },
    /// The rest cannot be read.
    Failed(KafkaError),
}

/// A walk over what was missed.
pub(crate) struct CatchUp {
    steps: mpsc::Receiver<Missed>,
}

impl CatchUp {
    /// Starts reading what lies between two positions; none where no turn came in time.
    pub(crate) async fn start(
        turns: &Arc<Semaphore>,
        topic: &SentimentTopic,
        from: &Positions,
        until: &Positions,
    ) -> Option<Self> {
        let turn = tokio::time::timeout(TURN, Arc::clone(turns).acquire_owned()).await.ok()?.ok()?;
        let (sender, steps) = mpsc::channel(AHEAD);
        let (topic, from, until) = (topic.clone(), from.clone(), until.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = read(&topic, &from, &until, &sender, turn) {
                let _ = sender.blocking_send(Missed::Failed(error));
            }
        });
        Some(Self { steps })
    }

    /// The next step; none after the last.
    pub(crate) async fn next(&mut self) -> Option<Missed> {
        self.steps.recv().await
    }
}

/// Ends early when nobody listens any more.
fn read(
    topic: &SentimentTopic,
    from: &Positions,
    until: &Positions,
    sender: &mpsc::Sender<Missed>,
    _turn: OwnedSemaphorePermit,
) -> Result<(), KafkaError> {
    let marks = watermarks(&topic.client, &topic.name, PATIENCE)?;
    let mut ranges = Vec::new();
    for (partition, end) in &until.0 {
        let low = marks.get(partition).map_or(0, |marks| marks.0).min(*end);
        let start = from.next(*partition);
        if start < low {
            let gap = Missed::Gap { partition: *partition, from: start, to: low };
            if sender.blocking_send(gap).is_err() {
                return Ok(());
            }
        }
        ranges.push(PartitionRange { partition: *partition, start: start.max(low), end: *end });
    }
    let mut scan = TopicScan::new(&topic.client, &topic.name, &ranges, PATIENCE)?;
    while let Some(record) = scan.next_record()? {
        let (partition, offset) = (record.partition, record.offset);
        let event = Event::read(&record).map(Arc::new);
        if sender.blocking_send(Missed::Record { partition, offset, event }).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
