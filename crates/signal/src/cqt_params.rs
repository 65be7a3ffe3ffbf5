//! Bins, hop and kernel lengths of a constant-Q transform.

use crate::SignalError;

/// Longest hop that is accepted, in samples.
const MAX_HOP_LENGTH: usize = 65_536;

/// Longest kernel that is accepted, in samples; bounds the memory of a block.
const MAX_KERNEL_LEN: f64 = 262_144.0;

/// What a [`ConstantQ`](crate::ConstantQ) is built from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CqtParams {
    /// Sample rate of the clips, in Hz.
    pub sample_rate_hz: u32,
    /// Distance between frames, in samples; 1 to 65536.
    pub hop_length: usize,
    /// Centre of the lowest bin, in Hz.
    pub f_min_hz: f64,
    /// Bins per octave; also sets the quality factor, 17.3 for 12.
    pub bins_per_octave: usize,
    /// Number of bins. The highest one must stay below half the sample rate.
    pub n_bins: usize,
}

impl CqtParams {
    pub(crate) fn validate(&self) -> Result<(), SignalError> {
        if self.sample_rate_hz == 0 {
            return Err(SignalError::invalid("sample_rate_hz", "must be positive"));
        }
        if !(1..=MAX_HOP_LENGTH).contains(&self.hop_length) {
            let problem = format!("{} is not in 1..={MAX_HOP_LENGTH}", self.hop_length);
            return Err(SignalError::invalid("hop_length", problem));
        }
        if !(self.f_min_hz.is_finite() && self.f_min_hz > 0.0) {
            return Err(SignalError::invalid("f_min_hz", "must be positive and finite"));
        }
        if self.bins_per_octave == 0 {
            return Err(SignalError::invalid("bins_per_octave", "must be positive"));
        }
        if self.n_bins == 0 {
            return Err(SignalError::invalid("n_bins", "must be positive"));
        }
        // 1.5 bins is the equivalent noise bandwidth of a Hann window; librosa draws the line here.
        let upper_hz = self.centre_hz(self.n_bins - 1) * (1.0 + 0.5 * 1.5 / self.quality());
        let nyquist_hz = f64::from(self.sample_rate_hz) / 2.0;
        if upper_hz > nyquist_hz {
            let problem =
                format!("the highest bin reaches {upper_hz:.0} Hz, above half the sample rate, {nyquist_hz} Hz");
            return Err(SignalError::invalid("n_bins", problem));
        }
        if self.length(0) > MAX_KERNEL_LEN {
            let problem =
                format!("the lowest bin needs a kernel of {:.0} samples, more than {MAX_KERNEL_LEN}", self.length(0));
            return Err(SignalError::invalid("f_min_hz", problem));
        }
        Ok(())
    }

    pub(crate) fn centre_hz(&self, bin: usize) -> f64 {
        self.f_min_hz * 2f64.powf(bin as f64 / self.bins_per_octave as f64)
    }

    /// Q = 1/α with α = (2^{2/b} − 1)/(2^{2/b} + 1): librosa's since 0.10, not Brown's
    /// 1/(2^{1/b} − 1), which is 3 % lower.
    pub(crate) fn quality(&self) -> f64 {
        let two_steps = 2f64.powf(2.0 / self.bins_per_octave as f64);
        (two_steps + 1.0) / (two_steps - 1.0)
    }

    /// Nominal kernel length in samples, a fraction; it sets the scale.
    pub(crate) fn length(&self, bin: usize) -> f64 {
        self.quality() * f64::from(self.sample_rate_hz) / self.centre_hz(bin)
    }

    /// Half the length of a kernel, in whole samples.
    pub(crate) fn half_length(&self, bin: usize) -> usize {
        (self.length(bin) / 2.0).floor() as usize
    }
}
