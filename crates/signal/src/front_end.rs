use crate::SignalError;
use crate::constant_q::ConstantQ;
use crate::constants::{BINS, BINS_PER_OCTAVE, F_MIN_HZ, HOP_LENGTH, SAMPLE_RATE_HZ};
use crate::cqt_params::CqtParams;
use crate::frames::FrameOperator;
use crate::spectrogram::{Spectrogram, to_db};
use crate::tones::constant_q_operators;

/// The audio front end of the model: constant-Q magnitudes of a whole clip, in decibels.
///
/// Used by the encoder and by the trainer, so that both see the same numbers. Building it takes a
/// moment (about 3 MB of kernels); build one per process and share it.
#[derive(Debug)]
pub struct CqtFrontEnd {
    constant_q: ConstantQ,
}

impl CqtFrontEnd {
    /// The transform that the model looks at.
    pub const PARAMS: CqtParams = CqtParams {
        sample_rate_hz: SAMPLE_RATE_HZ,
        hop_length: HOP_LENGTH,
        f_min_hz: F_MIN_HZ,
        bins_per_octave: BINS_PER_OCTAVE,
        n_bins: BINS,
    };

    /// A front end with [`Self::PARAMS`].
    pub fn new() -> Self {
        Self { constant_q: ConstantQ::build(Self::PARAMS) }
    }

    /// The same transform as products with matrices, the lowest octave first (see [`FrameOperator`]); 2 MB together.
    /// Their squares, real plus imaginary, are the squares of the magnitudes.
    pub fn operators() -> Vec<FrameOperator> {
        constant_q_operators(&Self::PARAMS)
    }

    /// Decibels relative to the loudest value of the clip, in [−80, 0], `[frames, 96]` with
    /// `frames = 1 + samples / 1024`. Input: mono samples at 22050 Hz.
    ///
    /// # Errors
    /// [`SignalError::EmptyClip`], [`SignalError::BadSample`].
    pub fn decibels(&self, pcm_22050_mono: &[f32]) -> Result<Spectrogram, SignalError> {
        Ok(to_db(&self.constant_q.magnitude(pcm_22050_mono)?))
    }
}

impl Default for CqtFrontEnd {
    fn default() -> Self {
        Self::new()
    }
}
