//! What a training run is told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jtav_model::DeviceChoice;
use jtav_model::training::{AudioConfig, FusionConfig, ImageConfig, TextConfig};
use serde::{Deserialize, Serialize};

use crate::fit::FitPlan;

/// One step of a run. A step that is left out is taken from the work folder, where an earlier run kept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// attBiGRU with its own head.
    Text,
    /// DCRNN with a sentiment head and a mood head.
    Audio,
    /// DenseNet-121 with its own head.
    Image,
    /// CMF-AP on the frozen vectors of the three, calibration, evaluation, checkpoint.
    Fusion,
}

impl Stage {
    /// All four, in the order in which they run.
    pub const ALL: [Stage; 4] = [Stage::Text, Stage::Audio, Stage::Image, Stage::Fusion];

    /// `text`, `audio`, `image` or `fusion`.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Text => "text",
            Stage::Audio => "audio",
            Stage::Image => "image",
            Stage::Fusion => "fusion",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let stage = Self::ALL.into_iter().find(|stage| stage.name() == text);
        stage.ok_or_else(|| format!("stage `{text}`: use text, audio, image or fusion"))
    }
}

/// Network family (design D12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// The one that serves.
    #[default]
    Modern,
}

impl Profile {
    /// As the manifest names it.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Modern => "modern",
        }
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "modern" => Ok(Self::Modern),
            _ => Err(format!("profile `{text}` cannot be trained; use modern")),
        }
    }
}

/// Options of [`train`](crate::train()). [`TrainOptions::new`] has the settings that the bundled checkpoint was
/// trained with.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Folder of the data pack. A relative one that does not exist is looked for in `$JTAV_DATA_DIR`.
    pub data: PathBuf,
    /// Folder that the checkpoint is written to; made where it is missing, its files are replaced at the end.
    pub out: PathBuf,
    /// Folder for what one run leaves to the next: trained encoders, curves, the JSON log.
    pub work_dir: PathBuf,
    /// Folder for decoded features, shared by all runs.
    pub cache_dir: PathBuf,
    /// Network family.
    pub profile: Profile,
    /// Steps to run; the others are read from `work_dir`.
    pub stages: BTreeSet<Stage>,
    /// Epochs, patience and step size of the text network.
    pub text_plan: FitPlan,
    /// The same of the audio network.
    pub audio_plan: FitPlan,
    /// The same of the image network.
    pub image_plan: FitPlan,
    /// The same of the fusion.
    pub fusion_plan: FitPlan,
    /// Regularisation of the text network.
    pub text: TextConfig,
    /// Augmentation and regularisation of the audio network.
    pub audio: AudioConfig,
    /// Resolution, augmentation and regularisation of the image network.
    pub image: ImageConfig,
    /// Modality dropout and regularisation of the fusion.
    pub fusion: FusionConfig,
    /// Decides weights at the start, order of examples, augmentation, dropout.
    pub seed: u64,
    /// Where to train.
    pub device: DeviceChoice,
    /// Threads that decode media.
    pub decode_threads: usize,
    /// Whether the test split is scored at the end. Leave it off while choosing settings: whoever looks at the test
    /// split more than once is fitting it by hand.
    pub score_test: bool,
    /// One short pass of everything over a part of the data, to see that it works. The result is good for nothing
    /// else, and its model card says so.
    pub quick: bool,
    /// The command line, for the model card.
    pub command: String,
}

impl TrainOptions {
    /// The settings of the bundled checkpoint, for the pack in `data`, written to `out`.
    pub fn new(data: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            out: out.into(),
            work_dir: ".cache/train".into(),
            cache_dir: ".cache/features".into(),
            profile: Profile::Modern,
            stages: Stage::ALL.into_iter().collect(),
            text_plan: FitPlan { epochs: 8, patience: 3, learning_rate: 2e-3 },
            audio_plan: FitPlan { epochs: 14, patience: 6, learning_rate: 1e-3 },
            image_plan: FitPlan { epochs: 14, patience: 6, learning_rate: 1e-3 },
            fusion_plan: FitPlan { epochs: 12, patience: 5, learning_rate: 1e-3 },
            text: TextConfig::default(),
            audio: AudioConfig::default(),
            image: ImageConfig::default(),
            fusion: FusionConfig::default(),
            seed: 20,
            device: DeviceChoice::Auto,
            decode_threads: 2,
            score_test: true,
            quick: false,
            command: "jtav train".to_owned(),
        }
    }

    /// Plan of one stage.
    pub fn plan(&self, stage: Stage) -> FitPlan {
        let plan = match stage {
            Stage::Text => self.text_plan,
            Stage::Audio => self.audio_plan,
            Stage::Image => self.image_plan,
            Stage::Fusion => self.fusion_plan,
        };
        if self.quick { FitPlan { epochs: 1, ..plan } } else { plan }
    }

    /// Most training examples of one stage.
    pub(crate) fn example_limit(&self) -> usize {
        if self.quick { 128 } else { usize::MAX }
    }

    /// The data pack's folder: `data` itself, else `data` inside `$JTAV_DATA_DIR`.
    pub fn resolve_data(&self) -> anyhow::Result<PathBuf> {
        let data_dir = std::env::var_os("JTAV_DATA_DIR").map(PathBuf::from);
        resolve(&self.data, data_dir.as_deref())
    }
}

fn resolve(data: &Path, data_dir: Option<&Path>) -> anyhow::Result<PathBuf> {
    let named = data_dir.map(|folder| folder.join(data));
    let candidates = [Some(data.to_owned()), named];
    let found = candidates.iter().flatten().find(|folder| folder.join("posts.jsonl").is_file());
    found.cloned().ok_or_else(|| {
        let looked: Vec<String> = candidates.iter().flatten().map(|folder| folder.display().to_string()).collect();
        let hint = if data_dir.is_none() { " (JTAV_DATA_DIR is not set)" } else { "" };
        anyhow::anyhow!("no posts.jsonl in {}{hint}", looked.join(" nor in "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_and_profiles_survive_their_text_form() {
        for stage in Stage::ALL {
            assert_eq!(stage.to_string().parse::<Stage>(), Ok(stage));
        }
        assert!("video".parse::<Stage>().unwrap_err().contains("text, audio, image or fusion"));
        assert_eq!("modern".parse::<Profile>(), Ok(Profile::Modern));
        assert!("paper".parse::<Profile>().is_err());
    }

    #[test]
    fn a_pack_is_found_by_path_or_by_name_and_else_every_place_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let pack = folder.path().join("pack");
        std::fs::create_dir(&pack).unwrap();
        std::fs::write(pack.join("posts.jsonl"), "").unwrap();
        assert_eq!(resolve(&pack, None).unwrap(), pack);
        assert_eq!(resolve(Path::new("pack"), Some(folder.path())).unwrap(), pack);
        let message = resolve(Path::new("nowhere"), Some(folder.path())).unwrap_err().to_string();
        assert!(message.contains("nowhere nor in"), "{message}");
        assert!(resolve(Path::new("nowhere"), None).unwrap_err().to_string().contains("JTAV_DATA_DIR is not set"));
    }

    #[test]
    fn a_quick_run_is_one_epoch_of_everything() {
        let mut options = TrainOptions::new("pack", "out");
        assert!(Stage::ALL.into_iter().all(|stage| options.plan(stage).epochs > 1));
        options.quick = true;
        assert!(Stage::ALL.into_iter().all(|stage| options.plan(stage).epochs == 1));
    }
}
