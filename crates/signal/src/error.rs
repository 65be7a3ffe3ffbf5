use realfft::FftError;

/// Why a clip could not be turned into a spectrogram.
///
/// Every case is a property of the input or of the parameters: the same call fails the same way
/// again, so nothing here is worth a retry.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// The clip has no samples.
    #[error("the clip has no samples")]
    EmptyClip,

    /// A sample is NaN, infinite, or larger than [`crate::MAX_ABS_SAMPLE`]; a spectrum of it would
    /// be NaN in every bin it touches.
    #[error("sample {index} is not usable audio ({value})")]
    BadSample {
        /// Position in the slice that was passed in.
        index: usize,
        /// What was found there.
        value: f32,
    },

    /// A sample rate outside [`crate::MIN_RATE_HZ`]`..=`[`crate::MAX_RATE_HZ`].
    #[error("sample rate {rate_hz} Hz is outside the supported 1 kHz to 768 kHz")]
    UnsupportedRate {
        /// The offending rate.
        rate_hz: u32,
    },

    /// Parameters from which no filter bank can be built.
    #[error("{name}: {problem}")]
    InvalidParameter {
        /// Field name in the parameter struct.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },

    /// The FFT refused its buffers: a defect in this crate, never a property of the clip.
    #[error("internal: the FFT refused its buffers: {0}")]
    Transform(String),
}

impl SignalError {
    /// Always `false`: the functions of this crate are pure.
    pub fn is_retryable(&self) -> bool {
        false
    }

    pub(crate) fn invalid(name: &'static str, problem: impl Into<String>) -> Self {
        Self::InvalidParameter { name, problem: problem.into() }
    }
}

impl From<FftError> for SignalError {
    fn from(error: FftError) -> Self {
        Self::Transform(error.to_string())
    }
}
