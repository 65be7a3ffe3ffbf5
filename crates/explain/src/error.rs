use jtav_picture::PictureError;
use jtav_signal::SignalError;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The clip cannot be transformed.
    #[error("the spectrogram: {0}")]
    Signal(#[from] SignalError),
    /// The picture cannot be drawn.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The clip cannot be written.
    #[error("writing the sound: {0}")]
    Sound(#[from] hound::Error),
}

impl ExplainError {
    /// Never: the same input fails the same way.
    pub fn is_retryable(&self) -> bool {
        false
    }
}
