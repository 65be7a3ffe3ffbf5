use std::time::Duration;

/// Bounds of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// At most so many items.
    pub max_items: usize,
    /// At most this cost in all; a lone item may exceed it, or it would wait for ever.
    pub max_cost: u64,
    /// Wait so long for a batch to fill. Zero, the default, costs no latency: a batch is what arrived while the
    /// previous one ran.
    pub max_wait: Duration,
}

/// Limits that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("batch limits of {model}: {problem}")]
pub struct BatchLimitsError {
    pub model: String,
    pub problem: String,
}

impl BatchLimitsError {
    /// Configuration does not heal.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

impl BatchLimits {
    /// Refuses limits under which no item could run.
    pub fn check(&self, model: &str) -> Result<(), BatchLimitsError> {
        if self.max_items == 0 || self.max_cost == 0 {
            return Err(BatchLimitsError {
                model: model.to_owned(),
                problem: format!("max_items {} and max_cost {} must be at least 1", self.max_items, self.max_cost),
            });
        }
        Ok(())
    }
}

/// How many of the waiting items, in order of arrival, make the next batch. The first always fits.
pub fn take_batch(costs: impl IntoIterator<Item = u64>, limits: &BatchLimits) -> usize {
    let mut total = 0u64;
    let mut taken = 0;
    for cost in costs {
        let next = total.saturating_add(cost);
        if taken > 0 && (taken >= limits.max_items || next > limits.max_cost) {
            break;
        }
        total = next;
        taken += 1;
        if taken >= limits.max_items {
            break;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_batch_is_never_empty_and_never_over_its_limits_but_for_a_lone_item(
            costs in prop::collection::vec(0u64..100, 1..50), max_items in 1usize..20, max_cost in 1u64..300,
        ) {
            let limits = BatchLimits { max_items, max_cost, max_wait: Duration::ZERO };
            let taken = take_batch(costs.iter().copied(), &limits);
            prop_assert!((1..=max_items).contains(&taken));
            let total: u64 = costs[..taken].iter().sum();
            prop_assert!(taken == 1 || total <= max_cost);
            // Greedy: the next one would not have fitted.
            if let Some(next) = costs.get(taken) {
                prop_assert!(taken == max_items || total + next > max_cost);
            }
        }
    }
}
