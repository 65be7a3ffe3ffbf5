//! Records that the topic dropped before they were read: its retention was shorter than the lag. The consumer goes on at
//! the oldest record that is left, without a word; this says how many are missing.

use std::time::{Duration, Instant};

/// Compacted topics and transactions leave gaps all the time; so often at most the broker is asked about them.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// Gaps that are remembered until then. More are joined to the last one.
const MAX_GAPS: usize = 64;

/// Offsets of one partition that were expected and not read. Pure.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// The offset that would be read next if there were no gap.
    expected: Option<i64>,
    /// From one offset to before another.
    open: Vec<(i64, i64)>,
    asked: Option<Instant>,
}

impl Gaps {
    /// Reading goes on at `position`.
    pub(crate) fn start(&mut self, position: Option<i64>) {
        self.expected = position;
    }

    /// A record was read.
    pub(crate) fn read(&mut self, offset: i64) {
        if let Some(expected) = self.expected.filter(|expected| *expected < offset) {
            let is_full = self.open.len() == MAX_GAPS;
            match self.open.last_mut().filter(|_| is_full) {
                Some(last) => last.1 = offset,
                None => self.open.push((expected, offset)),
            }
        }
        self.expected = Some(offset + 1);
    }

    /// Whether the broker should be asked now where the log starts.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        !self.open.is_empty() && self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= ASK_EVERY)
    }

    /// What of the gaps lies before the start of the log, `low`: ranges from one offset to before another. Gaps behind it
    /// are those of compaction and transactions.
    pub(crate) fn expired(&mut self, low: i64, now: Instant) -> Vec<(i64, i64)> {
        self.asked = Some(now);
        let open = std::mem::take(&mut self.open);
        open.into_iter().map(|(from, to)| (from, to.min(low))).filter(|(from, to)| from < to).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_lies_before_the_start_of_the_log_has_expired() {
        let (mut gaps, now) = (Gaps::default(), Instant::now());
        gaps.start(Some(10));
        gaps.read(10);
        assert!(!gaps.is_due(now), "no gap");
        gaps.read(15);
        gaps.read(20);
        assert!(gaps.is_due(now));
        assert_eq!(gaps.expired(18, now), [(11, 15), (16, 18)]);
        assert!(!gaps.is_due(now));
        gaps.read(30);
        assert!(!gaps.is_due(now + ASK_EVERY / 2) && gaps.is_due(now + ASK_EVERY));
        assert_eq!(gaps.expired(18, now + ASK_EVERY), [], "compaction");
    }

    #[test]
    fn a_log_that_went_back_leaves_no_gap() {
        let mut gaps = Gaps::default();
        gaps.start(Some(10));
        gaps.read(3);
        gaps.read(4);
        assert!(!gaps.is_due(Instant::now()));
        gaps.start(None);
        gaps.read(100);
        assert!(!gaps.is_due(Instant::now()), "where nothing was committed, nothing is missing");
    }

    proptest! {
        #[test]
        fn every_offset_before_the_start_that_was_not_read_is_counted_once(
            steps in prop::collection::vec((1_i64..4, any::<bool>()), 1..60), low in 0_i64..200,
        ) {
            let (mut gaps, now) = (Gaps::default(), Instant::now());
            gaps.start(Some(0));
            let (mut offset, mut read) = (-1, Vec::new());
            let mut expired: Vec<i64> = Vec::new();
            for (step, asks) in steps {
                offset += step;
                gaps.read(offset);
                read.push(offset);
                if asks {
                    expired.extend(gaps.expired(low, now).into_iter().flat_map(|(from, to)| from..to));
                }
            }
            expired.extend(gaps.expired(low, now).into_iter().flat_map(|(from, to)| from..to));
            let missing: Vec<i64> = (0..offset.min(low)).filter(|offset| !read.contains(offset)).collect();
            prop_assert_eq!(expired, missing);
        }
    }
}
