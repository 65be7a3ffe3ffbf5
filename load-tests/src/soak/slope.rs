//! How fast a quantity grows, and how sure that is.
//!
//! Theil–Sen: the median of the slopes between all pairs of points, with the confidence interval of Sen (1968), which
//! asks nothing of the noise but that it be independent. Samples of a second are not (a buffer that was allocated stays
//! for minutes), so the points are medians of long blocks. A step or a spike moves the median of the slopes little;
//! least squares would tilt.

use serde::Serialize;

/// 97.5 % of the normal distribution: a two-sided interval of 95 %.
const Z: f64 = 1.96;
/// With fewer points the interval is all or nothing.
const MIN_POINTS: usize = 10;

/// A straight line and the 95 % interval of its slope; x in hours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Slope {
    /// Units an hour.
    pub per_hour: f64,
    /// Lower end of the interval.
    pub low_per_hour: f64,
    /// Upper end of the interval.
    pub high_per_hour: f64,
    /// Value at hour 0.
    pub at_start: f64,
    /// Points it was fitted to.
    pub points: usize,
}

/// What can be said of a slope against a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// The whole interval lies below the limit.
    Below,
    /// The whole interval lies at or above it.
    Above,
    /// The limit lies inside the interval, or there is none: the run was too short to tell.
    CannotTell,
}

impl Slope {
    /// Fits `(hours, value)`; none with fewer than ten points.
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let n = points.len();
        if n < MIN_POINTS {
            return None;
        }
        let mut slopes = Vec::with_capacity(n * (n - 1) / 2);
        for (index, (x, y)) in points.iter().enumerate() {
            slopes.extend(points[index + 1..].iter().filter(|(later, _)| later > x).map(|(u, v)| (v - y) / (u - x)));
        }
        slopes.sort_by(f64::total_cmp);
        let pairs = slopes.len() as f64;
        let per_hour = median(&slopes)?;
        // Kendall's S has this variance where there is no trend.
        let spread = Z * ((n * (n - 1) * (2 * n + 5)) as f64 / 18.0).sqrt();
        let last = slopes.len() - 1;
        let low = ((pairs - spread) / 2.0).floor().max(1.0) as usize - 1;
        let high = (((pairs + spread) / 2.0).ceil().max(0.0) as usize).min(last);
        let mut intercepts: Vec<f64> = points.iter().map(|(x, y)| y - per_hour * x).collect();
        intercepts.sort_by(f64::total_cmp);
        Some(Self {
            per_hour,
            low_per_hour: slopes[low.min(last)],
            high_per_hour: slopes[high],
            at_start: median(&intercepts)?,
            points: n,
        })
    }

    /// Value on the line.
    pub fn at(&self, hours: f64) -> f64 {
        self.at_start + self.per_hour * hours
    }
}

/// Against `limit_per_hour`.
pub fn trend(slope: Option<&Slope>, limit_per_hour: f64) -> Trend {
    match slope {
        Some(slope) if slope.high_per_hour < limit_per_hour => Trend::Below,
        Some(slope) if slope.low_per_hour >= limit_per_hour => Trend::Above,
        _ => Trend::CannotTell,
    }
}

/// Medians of blocks of `block_seconds` as `(hours, value)`, from `(seconds, value)` in order of time. A block that is
/// less than half full (the last one) is left out.
pub fn block_medians(samples: &[(f64, f64)], block_seconds: f64) -> Vec<(f64, f64)> {
    let Some((first, _)) = samples.first() else { return Vec::new() };
    let block_of = |seconds: f64| ((seconds - first) / block_seconds) as usize;
    let blocks: Vec<&[(f64, f64)]> = samples.chunk_by(|a, b| block_of(a.0) == block_of(b.0)).collect();
    let fullest = blocks.iter().map(|block| block.len()).max().unwrap_or(0);
    let middle = |block: &[(f64, f64)]| {
        let mut values: Vec<f64> = block.iter().map(|sample| sample.1).collect();
        values.sort_by(f64::total_cmp);
        let seconds = block.iter().map(|sample| sample.0).sum::<f64>() / block.len() as f64;
        Some((seconds / 3600.0, median(&values)?))
    };
    blocks.into_iter().filter(|block| 2 * block.len() >= fullest).filter_map(middle).collect()
}

