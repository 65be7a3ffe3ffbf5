//! What can go wrong between a checkpoint's folder and a vector.

use std::path::{Path, PathBuf};

/// Failure of a network, a checkpoint or a trainer.
///
/// Nothing here gets better by trying again: [`is_retryable`](Self::is_retryable) is always false. A caller that
/// batches isolates [`Input`](Self::Input) by bisection and exits the process on [`is_fatal`](Self::is_fatal).
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        source: std::io::Error,
    },
    /// A file does not hold the bytes its manifest promises.
    #[error("{}: sha256 is {found}, the manifest says {expected}", path.display())]
    HashMismatch {
        path: PathBuf,
        /// Digest named by the manifest (hex).
        expected: String,
        /// Digest of the bytes on disk (hex).
        found: String,
    },
    /// Base weights are in none of the folders where they are looked for.
    #[error(
        "base weights `{file}` ({name}, sha256 {sha256}) are not there; looked for {}. Run scripts/setup-weights.sh (or make \
         setup-demo)",
        list(looked_at)
    )]
    BaseMissing {
        /// What it is, for people.
        name: String,
        file: String,
        /// Digest that was asked for (hex).
        sha256: String,
        /// The paths that do not exist, in the order they were tried.
        looked_at: Vec<PathBuf>,
    },
    /// Base weights hold other bytes than those that were promised.
    #[error(
        "{}: sha256 is {found}, `{name}` has {expected}. Remove the file and run scripts/setup-weights.sh (or make setup-demo)",
        path.display()
    )]
    BaseDamaged {
        path: PathBuf,
        /// What it should be, for people.
        name: String,
        /// Digest that was asked for (hex).
        expected: String,
        /// Digest of the bytes on disk (hex).
        found: String,
    },
    /// A file is there but is not what it should be.
    #[error("{}: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    /// The weights lack a tensor that the profile needs.
    #[error("weights: tensor `{name}` is missing")]
    MissingTensor {
        /// Full name of the tensor.
        name: String,
    },
    /// A tensor has another shape than the profile needs.
    #[error("weights: tensor `{name}` has shape {found:?}, expected {expected:?}")]
    Misshaped {
        /// Full name of the tensor.
        name: String,
        /// Shape that the manifest's dimensions ask for.
        expected: Vec<i64>,
        /// Shape in the file.
        found: Vec<i64>,
    },
    /// The weights hold a tensor that no network of the profile reads, so they belong to something else.
    #[error("weights: tensor `{name}` belongs to no network of this profile")]
    UnexpectedTensor {
        /// Full name of the tensor.
        name: String,
    },
    /// A tensor holds a NaN or an infinity.
    #[error("weights: tensor `{name}` is not finite")]
    NotFinite {
        /// Full name of the tensor.
        name: String,
    },
    /// The caller handed over something the network cannot take (lengths, sizes, ranges).
    #[error("input: {0}")]
    Input(String),
    /// A configuration value is out of range.
    #[error("configuration: {0}")]
    Configuration(String),
    /// The recomputed probe differs from the recorded one.
    #[error("parity probe: {0}")]
    Parity(String),
    /// The device is unusable: absent, out of memory, or broken by an earlier kernel.
    #[error("device: {0}")]
    Device(String),
    /// The engine beside libtorch: not there, or it refused something.
    #[error(transparent)]
    Engine(#[from] jtav_engine::EngineError),
    /// libtorch refused an operation for a reason that is not the device's.
    #[error("libtorch: {0}")]
    Torch(String),
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

impl ModelError {
    /// Whether the same call could succeed later without a change. Never: networks are deterministic.
    pub fn is_retryable(&self) -> bool {
        false
    }

    /// Whether the process should exit: after a device fault every later call on that device fails too.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Device(_))
    }

    /// Failure to read or write `path`.
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    /// `path` is there but not what it should be.
    pub fn malformed(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Malformed { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Phrases by which libtorch reports a device fault; its errors carry no code through the C shim.
const DEVICE_FAULTS: [&str; 7] =
    ["CUDA error", "CUDA out of memory", "CUBLAS", "CUDNN", "cuDNN", "device-side assert", "can't allocate memory"];

impl From<tch::TchError> for ModelError {
    fn from(error: tch::TchError) -> Self {
        let message = error.to_string();
        // The C++ backtrace that follows the first line says nothing to an operator.
        let first_line = message.lines().next().unwrap_or_default().to_owned();
        if DEVICE_FAULTS.iter().any(|phrase| message.contains(phrase)) {
            Self::Device(first_line)
        } else {
            Self::Torch(first_line)
        }
    }
}

/// What the front end refuses is a property of the clip.
impl From<jtav_signal::SignalError> for ModelError {
    fn from(error: jtav_signal::SignalError) -> Self {
        Self::Input(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cuda_message_is_fatal_and_a_shape_message_is_not() {
        let fault = tch::TchError::Torch("CUDA error: an illegal memory access\nException raised from".into());
        let fault = ModelError::from(fault);
        assert!(fault.is_fatal());
        assert_eq!(fault.to_string(), "device: Internal torch error: CUDA error: an illegal memory access");
        assert!(!ModelError::from(tch::TchError::Torch("mat1 and mat2 shapes".into())).is_fatal());
        assert!(!fault.is_retryable());
    }
}
