//! What a training run is told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jtav_model::{DeviceChoice, VocabularyConfig};
use jtav_training::{AudioConfig, FusionConfig, ImageConfig, JointConfig, Optimisation, TextConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::dataset;
use crate::decode::served_audio_seconds;
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
    /// All four networks fine-tuned together on posts, kept if they do better on validation. Runs only where it is
    /// asked for.
    Joint,
}

impl Stage {
    /// The four of a staged training, in the order in which they run.
    pub const ALL: [Stage; 4] = [Stage::Text, Stage::Audio, Stage::Image, Stage::Fusion];

    /// `text`, `audio`, `image`, `fusion` or `joint`.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Text => "text",
            Stage::Audio => "audio",
            Stage::Image => "image",
            Stage::Fusion => "fusion",
            Stage::Joint => "joint",
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
        let stage = Self::ALL.into_iter().chain([Self::Joint]).find(|stage| stage.name() == text);
        stage.ok_or_else(|| format!("stage `{text}`: use text, audio, image, fusion or joint"))
    }
}

/// Network family, named by a checkpoint (ADR 42).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckpointProfile {
    /// The one that serves.
    #[default]
    Modern,
}

impl CheckpointProfile {
    /// As the manifest names it.
    pub fn name(self) -> &'static str {
        match self {
            CheckpointProfile::Modern => "modern",
        }
    }
}

impl FromStr for CheckpointProfile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "modern" => Ok(Self::Modern),
            _ => Err(format!("profile `{text}` cannot be trained; use modern")),
        }
    }
}

/// Where decoded features are kept unless another folder is named.
pub const DEFAULT_CACHE_DIR: &str = ".cache/features";

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
    pub profile: CheckpointProfile,
    /// Steps to run; the others are read from `work_dir`.
    pub stages: BTreeSet<Stage>,
    /// Folder of a checkpoint whose audio and image networks are kept as they are, trained on the same posts. The
    /// stages `audio` and `image` are then not run.
    pub keep_media: Option<PathBuf>,
    /// Seconds from the start of a clip that the networks are given; the checkpoint says so to whoever uses it. Where
    /// networks are kept, theirs count.
    pub max_audio_seconds: u32,
    /// Epochs, patience and step size of the text network.
    pub text_plan: FitPlan,
    /// The same of the audio network.
    pub audio_plan: FitPlan,
    /// The same of the image network.
    pub image_plan: FitPlan,
    /// The same of the fusion.
    pub fusion_plan: FitPlan,
    /// The same of the joint stage; the step size is far below those of the others.
    pub joint_plan: FitPlan,
    /// Size of the embedding table.
    pub vocabulary: VocabularyConfig,
    /// Regularisation of the text network.
    pub text: TextConfig,
    /// Augmentation and regularisation of the audio network.
    pub audio: AudioConfig,
    /// Resolution, augmentation and regularisation of the image network. In f32: on a processor without bf16
    /// instructions, bf16 is emulated and many times slower.
    pub image: ImageConfig,
    /// Modality dropout and regularisation of the fusion.
    pub fusion: FusionConfig,
    /// Modality dropout, regularisation and losses of the joint stage.
    pub joint: JointConfig,
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
    /// Go on where a killed run with the same settings stood: finished stages and epochs are taken from `work_dir`.
    pub resume: bool,
    /// The command line, for the model card.
    pub command: String,
    /// What else the model card has to say of this run, one paragraph each: what was tried, what went wrong.
    pub notes: Vec<String>,
}

