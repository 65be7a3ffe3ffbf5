//! What a fetcher cannot be made of.

/// Why a fetcher cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum FetchSetupError {
    /// The HTTP client refused its settings.
    #[error("HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// An authority that is none, or no TLS at all.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Settings that contradict each other.
    #[error("fetch settings: {0}")]
    Params(&'static str),
}

impl FetchSetupError {
    /// The settings stay what they are.
    pub fn is_retryable(&self) -> bool {
        false
    }
}
