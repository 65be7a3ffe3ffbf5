//! What a training run is told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jtav_model::{DeviceChoice, LIGHT, MODERN};
use jtav_training::{AudioConfig, FusionConfig, TextConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::dataset;
use crate::decode::served_audio_seconds;
use crate::fit::FitPlan;

/// One step of a run. A step that is left out is taken from the work folder, where an earlier run kept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// attBiGRU on its words' vectors.
    Text,
    /// DCRNN, and regressions over the statistics of clips.
    Audio,
    /// A head on a backbone that was trained on ImageNet.
    Image,
    /// CMF-AP on the frozen vectors of the three, calibration, evaluation, checkpoint.
    Fusion,
}

impl Stage {
    /// All of them, in the order in which they run.
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

/// Network family, named by a checkpoint (ADR 42).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckpointProfile {
    /// Words are read by a sentence encoder.
    #[default]
    Modern,
    /// Words are looked up in its table, a bag of n-grams beside them.
    Light,
}

impl CheckpointProfile {
    /// As the manifest names it.
    pub fn name(self) -> &'static str {
        match self {
            CheckpointProfile::Modern => MODERN,
            CheckpointProfile::Light => LIGHT,
        }
    }
}

impl FromStr for CheckpointProfile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let profile = [Self::Modern, Self::Light].into_iter().find(|profile| profile.name() == text);
        profile.ok_or_else(|| format!("profile `{text}` cannot be trained; use {MODERN} or {LIGHT}"))
    }
}

/// Name of the file of rated texts in a pack or beside it.
pub const RATED_TEXTS: &str = "rated-texts.jsonl";

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
    /// Texts with their raters' votes, which the text network learns from. None for [`RATED_TEXTS`] in the pack's folder or
    /// beside it; where that is not there either, the pack's own texts with its labels.
    pub rated_texts: Option<PathBuf>,
    /// Weights of DenseNet-121 by torchvision's names, in place of EfficientNet-Lite0; the checkpoint holds a copy.
    pub image_weights: Option<PathBuf>,
    /// Folder with base weights that is looked at before the usual places.
    pub weights: Option<PathBuf>,
    /// Seconds from the start of a clip that the networks are given; the checkpoint says so to whoever uses it.
    pub max_audio_seconds: u32,
    /// Epochs and step size of the text network; it has no patience, all epochs are run.
    pub text_plan: FitPlan,
    /// The same of the audio network.
    pub audio_plan: FitPlan,
    /// The same of the fusion.
    pub fusion_plan: FitPlan,
    /// Regularisation of the text network.
    pub text: TextConfig,
    /// Augmentation and regularisation of the audio network.
    pub audio: AudioConfig,
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
            rated_texts: None,
            image_weights: None,
            weights: None,
            max_audio_seconds: served_audio_seconds(),
            text_plan: FitPlan { epochs: 7, patience: 7, learning_rate: 2e-3 },
            audio_plan: FitPlan { epochs: 12, patience: 6, learning_rate: 1e-3 },
            fusion_plan: FitPlan { epochs: 12, patience: 5, learning_rate: 1e-3 },
            text: TextConfig::default(),
            audio: AudioConfig::default(),
            fusion: FusionConfig::default(),
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

    /// Changes one setting by name, for `--set KEY=VALUE`: `text.dropout`, `audio.optimisation.batch_size`,
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
            (Stage::Fusion, Some(field)) => change(&mut self.fusion_plan, field, value),
            (Stage::Text, None) => change(&mut self.text, field, value),
            (Stage::Audio, None) => change(&mut self.audio, field, value),
            (Stage::Fusion, None) => change(&mut self.fusion, field, value),
            (Stage::Image, _) => Err(anyhow::anyhow!("the image network is fitted in closed form and has no settings")),
        }
        .map_err(|error| error.context(format!("setting `{key}`")))
    }

    /// How long and how fast a stage is trained; the image network, which has no epochs, goes once over its pictures.
    pub fn plan(&self, stage: Stage) -> FitPlan {
        let plan = match stage {
            Stage::Text => self.text_plan,
            Stage::Audio => self.audio_plan,
            Stage::Image => FitPlan { epochs: 1, patience: 1, learning_rate: 0.0 },
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
        resolve_data(&self.data)
    }

    /// The file of rated texts for a pack in this folder; none where no place has one.
    ///
    /// # Errors
    /// One that was asked for and is not there.
    pub fn resolve_rated_texts(&self, pack: &Path) -> anyhow::Result<Option<PathBuf>> {
        if let Some(path) = &self.rated_texts {
            anyhow::ensure!(path.is_file(), "--rated-texts {}: no such file (docs/data-packs.md)", path.display());
            return Ok(Some(path.clone()));
        }
        let places = [Some(pack), pack.parent()].into_iter().flatten();
        Ok(places.map(|folder| folder.join(RATED_TEXTS)).find(|path| path.is_file()))
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
        for stage in Stage::ALL {
            assert_eq!(stage.to_string().parse::<Stage>(), Ok(stage));
        }
        assert!("video".parse::<Stage>().unwrap_err().contains("text, audio, image or fusion"));
        for profile in [CheckpointProfile::Modern, CheckpointProfile::Light] {
            assert_eq!(profile.name().parse::<CheckpointProfile>(), Ok(profile));
        }
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
        options.set("audio.optimisation.batch_size", "8").unwrap();
        assert_eq!((options.text.dropout, options.audio_plan.epochs), (0.25, 3));
        assert_eq!(options.audio.optimisation.batch_size, 8);
        let message = |key, value| format!("{:#}", options.clone().set(key, value).unwrap_err());
        assert!(message("text.dropuot", "1").contains("there are optimisation, "));
        assert!(message("text.plan.epochs", "\"x\"").contains("setting `text.plan.epochs`"));
        assert!(message("video.dropout", "1").contains("use text, audio, image or fusion"));
        assert!(message("dropout", "1").contains("expected STAGE.FIELD"));
        assert!(message("image.dropout", "1").contains("closed form"));
    }

    #[test]
    fn rated_texts_are_found_in_a_pack_or_beside_it_and_the_ones_that_were_asked_for_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let pack = folder.path().join("pack");
        std::fs::create_dir(&pack).unwrap();
        let mut options = TrainOptions::new(&pack, "out");
        let found = |options: &TrainOptions| options.resolve_rated_texts(&pack).unwrap();
        assert_eq!(found(&options), None);
        for place in [folder.path(), pack.as_path()] {
            std::fs::write(place.join(RATED_TEXTS), "").unwrap();
            assert_eq!(found(&options), Some(place.join(RATED_TEXTS)), "the pack's own come first");
        }
        options.rated_texts = Some("nowhere.jsonl".into());
        assert!(options.resolve_rated_texts(&pack).unwrap_err().to_string().contains("--rated-texts nowhere.jsonl"));
    }

    #[test]
    fn a_quick_run_is_one_epoch_of_everything() {
        let mut options = TrainOptions::new("pack", "out");
        assert!(Stage::ALL.into_iter().all(|stage| stage == Stage::Image || options.plan(stage).epochs > 1));
        options.quick = true;
        assert!(Stage::ALL.into_iter().all(|stage| options.plan(stage).epochs == 1));
    }
}
