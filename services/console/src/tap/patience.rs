//! How often and how fast a server is asked again. Pure.

use std::time::Duration;

/// The first wait; each is twice the one before.
const FIRST: Duration = Duration::from_millis(500);
/// The longest, whatever the server asks for.
const LONGEST: Duration = Duration::from_secs(15);
/// Tries in a row without an answer: about nine minutes.
pub(super) const MAX_TRIES: u32 = 40;

#[derive(Debug, Default)]
pub(super) struct Patience {
    tries: u32,
    has_been_answered: bool,
}

impl Patience {
    /// Something came.
    pub(super) fn is_answered(&mut self) {
        (self.tries, self.has_been_answered) = (0, true);
    }

    pub(super) fn has_been_answered(&self) -> bool {
        self.has_been_answered
    }

    /// The wait before the next try, at least as long as was asked for within reason; none where there have been enough.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        if self.tries >= MAX_TRIES {
            return None;
        }
        let doubled = FIRST.saturating_mul(1 << self.tries.min(10));
        self.tries += 1;
        Some(doubled.max(asked.unwrap_or_default()).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_bound_and_tries_end() {
        let mut patience = Patience::default();
        let waits: Vec<f64> = (0..7).filter_map(|_| patience.next(None)).map(|wait| wait.as_secs_f64()).collect();
        assert_eq!(waits, [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]);
        assert_eq!(std::iter::from_fn(|| patience.next(None)).take(1_000).count(), MAX_TRIES as usize - 7);
        patience.is_answered();
        assert_eq!(patience.next(Some(Duration::from_secs(3))), Some(Duration::from_secs(3)));
        assert_eq!(patience.next(Some(Duration::from_secs(3_600))), Some(LONGEST));
        assert_eq!(patience.next(None), Some(Duration::from_secs(2)));
    }
}
