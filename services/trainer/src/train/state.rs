//! The work folder: trained networks that a later run takes over.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::network::Network;
use crate::dataset::DataPack;
use crate::options::Stage;
use crate::report::{StageRecord, write_json};

/// `<stage>.state` (weights and optimiser), `<stage>.json` (its [`StageRecord`]), `vocabulary.json`, and the logs.
pub(crate) struct WorkDir {
    folder: PathBuf,
    posts_sha256: String,
}

impl WorkDir {
    pub fn create(folder: &Path, pack: &DataPack) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), posts_sha256: pack.posts_sha256.clone() })
    }

    pub fn vocabulary(&self) -> PathBuf {
        self.folder.join("vocabulary.json")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Keeps a trained network. The record goes last: without it the weights do not count.
    pub fn keep(&self, record: &StageRecord, network: &impl Network) -> anyhow::Result<()> {
        network.save_state(&self.file(&format!("{}.state", record.stage)))?;
        write_json(&self.file(&format!("{}.json", record.stage)), record)
    }

    /// Fills `network` with kept weights, if they were trained on this very pack.
    pub fn take_over(&self, stage: Stage, network: &mut impl Network) -> anyhow::Result<StageRecord> {
        let path = self.file(&format!("{stage}.json"));
        let bytes = std::fs::read(&path)
            .with_context(|| format!("{}: the stage `{stage}` was left out and never trained here", path.display()))?;
        let record: StageRecord =
            serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))?;
        anyhow::ensure!(
            record.posts_sha256 == self.posts_sha256,
            "{}: trained on another data pack (posts.jsonl {}), train the stage `{stage}` again",
            path.display(),
            record.posts_sha256
        );
        network.load_state(&self.file(&format!("{stage}.state")))?;
        Ok(record)
    }
}
