//! Dead letters back to the input topic, one after the other: each is acknowledged before the next is sent, so a stop
//! or a failure at any point leaves an account that is exact.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use jtav_kafka::{Fault, KafkaError, PartitionRange, Producer, read_one};
use jtav_store::Store;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::chains::Chains;
use crate::decide::{Refusal, ReplayRules, decide};
use crate::letter::{Letter, Position};
use crate::select::Selection;
use crate::topic::{DeadLetterTopic, Scanned};

/// Records that are read ahead; with the largest size of a record this bounds the memory.
const READ_AHEAD: usize = 16;
/// Chains of replays that are kept in memory, about 16 MiB.
const MAX_CHAINS: usize = 1_000_000;

/// What to replay, and how.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ReplayOptions {
    /// Which.
    #[command(flatten)]
    pub selection: Selection,
    /// Send nothing; say what would be sent and what refused.
    #[arg(long)]
    pub dry_run: bool,
    /// Records a second at most [default: as fast as they are acknowledged].
    #[arg(long = "rate", value_name = "N", value_parser = rate)]
    pub rate_per_second: Option<f64>,
    /// A record that was replayed so often is refused.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub max_replays: u32,
    /// Send records set aside as key_mismatch under the id in their value, for whoever produced them without it.
    #[arg(long)]
    pub rekey: bool,
    /// Leave out what lies before this position: where an earlier run stopped.
    #[arg(long, value_name = "PARTITION:OFFSET")]
    pub from: Option<Position>,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| format!("`{text}` is no rate: expected records a second, more than 0"))
}

/// What was done with the letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReplayAccount {
    /// Nothing was sent: the figures say what would be.
    pub dry_run: bool,
    /// Records that are settled below; the sum of the other counts.
    pub read: u64,
    /// Records on the topic in the range of the run; gaps count.
    pub total: u64,
    /// Acknowledged on the input topic.
    pub replayed: u64,
    /// Letters that are not meant.
    pub not_selected: u64,
    /// Letters that may not be replayed, by the name of the refusal.
    pub refused: BTreeMap<&'static str, u64>,
    /// Records that are no dead letters.
    pub unreadable: u64,
    /// The last record that is settled.
    pub last: Option<Position>,
}

/// How a replay ended.
#[derive(Debug)]
pub enum ReplayEnd {
    /// All letters are settled.
    Complete,
    /// It was asked to stop; `next` is where to go on, if a letter was left.
    Stopped {
        /// The first letter that is not settled, as far as it was read.
        next: Option<Position>,
    },
    /// It could not go on.
    Failed {
        /// Where to go on. The record of this letter may have been delivered nonetheless if sending it failed.
        next: Option<Position>,
        error: anyhow::Error,
    },
}

/// What a replay works with.
pub struct Replay<'a> {
    /// Where letters come from.
    pub topic: &'a DeadLetterTopic,
    /// Takes records there.
    pub producer: &'a Producer,
    /// Where records go.
    pub input_topic: &'a str,
    /// Knows the erased posts.
    pub store: &'a dyn Store,
}

/// Replays the letters that lie on the topic at the time of the call, until `stop` resolves. `progress` is told after
/// each record. Needs a tokio runtime. Dropping the future loses the account, and the record that is on its way may
/// still arrive.
pub async fn replay(
    with: &Replay<'_>,
    options: &ReplayOptions,
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(&ReplayAccount),
) -> (ReplayAccount, ReplayEnd) {
    let mut account = ReplayAccount { dry_run: options.dry_run, ..ReplayAccount::default() };
    let mut stop = pin!(stop);
    let prepared = tokio::select! {
        biased;
        () = &mut stop => return (account, ReplayEnd::Stopped { next: options.from }),
        prepared = prepare(with.topic.clone(), options.clone()) => prepared,
    };
    let (ranges, chains) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return (account, ReplayEnd::Failed { next: options.from, error }),
    };
    account.total = ranges.iter().map(PartitionRange::len).sum();
    let rules = ReplayRules {
        input_topic: with.input_topic.to_owned(),
        max_replays: options.max_replays,
        rekey: options.rekey,
    };
    let run = Run { with, options, rules, chains, pace: Pace::new(options) };
    let end = run.all(ranges, stop, &mut account, &mut progress).await;
    (account, end)
}

