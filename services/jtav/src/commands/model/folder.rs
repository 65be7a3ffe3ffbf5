//! What both commands need: a folder that was verified, where base weights are, and how things are shown.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use jtav_dead_letters::one_line;
use jtav_feed_processor::exit;
use jtav_model::{Bases, Checkpoint, Manifest, ModelError};

use crate::failure::coded;

/// Characters shown of a name that whoever made a checkpoint chose.
const NAME_SHOWN_CHARS: usize = 60;
/// Digits shown of a hash.
const HASH_SHOWN_CHARS: usize = 12;

/// Where base weights are looked for.
#[derive(Debug, Args)]
pub struct WeightsArg {
    /// Folder of base weights, looked at before the usual places; as model.weights.
    #[arg(long, value_name = "DIR")]
    pub weights: Option<PathBuf>,
}

/// A checkpoint's folder, read and held against its hash.
pub(super) struct Verified {
    pub manifest: Manifest,
    pub weights: Vec<u8>,
    pub version: String,
    pub bases: Bases,
}

impl Verified {
    /// Exit code 65 for a folder that is none.
    pub fn read(folder: &Path, weights: Option<&Path>) -> anyhow::Result<Self> {
        let (manifest, bytes) = Checkpoint::read_verified(folder)
            .with_context(|| format!("checkpoint {}", folder.display()))
            .map_err(coded(exit::DATA))?;
        let version = jtav_model::checkpoint::version(&manifest.profile, &jtav_model::checkpoint::sha256(&bytes));
        Ok(Self { manifest, weights: bytes, version, bases: Bases::new(Some(folder), weights) })
    }
}

/// A text out of a manifest, fit for a terminal.
pub(super) fn shown(text: &str) -> String {
    one_line(text, NAME_SHOWN_CHARS)
}

/// The beginning of a hash.
pub(super) fn short(sha256: &str) -> &str {
    sha256.get(..HASH_SHOWN_CHARS).unwrap_or(sha256)
}

pub(super) fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Base weights that are missing or damaged: settings that cannot work.
pub(super) fn of_a_base(error: ModelError) -> anyhow::Error {
    coded(exit::CONFIG)(error.into())
}