impl TrainOptions {
    /// The settings of the bundled checkpoint, for the pack in `data`, written to `out`.
    pub fn new(data: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            out: out.into(),
            work_dir: ".cache/train".into(),
            cache_dir: DEFAULT_CACHE_DIR.into(),
            profile: CheckpointProfile::Modern,
            stages: Stage::ALL.into_iter().collect(),
            keep_media: None,
            max_audio_seconds: served_audio_seconds(),
            text_plan: FitPlan { epochs: 4, patience: 2, learning_rate: 1.5e-3 },
            audio_plan: FitPlan { epochs: 12, patience: 6, learning_rate: 1e-3 },
            image_plan: FitPlan { epochs: 12, patience: 5, learning_rate: 1e-3 },
            fusion_plan: FitPlan { epochs: 12, patience: 5, learning_rate: 1e-3 },
            joint_plan: FitPlan { epochs: 4, patience: 2, learning_rate: 1e-4 },
            vocabulary: VocabularyConfig::default(),
            text: text_settings(),
            audio: AudioConfig::default(),
            image: image_settings(),
            fusion: FusionConfig::default(),
            joint: JointConfig::default(),
            seed: 20,
            device: DeviceChoice::Auto,
            decode_threads: 2,
            score_test: true,
            quick: false,
            resume: false,
            command: "jtav train".to_owned(),
            notes: Vec::new(),
        }
    }

    /// Changes one setting by name, for `--set KEY=VALUE`: `text.dropout`, `image.optimisation.batch_size`,
    /// `audio.plan.epochs`, `fusion.plan.learning_rate`, in general a field of [`text`](Self::text) and its
    /// siblings or of their plans. The value is JSON.
    ///
    /// # Errors
    /// A stage or field that does not exist, a value of another type.
    pub fn set(&mut self, key: &str, value: &str) -> anyhow::Result<()> {
        let (stage, field) = key.split_once('.').ok_or_else(|| anyhow::anyhow!("`{key}`: expected STAGE.FIELD"))?;
        let stage = stage.parse::<Stage>().map_err(anyhow::Error::msg)?;
        let value: serde_json::Value = serde_json::from_str(value).map_err(|e| anyhow::anyhow!("`{value}`: {e}"))?;
        match (stage, field.strip_prefix("plan.")) {
            (Stage::Text, Some(field)) => change(&mut self.text_plan, field, value),
            (Stage::Audio, Some(field)) => change(&mut self.audio_plan, field, value),
            (Stage::Image, Some(field)) => change(&mut self.image_plan, field, value),
            (Stage::Fusion, Some(field)) => change(&mut self.fusion_plan, field, value),
            (Stage::Joint, Some(field)) => change(&mut self.joint_plan, field, value),
            (Stage::Text, None) => change(&mut self.text, field, value),
            (Stage::Audio, None) => change(&mut self.audio, field, value),
            (Stage::Image, None) => change(&mut self.image, field, value),
            (Stage::Fusion, None) => change(&mut self.fusion, field, value),
            (Stage::Joint, None) => change(&mut self.joint, field, value),
        }
        .map_err(|error| error.context(format!("setting `{key}`")))
    }

    pub fn plan(&self, stage: Stage) -> FitPlan {
        let plan = match stage {
            Stage::Text => self.text_plan,
            Stage::Audio => self.audio_plan,
            Stage::Image => self.image_plan,
            Stage::Fusion => self.fusion_plan,
            Stage::Joint => self.joint_plan,
        };
        if self.quick { FitPlan { epochs: 1, ..plan } } else { plan }
    }

    /// Most training examples of one stage.
    pub(crate) fn example_limit(&self) -> usize {
        if self.quick { 128 } else { usize::MAX }
    }

    /// The data pack's folder: `data` itself, else `data` inside `$JTAV_DATA_DIR`.
    pub fn resolve_data(&self) -> anyhow::Result<PathBuf> {
        resolve_data(&self.data)
    }
}

/// The folder of a data pack: `data` itself, else `data` inside `$JTAV_DATA_DIR`.
///
/// # Errors
/// Neither is a pack of any layout; the message names both.
pub fn resolve_data(data: &Path) -> anyhow::Result<PathBuf> {
    let data_dir = std::env::var_os("JTAV_DATA_DIR").map(PathBuf::from);
    resolve(data, data_dir.as_deref())
}

/// About ten thousand short texts: without this much noise the network knows them by heart after three epochs.
fn text_settings() -> TextConfig {
    let defaults = TextConfig::default();
    let optimisation =
        Optimisation { batch_size: 64, label_smoothing: 0.1, weight_decay: 0.05, ..defaults.optimisation };
    TextConfig { optimisation, dropout: 0.5, word_dropout: 0.2, word_row_dropout: 0.2, bag_penalty: 3.0, ..defaults }
}

