/// What can go wrong between a network's bytes and its answers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The libraries are in none of the folders where they are looked for.
    #[error("OpenVINO is not installed; looked for {file} in {places}. Run scripts/setup-openvino.sh")]
    Missing {
        /// Name of the library.
        file: String,
        /// The folders, in the order they were tried.
        places: String,
    },
    /// They are there and cannot be used: another version, a processor that they do not know.
    #[error("OpenVINO in {folder} cannot be used: {reason}")]
    Unusable { folder: String, reason: String },
    /// A network that the engine does not take.
    #[error("OpenVINO refuses the network: {0}")]
    Refused(String),
    /// A pass that failed.
    #[error("OpenVINO: {0}")]
    Run(String),
}

impl EngineError {
    /// A library that is not there does not come by asking again, and the same pass fails again.
    pub fn is_retryable(&self) -> bool {
        false
    }
}
