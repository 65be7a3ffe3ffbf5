//! Partitions come and go. The consumer hands a rebalance out as an event and the group waits for the answer, so a
//! partition is drained and committed here, in the ordinary course of the loop, before it is given up.

use std::time::{Duration, Instant};

use jtav_delivery::PartitionLedger;
use jtav_kafka::{CommittedPosition, Fault, StartOffset};
use jtav_pipeline::{FailPoint, fail_point};
use jtav_telemetry::{Metric, global};

use crate::commits::LastCommit;
use crate::note::Note;
use crate::partition::Partition;
use crate::poll_loop::PollLoop;

/// How long the thread may wait for the coordinator at a time; it tries again as long as it takes.
const COMMITTED_WAIT: Duration = Duration::from_secs(2);

/// Wait between two tries.
const COMMITTED_RETRY: Duration = Duration::from_millis(500);

/// How long the thread may wait for the ends of all partitions that must be gone over.
const END_WAIT: Duration = Duration::from_secs(2);

/// Partitions that were offered and are not taken over yet: their committed positions must be known first.
#[derive(Debug)]
pub(crate) struct PendingAssignment {
    partitions: Vec<i32>,
    since: Instant,
    next_try: Instant,
}

/// Partitions that are being given up.
#[derive(Debug)]
pub(crate) struct Revocation {
    partitions: Vec<i32>,
    started: Instant,
    deadline: Instant,
    commits_sent: u32,
    committing_since: Option<Instant>,
}

impl Revocation {
    pub(crate) fn contains(&self, number: i32) -> bool {
        self.partitions.contains(&number)
    }
}

impl PollLoop {
    pub(crate) fn assigned(&mut self, partitions: Vec<i32>) {
        global().inc(Metric::Rebalances, &["assign"]);
        let now = Instant::now();
        self.assignment = Some(PendingAssignment { partitions, since: now, next_try: now });
        self.serve_assignment();
    }

    /// Takes offered partitions over, each from its committed position. Without that answer nothing is taken over: a
    /// guessed position would skip records or read the whole topic again.
    pub(crate) fn serve_assignment(&mut self) {
        let Some(pending) = &mut self.assignment else { return };
        if pending.next_try > Instant::now() {
            return;
        }
        let partitions = pending.partitions.clone();
        let known =
            if partitions.is_empty() { Ok(Vec::new()) } else { self.consumer.committed(&partitions, COMMITTED_WAIT) };
        let positions = match known {
            Ok(positions) => positions,
            Err(error) => {
                tracing::warn!(%error, ?partitions, "committed positions");
                pending.next_try = Instant::now() + COMMITTED_RETRY;
                let too_long = pending.since.elapsed() > self.consumer.max_unanswered() / 2;
                if too_long || matches!(error.fault(), Fault::NeedsOperator | Fault::ClientDead) {
                    self.fail(format!("committed positions of {partitions:?} cannot be had: {error}"));
                }
                return;
            }
        };
        let stretch = self.params.settings.stretch.clone();
        let left = |position: &CommittedPosition| {
            stretch.as_ref().map(|stretch| stretch.left_of(position.partition, position.offset))
        };
        let starts: Vec<(i32, StartOffset)> = positions
            .iter()
            .map(|position| {
                let start = left(position).map(|range| range.start).or(position.offset);
                (position.partition, start.map_or(StartOffset::Beginning, StartOffset::At))
            })
            .collect();
        self.assignment = None;
        fail_point::hit(FailPoint::IngestDuringAssign, "");
        if let Err(error) = self.consumer.accept(&starts) {
            self.fail(format!("partitions {partitions:?} cannot be taken over: {error}"));
            return;
        }
        self.look_for_suspects(&positions);
        for position in &positions {
            let epoch = self.next_epoch();
            let limit = self.params.settings.max_in_flight_per_partition;
            let ledger = PartitionLedger::new(position.partition, epoch, limit);
            let mut owned = Partition::new(ledger, position.offset);
            if let Some(range) = left(position) {
                owned.read_only(range);
            }
            self.partitions.insert(position.partition, owned);
        }
        if self.params.settings.stretch.is_none() {
            self.look_for_expired(&positions);
        }
        tracing::info!(?starts, owned = self.partitions.len(), "partitions taken over");
        self.export();
    }