/// A few hundred pictures and no pretrained weights: resolution is not what is missing, so it is kept low for speed,
/// in training and in service.
fn image_settings() -> ImageConfig {
    let defaults = ImageConfig::default();
    let optimisation = Optimisation { label_smoothing: 0.1, weight_decay: 0.05, ..defaults.optimisation };
    ImageConfig { optimisation, train_resolution: 96, serve_resolution: 128, min_crop: 0.6, bf16: false, ..defaults }
}

/// Sets the field at a dotted path and reads the whole back, so that serde checks name and type.
fn change<T: Serialize + DeserializeOwned>(
    settings: &mut T,
    path: &str,
    value: serde_json::Value,
) -> anyhow::Result<()> {
    let mut whole = serde_json::to_value(&*settings)?;
    let mut place = &mut whole;
    for name in path.split('.') {
        let known: Vec<String> = place.as_object().map_or_else(Vec::new, |fields| fields.keys().cloned().collect());
        place =
            place.get_mut(name).ok_or_else(|| anyhow::anyhow!("no field `{name}`; there are {}", known.join(", ")))?;
    }
    *place = value;
    *settings = serde_json::from_value(whole)?;
    Ok(())
}

fn resolve(data: &Path, data_dir: Option<&Path>) -> anyhow::Result<PathBuf> {
    let named = data_dir.map(|folder| folder.join(data));
    let candidates = [Some(data.to_owned()), named];
    let found = candidates.iter().flatten().find(|folder| dataset::layout(folder).is_some());
    found.cloned().ok_or_else(|| {
        let looked: Vec<String> = candidates.iter().flatten().map(|folder| folder.display().to_string()).collect();
        let hint = if data_dir.is_none() { " (JTAV_DATA_DIR is not set)" } else { "" };
        let [posts, others @ ..] = dataset::LAYOUTS;
        anyhow::anyhow!(
            "no {posts} in {}{hint}, nor {} (docs/data-packs.md)",
            looked.join(" nor in "),
            others.join(" or ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_and_profiles_survive_their_text_form() {
        for stage in Stage::ALL.into_iter().chain([Stage::Joint]) {
            assert_eq!(stage.to_string().parse::<Stage>(), Ok(stage));
        }
        assert!("video".parse::<Stage>().unwrap_err().contains("text, audio, image, fusion or joint"));
        assert_eq!("modern".parse::<CheckpointProfile>(), Ok(CheckpointProfile::Modern));
        assert!("paper".parse::<CheckpointProfile>().is_err());
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
    fn a_setting_is_changed_by_name_and_a_wrong_one_names_the_right_ones() {
        let mut options = TrainOptions::new("pack", "out");
        options.set("text.dropout", "0.25").unwrap();
        options.set("audio.plan.epochs", "3").unwrap();
        options.set("image.optimisation.batch_size", "8").unwrap();
        options.set("joint.auxiliary", "0.1").unwrap();
        options.set("joint.plan.learning_rate", "1e-5").unwrap();
        assert_eq!((options.joint.auxiliary, options.joint_plan.learning_rate), (0.1, 1e-5));
        assert_eq!((options.text.dropout, options.audio_plan.epochs), (0.25, 3));
        assert_eq!(options.image.optimisation.batch_size, 8);
        let message = |key, value| format!("{:#}", options.clone().set(key, value).unwrap_err());
        assert!(message("text.dropuot", "1").contains("there are optimisation, "));
        assert!(message("text.plan.epochs", "\"x\"").contains("setting `text.plan.epochs`"));
        assert!(message("video.dropout", "1").contains("use text, audio, image, fusion or joint"));
        assert!(message("dropout", "1").contains("expected STAGE.FIELD"));
    }

    #[test]
    fn a_quick_run_is_one_epoch_of_everything() {
        let mut options = TrainOptions::new("pack", "out");
        assert!(Stage::ALL.into_iter().all(|stage| options.plan(stage).epochs > 1));
        options.quick = true;
        assert!(Stage::ALL.into_iter().all(|stage| options.plan(stage).epochs == 1));
    }
}