/// Of sorted values; none of none.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { f64::midpoint(sorted[middle - 1], upper) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(per_hour: f64, noise: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
        (0..40).map(|index| (index as f64 / 80.0, 300.0 + per_hour * index as f64 / 80.0 + noise(index))).collect()
    }

    #[test]
    fn a_straight_line_is_found_exactly() {
        let slope = Slope::fit(&line(2.5, |_| 0.0)).unwrap();
        for found in [slope.per_hour, slope.low_per_hour, slope.high_per_hour] {
            assert!((found - 2.5).abs() < 1e-9, "{slope:?}");
        }
        assert!((slope.at_start - 300.0).abs() < 1e-9 && (slope.at(2.0) - 305.0).abs() < 1e-9);
        assert_eq!(trend(Some(&slope), 1.0), Trend::Above);
    }

    #[test]
    fn noise_widens_the_interval_around_the_true_slope() {
        // Even over the values -2 to 2, in an order without a trend.
        let slope = Slope::fit(&line(3.0, |index| (index * 17 % 41) as f64 / 10.0 - 2.0)).unwrap();
        assert!(slope.low_per_hour < 3.0 && 3.0 < slope.high_per_hour, "{slope:?}");
        assert!(slope.high_per_hour - slope.low_per_hour > 1.0, "{slope:?}");
        assert_eq!(trend(Some(&slope), 3.0), Trend::CannotTell);
    }

    #[test]
    fn the_interval_is_that_of_sen() {
        // Ten points 0, 1, ... 9 with one out of place; by hand: 45 pairs, spread 1.96 * sqrt(125) = 21.9, so the 11th and
        // the 35th slope.
        let mut points: Vec<(f64, f64)> = (0..10).map(|index| (f64::from(index), f64::from(index))).collect();
        points[9].1 = 0.0;
        let slope = Slope::fit(&points).unwrap();
        assert_eq!((slope.per_hour, slope.low_per_hour, slope.high_per_hour), (1.0, 1.0, 1.0));
        points[0].1 = 9.0;
        let slope = Slope::fit(&points).unwrap();
        // 28 pairs of untouched points have slope 1, 17 pairs with an outlier lie below.
        assert_eq!((slope.per_hour, slope.high_per_hour), (1.0, 1.0));
        assert!(slope.low_per_hour < 1.0, "{slope:?}");
    }

    #[test]
    fn a_spike_does_not_tilt_the_line() {
        let slope = Slope::fit(&line(0.0, |index| if index >= 38 { 500.0 } else { 0.0 })).unwrap();
        assert_eq!(slope.per_hour, 0.0);
        assert_eq!(trend(Some(&slope), 1.0), Trend::Below);
    }

    #[test]
    fn too_few_points_say_nothing() {
        assert_eq!(Slope::fit(&line(1.0, |_| 0.0)[..9]), None);
        assert_eq!(trend(None, 1.0), Trend::CannotTell);
    }

    #[test]
    fn blocks_have_the_median_of_their_samples_and_a_stub_of_a_block_is_left_out() {
        let samples: Vec<(f64, f64)> =
            (0..25).map(|second| (f64::from(second), if second == 3 { 900.0 } else { 10.0 })).collect();
        let blocks = block_medians(&samples, 10.0);
        assert_eq!(blocks.len(), 3, "a half block counts");
        assert_eq!(blocks[0], (4.5 / 3600.0, 10.0));
        assert_eq!(block_medians(&samples[..24], 10.0).len(), 2);
    }
}