    /// Reads from the notes how the last owners ended. A partition whose owner did not say goodbye is gone over up to its
    /// present end: what comes later cannot have ended anybody. An end that cannot be had only makes it take longer.
    fn look_for_suspects(&mut self, positions: &[CommittedPosition]) {
        let deadline = Instant::now() + END_WAIT;
        for position in positions {
            let number = position.partition;
            let found = position.offset.map(|offset| (offset, Note::read(&position.metadata)));
            let from = position.offset.unwrap_or(0);
            let around = self.around(number);
            self.overdue.take_over(number, from, &position.metadata, &around);
            let is_unclean = found.is_some_and(|(_, note)| self.suspects.is_unclean(note));
            let left = deadline.saturating_duration_since(Instant::now());
            let end = if is_unclean && !left.is_zero() { self.consumer.watermarks(number, left).ok() } else { None };
            self.suspects.take_over(number, found, end.map(|(_, high)| high));
            if !is_unclean {
                continue;
            }
            global().inc(Metric::UncleanTakeovers, &[]);
            let Some(careful) = self.suspects.careful(number) else { continue };
            match careful.suspect {
                Some((offset, ends)) => tracing::error!(
                    partition = number,
                    offset,
                    ends,
                    until = careful.until,
                    "the last worker ended while this record was inside by itself; it is tried alone, or set aside at \
                     the third end"
                ),
                None => tracing::warn!(
                    partition = number,
                    from = position.offset,
                    until = careful.until,
                    "the last worker ended without a goodbye; records go in one by one to find out whether one ended it"
                ),
            }
        }
    }

    pub(crate) fn revoked(&mut self, partitions: Vec<i32>, lost: bool) {
        global().inc(Metric::Rebalances, &[if lost { "lost" } else { "revoke" }]);
        if lost {
            // Somebody else may own them already: neither waiting nor committing makes sense.
            tracing::warn!(?partitions, "partitions lost");
            self.give_up(&partitions);
            return;
        }
        let now = Instant::now();
        self.revocation = Some(Revocation {
            partitions,
            started: now,
            deadline: now + Duration::from_millis(self.params.settings.drain_timeout_ms),
            commits_sent: 0,
            committing_since: None,
        });
        self.export();
        fail_point::hit(FailPoint::IngestDuringRevoke, "");
        self.serve_revocation();
    }

    /// One turn of giving partitions up: wait for what is in flight, commit, let go. Posts that outlast the wait may
    /// still publish, which the next owner's work on them repeats to no effect.
    pub(crate) fn serve_revocation(&mut self) {
        let Some(revocation) = &self.revocation else { return };
        let numbers = revocation.partitions.clone();
        let unsettled: usize =
            numbers.iter().filter_map(|number| self.partitions.get(number)).map(Partition::unsettled).sum();
        if unsettled > 0 && Instant::now() < revocation.deadline {
            return;
        }
        let mut sent = revocation.commits_sent;
        let since = revocation.committing_since.unwrap_or_else(Instant::now);
        let state = self.last_commit_turn(&numbers, &mut sent, since);
        if state == LastCommit::Waiting {
            if let Some(revocation) = &mut self.revocation {
                revocation.commits_sent = sent;
                revocation.committing_since = Some(since);
            }
            return;
        }
        if let Some(revocation) = self.revocation.take() {
            global().observe(Metric::DrainSeconds, &["revoke"], revocation.started.elapsed().as_secs_f64());
        }
        if unsettled > 0 {
            tracing::warn!(unsettled, ?numbers, "given up with posts in flight; the next owner reads them again");
        }
        self.give_up(&numbers);
    }

    /// Ends the ownership period: settlements that come from now on find no ledger.
    fn give_up(&mut self, numbers: &[i32]) {
        for number in numbers {
            self.partitions.remove(number);
            self.suspects.give_up(*number);
            self.overdue.give_up(*number);
            self.saying_goodbye.remove(number);
            Self::remove_partition_series(*number);
        }
        if let Err(error) = self.consumer.release(numbers) {
            self.fail(format!("partitions {numbers:?} cannot be given up: {error}"));
        }
        tracing::info!(?numbers, owned = self.partitions.len(), "partitions given up");
        self.export();
    }
}
