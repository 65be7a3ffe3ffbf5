//! The front end as products of overlapping frames with matrices: for devices on which one large product costs less
//! than anything cleverer. On a CPU, [`resample`](crate::resample) and [`ConstantQ`](crate::ConstantQ) do the same with
//! a small share of the multiplications.

use crate::constants::SAMPLE_RATE_HZ;
use crate::resample::{LowPass, lower_nyquist, ratio};

/// Rates from which [`FrameOperator::resampling`] gets to the model's: those of the files that people share. Their
/// matrices are small; all of them together take 6.5 MB.
pub const DEVICE_RATES_HZ: [u32; 8] = [8_000, 11_025, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000];

/// Samples that one row of a resampling gives at least: fewer, and most of a frame would be what its neighbours read too.
const MIN_OUTPUTS: usize = 256;

/// A linear map of a signal: row `t` of the result is frame `t` times [`matrix`](Self::matrix). Frame `t` is the `width`
/// samples from `t · stride − before` on; outside the clip the signal counts as zero.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameOperator {
    /// Samples of a frame before sample `t · stride`.
    pub before: usize,
    /// Samples from one frame to the next.
    pub stride: usize,
    /// Samples of a frame.
    pub width: usize,
    /// Values of a row.
    pub outputs: usize,
    /// `[width, outputs]`, row-major.
    pub matrix: Vec<f32>,
}

/// Several clips in one signal, zeros between them. Row `r` of the product is the frame that begins at sample
/// `r · stride`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Each clip's row 0.
    pub first_rows: Vec<usize>,
    /// Rows of the whole signal.
    pub rows: usize,
    /// Samples of the whole signal, zeros around the clips included.
    pub samples: usize,
}

impl FrameOperator {
    /// Rows that a clip of `len` samples has, its last ones maybe of zeros.
    pub fn rows(&self, len: usize) -> usize {
        1 + len / self.stride
    }

    /// Lays clips of these lengths behind one another so far apart that no frame of one reaches into another: then one
    /// product does them all.
    pub fn layout(&self, lengths: &[usize]) -> Layout {
        let behind = self.width - self.before;
        let (mut first_rows, mut row, mut rows, mut samples) = (Vec::with_capacity(lengths.len()), 0, 0, 0);
        for &len in lengths {
            first_rows.push(row);
            rows = row + self.rows(len);
            samples = ((rows - 1) * self.stride + self.width).max(self.start(row) + len);
            let for_its_frames = self.rows(len) - 1 + behind.div_ceil(self.stride);
            let for_the_next = (len + self.before).div_ceil(self.stride);
            row += for_its_frames.max(for_the_next);
        }
        Layout { first_rows, rows, samples }
    }

    /// Where the clip whose first row this is begins in the signal of a [`Layout`].
    pub fn start(&self, first_row: usize) -> usize {
        self.before + first_row * self.stride
    }

    /// [`resample`](crate::resample) from one of [`DEVICE_RATES_HZ`] to the model's rate; `None` for other rates. The rows
    /// one after the other are the resampled signal; what lies behind the end of the clip is the filter's echo.
    ///
    /// The filter is the same; here it is evaluated between the samples where there it is extended by its spectrum.
    pub fn resampling(from_hz: u32) -> Option<Self> {
        if !DEVICE_RATES_HZ.contains(&from_hz) {
            return None;
        }
        let (step_in, step_out) = ratio(u64::from(from_hz), u64::from(SAMPLE_RATE_HZ));
        let low_pass = LowPass::new(lower_nyquist(step_in, step_out));
        let steps = MIN_OUTPUTS.div_ceil(step_out);
        let (stride, outputs, before) = (steps * step_in, steps * step_out, low_pass.half_len());
        let width = before + stride + before;
        // Distances between samples of the two rates are whole multiples of an input sample's `step_out`-th part; each is
        // met many times, and a tap takes a series to compute.
        let taps = (0..=before * step_out).map(|parts| low_pass.at(parts as f64 / step_out as f64) as f32);
        let taps: Vec<f32> = taps.collect();
        let tap = |sample: usize, output: usize| {
            let parts = (sample * step_out).abs_diff(before * step_out + output * step_in);
            taps.get(parts).copied().unwrap_or(0.0)
        };
        let matrix = (0..width).flat_map(|sample| (0..outputs).map(move |output| (sample, output)));
        let matrix = matrix.map(|(sample, output)| tap(sample, output)).collect();
        Some(Self { before, stride, width, outputs, matrix })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::CqtFrontEnd;

    proptest! {
        #[test]
        fn clips_in_one_signal_do_not_touch_each_other(
            lengths in proptest::collection::vec(1_usize..400, 0..6),
            (before, stride, width) in (0_usize..90, 1_usize..40, 1_usize..200),
        ) {
            let operator = FrameOperator { before: before.min(width), stride, width, outputs: 1, matrix: Vec::new() };
            let layout = operator.layout(&lengths);
            let places: Vec<(usize, usize)> =
                layout.first_rows.iter().zip(&lengths).map(|(&row, &len)| (operator.start(row), len)).collect();
            for (clip, (&first_row, &len)) in layout.first_rows.iter().zip(&lengths).enumerate() {
                prop_assert!(first_row + operator.rows(len) <= layout.rows);
                prop_assert!(operator.start(first_row) + len <= layout.samples);
                let frames = first_row * stride..(first_row + operator.rows(len) - 1) * stride + width;
                prop_assert!(frames.end <= layout.samples);
                for (other, &(start, len)) in places.iter().enumerate() {
                    let apart = start >= frames.end || start + len <= frames.start;
                    prop_assert!(other == clip || apart, "{clip} reads {other}");
                }
            }
        }
    }

    #[test]
    fn the_matrices_stay_small() {
        let bytes = |operators: &[FrameOperator]| operators.iter().map(|o| 4 * o.matrix.len()).sum::<usize>();
        let resampling: Vec<FrameOperator> =
            DEVICE_RATES_HZ.into_iter().filter_map(FrameOperator::resampling).collect();
        assert!(bytes(&resampling) < 8_000_000, "{}", bytes(&resampling));
        assert!(bytes(&CqtFrontEnd::operators()) < 4_000_000, "{}", bytes(&CqtFrontEnd::operators()));
    }

    #[test]
    fn only_the_usual_rates_have_a_matrix() {
        assert!(DEVICE_RATES_HZ.into_iter().all(|rate_hz| FrameOperator::resampling(rate_hz).is_some()));
        assert_eq!(FrameOperator::resampling(44_101), None);
        assert_eq!(FrameOperator::resampling(SAMPLE_RATE_HZ), None);
    }
}