/// The ranges of the run and, from a first walk over the headers, the latest round of each chain.
async fn prepare(topic: DeadLetterTopic, options: ReplayOptions) -> anyhow::Result<(Vec<PartitionRange>, Chains)> {
    let read = move || {
        let mut ranges = topic.ranges(options.selection.since_ms)?;
        let mut chains = Chains::new(MAX_CHAINS);
        // All partitions, whatever the selection: a later letter may have another reason and another key.
        topic.walk(&ranges, |scanned| {
            if let Scanned::Letter(letter) = scanned {
                chains.note(&letter)?;
            }
            Ok(true)
        })?;
        if let Some(from) = options.from {
            leave_out_before(from, &mut ranges);
        }
        Ok((ranges, chains))
    };
    tokio::task::spawn_blocking(read).await.context("the reader's thread")?
}

fn leave_out_before(from: Position, ranges: &mut Vec<PartitionRange>) {
    ranges.retain_mut(|range| {
        if range.partition == from.partition {
            range.start = range.start.max(from.offset).min(range.end);
        }
        range.partition >= from.partition
    });
}

/// Reads on a thread of its own, because the client blocks. Ends when the receiver is dropped.
fn read_ahead(topic: DeadLetterTopic, ranges: Vec<PartitionRange>) -> mpsc::Receiver<anyhow::Result<Scanned>> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    tokio::task::spawn_blocking(move || {
        let walked = topic.walk(&ranges, |scanned| Ok(sender.blocking_send(Ok(scanned)).is_ok()));
        if let Err(error) = walked {
            // Nobody is left to tell if this fails.
            let _ = sender.blocking_send(Err(error));
        }
    });
    receiver
}

/// When the next record may be sent.
struct Pace {
    gap: Duration,
    next: Instant,
}

impl Pace {
    fn new(options: &ReplayOptions) -> Self {
        let gap = options.rate_per_second.filter(|_| !options.dry_run).map_or(0.0, |rate| 1.0 / rate);
        Self { gap: Duration::try_from_secs_f64(gap).unwrap_or(Duration::ZERO), next: Instant::now() }
    }

    async fn wait(&self) {
        sleep_until(self.next).await;
    }

    fn sent(&mut self) {
        self.next = self.next.max(Instant::now()) + self.gap;
    }
}

/// What became of a letter.
enum Settled {
    Replayed,
    NotSelected,
    Refused(Refusal),
    Stopped,
}

struct Run<'a> {
    with: &'a Replay<'a>,
    options: &'a ReplayOptions,
    rules: ReplayRules,
    chains: Chains,
    pace: Pace,
}

