//! The work folder: trained networks that a later run takes over, and the stage that is being trained.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::network::Stateful;
use crate::dataset::DataPack;
use crate::files::{write_bytes, write_json, write_text};
use crate::fit::{FitPlan, FitProgress};
use crate::options::Stage;
use crate::report::{StageRecord, curves_csv, curves_png};

/// `<stage>.safetensors`, `<stage>.evidence.json` and `<stage>.json` (its [`StageRecord`]), and the logs. While a stage is
/// trained by epochs: `<stage>.begun.json` and `<stage>.epoch-N.state`, see [`BegunStage`].
pub(crate) struct WorkDir {
    folder: PathBuf,
    posts_sha256: String,
}

impl WorkDir {
    pub fn create(folder: &Path, pack: &DataPack) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), posts_sha256: pack.posts_sha256.clone() })
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes `curves.csv` and `curves.png`.
    pub fn write_curves(&self, records: &[StageRecord]) -> anyhow::Result<()> {
        write_text(&self.file("curves.csv"), &curves_csv(records))?;
        match curves_png(records).context("drawing the curves")? {
            Some(png) => write_bytes(&self.file("curves.png"), &png),
            None => Ok(()),
        }
    }

    /// The stage with these settings as an earlier run finished it, if it did.
    pub fn finished(&self, stage: Stage, origin: &Origin) -> Option<StageRecord> {
        let bytes = std::fs::read(self.file(&format!("{stage}.json"))).ok()?;
        let record: StageRecord = serde_json::from_slice(&bytes).ok()?;
        (Origin::of(&record).as_ref() == Some(origin)).then_some(record)
    }

    /// The record of a stage that an earlier run finished, if it was trained on this very pack.
    pub fn record(&self, stage: Stage) -> anyhow::Result<StageRecord> {
        let path = self.file(&format!("{stage}.json"));
        let bytes = std::fs::read(&path)
            .with_context(|| format!("{}: the stage `{stage}` was left out and never trained here", path.display()))?;
        let record: StageRecord =
            serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))?;
        anyhow::ensure!(
            record.posts_sha256 == self.posts_sha256,
            "{}: trained on another data pack (its posts have the hash {}), train the stage `{stage}` again",
            path.display(),
            record.posts_sha256
        );
        Ok(record)
    }
}

/// What must be the same for two trainings of a stage to be one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub posts_sha256: String,
    pub seed: u64,
    pub quick: bool,
    pub settings: serde_json::Value,
    pub plan: FitPlan,
}

impl Origin {
    /// `None` for a record of a version that did not note the plan.
    fn of(record: &StageRecord) -> Option<Self> {
        Some(Self {
            posts_sha256: record.posts_sha256.clone(),
            seed: record.seed,
            quick: record.quick,
            settings: record.settings.clone(),
            plan: record.plan?,
        })
    }
}

/// `<stage>.begun.json`: written after the state file it names, so that a killed run leaves a pair that fits together.
#[derive(Serialize, Deserialize)]
struct BegunFile {
    origin: Origin,
    done: FitProgress,
    state: String,
}

/// The stage in training: after every epoch weights, moments, best weights and curve lie in the work folder, so that a
/// killed run goes on where it stood. Order, augmentation and dropout of an epoch depend on seed and number alone.
pub(crate) struct BegunStage<'a> {
    work: &'a WorkDir,
    stage: Stage,
    origin: Origin,
}

impl<'a> BegunStage<'a> {
    pub fn new(work: &'a WorkDir, stage: Stage, origin: Origin) -> Self {
        Self { work, stage, origin }
    }

    fn path(&self) -> PathBuf {
        self.work.file(&format!("{}.begun.json", self.stage))
    }

    /// Fills `network` with what a killed run left; nothing done where it left nothing.
    ///
    /// # Errors
    /// It was begun on other data or with other settings; files that cannot be read.
    pub fn take_up(&self, network: &mut impl Stateful) -> anyhow::Result<FitProgress> {
        let path = self.path();
        if !path.exists() {
            return Ok(FitProgress::default());
        }
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let begun: BegunFile = serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))?;
        anyhow::ensure!(
            begun.origin == self.origin,
            "{}: the stage `{}` was begun on other data or with other settings; give the same ones, or leave --resume \
             out to begin anew",
            path.display(),
            self.stage
        );
        network.load_state(&self.work.file(&begun.state))?;
        Ok(begun.done)
    }

    /// Keeps an epoch and forgets the one before.
    pub fn keep(&self, done: &FitProgress, network: &impl Stateful) -> anyhow::Result<()> {
        let state = format!("{}.epoch-{}.state", self.stage, done.curve.len());
        network.save_progress(&self.work.file(&state))?;
        let begun = BegunFile { origin: self.origin.clone(), done: done.clone(), state: state.clone() };
        let beside = self.path().with_extension("json.part");
        write_json(&beside, &begun)?;
        std::fs::rename(&beside, self.path()).with_context(|| format!("writing {}", self.path().display()))?;
        self.remove_states(Some(&state))
    }

    /// Forgets everything, once the stage is kept as a whole or begun anew.
    pub fn forget(&self) -> anyhow::Result<()> {
        match std::fs::remove_file(self.path()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", self.path().display()))
            }
            _ => self.remove_states(None),
        }
    }

    fn remove_states(&self, but: Option<&str>) -> anyhow::Result<()> {
        let prefix = format!("{}.epoch-", self.stage);
        let folder = &self.work.folder;
        for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&prefix) && name.ends_with(".state") && but != Some(&*name) {
                let path = self.work.file(&name);
                std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(())
    }
}
