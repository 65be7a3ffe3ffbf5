use std::time::Duration;

use anyhow::Context as _;
use jtav_kafka::{ClientSettings, PartitionRange, Record, TopicScan, partition_ranges};

use crate::letter::{Letter, LetterError, Position};

/// The dead-letter topic, and how to reach it.
#[derive(Debug, Clone)]
pub struct DeadLetterTopic {
    pub client: ClientSettings,
    pub name: String,
    /// Longest wait for any one answer.
    pub patience: Duration,
}

/// A record of the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scanned {
    Letter(Box<Letter>),
    /// Something else: nobody but the worker should write here.
    Unreadable {
        /// It, untouched.
        record: Box<Record>,
        /// Why it is none.
        error: LetterError,
    },
}

impl Scanned {
    pub(crate) fn of(record: Record) -> Self {
        match Letter::read(&record) {
            Ok(letter) => Self::Letter(Box::new(letter)),
            Err(error) => Self::Unreadable { record: Box::new(record), error },
        }
    }

    /// Where it lies.
    pub fn position(&self) -> Position {
        match self {
            Self::Letter(letter) => letter.position,
            Self::Unreadable { record, .. } => Position { partition: record.partition, offset: record.offset },
        }
    }
}

impl DeadLetterTopic {
    /// What lies on it now, from `since_ms` (milliseconds since 1970) or from the beginning. Blocks.
    ///
    /// # Errors
    /// Brokers that do not answer, a topic that does not exist.
    pub fn ranges(&self, since_ms: Option<i64>) -> anyhow::Result<Vec<PartitionRange>> {
        partition_ranges(&self.client, &self.name, since_ms, self.patience)
            .with_context(|| format!("dead-letter topic `{}` at {}", self.name, self.client.brokers))
    }

    /// Gives every record of the ranges to `each`, in order, one at a time, until it answers with false. Blocks.
    ///
    /// # Errors
    /// Brokers that do not answer, and those of `each`.
    pub fn walk(
        &self,
        ranges: &[PartitionRange],
        mut each: impl FnMut(Scanned) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut scan = TopicScan::new(&self.client, &self.name, ranges, self.patience)?;
        while let Some(record) = scan.next_record().with_context(|| format!("dead-letter topic `{}`", self.name))? {
            if !each(Scanned::of(record))? {
                break;
            }
        }
        Ok(())
    }
}