impl Run<'_> {
    async fn all(
        mut self,
        ranges: Vec<PartitionRange>,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        account: &mut ReplayAccount,
        progress: &mut impl FnMut(&ReplayAccount),
    ) -> ReplayEnd {
        let mut letters = read_ahead(self.with.topic.clone(), ranges);
        loop {
            let after_last =
                account.last.map(|last| Position { offset: last.offset + 1, ..last }).or(self.options.from);
            let scanned = tokio::select! {
                biased;
                () = &mut stop => return ReplayEnd::Stopped { next: after_last },
                scanned = letters.recv() => scanned,
            };
            let scanned = match scanned {
                None => return ReplayEnd::Complete,
                Some(Err(error)) => return ReplayEnd::Failed { next: after_last, error },
                Some(Ok(scanned)) => scanned,
            };
            let position = scanned.position();
            if let Scanned::Letter(letter) = &scanned {
                match self.settle(letter, stop.as_mut()).await {
                    Ok(Settled::Stopped) => return ReplayEnd::Stopped { next: Some(position) },
                    Ok(Settled::Replayed) => account.replayed += 1,
                    Ok(Settled::NotSelected) => account.not_selected += 1,
                    Ok(Settled::Refused(refusal)) => *account.refused.entry(refusal.as_str()).or_default() += 1,
                    Err(error) => {
                        let error = error.context(format!("dead letter {position}"));
                        return ReplayEnd::Failed { next: Some(position), error };
                    }
                }
            } else {
                account.unreadable += 1;
            }
            account.read += 1;
            account.last = Some(position);
            progress(account);
        }
    }

    async fn settle(&mut self, letter: &Letter, stop: Pin<&mut impl Future<Output = ()>>) -> anyhow::Result<Settled> {
        if !self.options.selection.takes(letter) {
            return Ok(Settled::NotSelected);
        }
        let completed;
        let letter = match self.whole(letter).await? {
            Some(whole) => {
                completed = whole;
                &completed
            }
            None => letter,
        };
        // Asked only about letters that would go: each question is a call to the store.
        if let Err(refusal) = decide(letter, &self.chains, &self.rules, false) {
            return Ok(Settled::Refused(refusal));
        }
        tokio::select! {
            biased;
            () = stop => return Ok(Settled::Stopped),
            () = self.pace.wait() => {}
        }
        // After the wait, so that the answer is fresh.
        let erased = self.is_erased(letter).await?;
        let record = match decide(letter, &self.chains, &self.rules, erased) {
            Ok(record) => record,
            Err(refusal) => return Ok(Settled::Refused(refusal)),
        };
        if !self.options.dry_run {
            match self.with.producer.send(record).await {
                Ok(_) => {}
                Err(error) if error.fault() == Fault::RecordRefused => {
                    return Ok(Settled::Refused(Refusal::RefusedByBroker));
                }
                Err(error) => return Err(error).context("not acknowledged on the input topic"),
            }
            self.pace.sent();
        }
        self.chains.replayed(letter)?;
        Ok(Settled::Replayed)
    }

    /// A truncated letter with all of its record, if that still lies where it came from. Read only for letters that
    /// would go, because each takes calls to the broker.
    async fn whole(&self, letter: &Letter) -> anyhow::Result<Option<Letter>> {
        if decide(letter, &self.chains, &self.rules, false) != Err(Refusal::Truncated) {
            return Ok(None);
        }
        let (source, topic) = (letter.facts.source.clone(), self.with.topic.clone());
        let read = move || read_one(&topic.client, &source.topic, source.partition, source.offset, topic.patience);
        match tokio::task::spawn_blocking(read).await.context("the reader's thread")? {
            Ok(original) => Ok(original.and_then(|original| letter.completed(&original))),
            Err(KafkaError::UnknownTopic(_)) => Ok(None),
            Err(error) => Err(error).context("reading the original of a truncated dead letter"),
        }
    }

    /// Whether a post that the letter may be about is erased; key and value may name two.
    async fn is_erased(&self, letter: &Letter) -> anyhow::Result<bool> {
        let ids = [letter.key_text().map(str::to_owned), letter.id_in_value()];
        for id in ids.iter().flatten() {
            if self.with.store.is_erased(id).await.context("asking the store for erased posts")? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_goes_on_leaves_out_what_lies_before_its_position() {
        let range = |partition, start, end| PartitionRange { partition, start, end };
        let mut ranges = vec![range(0, 0, 9), range(1, 2, 9), range(2, 0, 9)];
        leave_out_before(Position { partition: 1, offset: 5 }, &mut ranges);
        assert_eq!(ranges, [range(1, 5, 9), range(2, 0, 9)]);
        leave_out_before(Position { partition: 2, offset: 50 }, &mut ranges);
        assert_eq!(ranges, [range(2, 9, 9)]);
    }
}
