//! Mean and standard deviation of values as they come.

/// Welford's recurrence (Technometrics 4, 1962): one pass, no cancellation, no memory.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut moments = Self::default();
        values.into_iter().for_each(|value| moments.add(value));
        moments
    }

    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        let before = value - self.mean;
        self.mean += before / self.count;
        self.squares += before * (value - self.mean);
    }

    /// 0 of no values.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Of the values themselves and not of what they were drawn from: divided by their number. 0 of no values.
    pub fn deviation(&self) -> f64 {
        (self.squares / self.count.max(1.0)).max(0.0).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_mean_does_not_drown_a_small_deviation() {
        let moments = Moments::of([1e6 + 1.0, 1e6 - 1.0, 1e6 + 1.0, 1e6 - 1.0]);
        assert_eq!((moments.mean(), moments.deviation()), (1e6, 1.0));
        let nothing = Moments::default();
        assert_eq!((nothing.mean(), nothing.deviation()), (0.0, 0.0));
    }
}
