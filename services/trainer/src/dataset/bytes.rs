//! The files of a pack as bytes, and their hash.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::DatasetError;

pub(super) fn read(path: &Path) -> Result<Vec<u8>, DatasetError> {
    std::fs::read(path).map_err(|source| DatasetError::Io { path: path.to_owned(), source })
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
