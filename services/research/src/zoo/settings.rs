//! How a network of the zoo is trained.

use jtav_model::{DeviceChoice, IMAGE_SIDE, ModelError, Standardisation};
use jtav_training::{Optimisation, UpdateRule, check_share};
use serde::{Deserialize, Serialize};

use crate::zoo::architecture::{Architecture, DcrnnForm, Profile};

/// Which part of an image network moves; the rest keeps its weights and its running statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FineTuning {
    /// The head alone: the first stage.
    #[default]
    Head,
    /// The head and the last block of the backbone (conv5, fc6 and fc7 of VGG-19): the second stage.
    LastBlock,
    /// Everything, for a backbone from scratch; running statistics move too.
    All,
}

/// Settings of a [`Trainer`](super::Trainer).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Step size, batch and loss.
    pub optimisation: Optimisation,
    /// The rule that turns gradients into steps.
    pub rule: UpdateRule,
    /// Where to train (not part of the recorded settings).
    #[serde(skip)]
    pub device: DeviceChoice,
    /// Dropout where the network has any: inside the `authors-code` text networks and before the heads of fusions.
    pub dropout: f64,
    /// Text: probability that the supporting parts are left out, so that posts without any are trained too.
    pub caption_dropout: f64,
    /// Fusions: probability that a present modality is hidden; the last one that is read never is.
    pub modality_dropout: f64,
    /// Audio: statistics of the training clips; needed by the audio networks.
    pub standardisation: Option<Standardisation>,
    /// Images: which part moves.
    pub fine_tuning: FineTuning,
    /// Images: side in pixels at which the network looks at a picture, a multiple of 32 up to 224 (the paper's).
    pub resolution: usize,
    /// Images: random crops of 0.8 to 1 of the side and mirror images in training.
    pub augment: bool,
}

impl Settings {
    /// What docs/networks.md, "Training" lists for this network: RMSprop for the authors' encoders, Adam elsewhere;
    /// nothing that the sources do not have (weight decay, clipping, class weights). Captions are dropped at 0.1; a
    /// hidden modality is left to the caller because the sources train on whole posts.
    pub fn of(architecture: &Architecture) -> Self {
        const KERAS_EPSILON: f64 = 1e-7;
        let authors = matches!(
            architecture,
            Architecture::BiGru { profile: Profile::AuthorsCode, .. }
                | Architecture::AttBiGru { profile: Profile::AuthorsCode, .. }
                | Architecture::Dcrnn { form: DcrnnForm::AuthorsCode, .. }
        );
        let rule = match authors {
            true => UpdateRule::RmsProp { epsilon: KERAS_EPSILON },
            false => UpdateRule::Adam { epsilon: KERAS_EPSILON },
        };
        let three = |widths: &super::Widths| widths.modalities().count() == 3;
        let (learning_rate, batch_size) = match architecture {
            Architecture::EarlyFusion { widths } if three(widths) => (5e-3, 64),
            Architecture::CmfAp { profile: Profile::AuthorsCode, widths, .. } if three(widths) => (3e-3, 64),
            _ => (1e-3, 32),
        };
        let dropout = match architecture {
            Architecture::BiGru { profile, .. } | Architecture::AttBiGru { profile, .. } => match profile {
                Profile::Paper => 0.0,
                Profile::AuthorsCode => 0.2,
            },
            Architecture::CmfAp { .. } => 0.2,
            _ => 0.0,
        };
        Self {
            optimisation: Optimisation {
                learning_rate,
                batch_size,
                weight_decay: 0.0,
                clip_norm: 0.0,
                ..Optimisation::default()
            },
            rule,
            device: DeviceChoice::Auto,
            dropout,
            caption_dropout: 0.1,
            modality_dropout: 0.0,
            standardisation: None,
            fine_tuning: FineTuning::Head,
            resolution: IMAGE_SIDE,
            augment: true,
        }
    }

    pub(super) fn check(&self, architecture: &Architecture) -> Result<(), ModelError> {
        for (name, share) in [
            ("dropout", self.dropout),
            ("caption_dropout", self.caption_dropout),
            ("modality_dropout", self.modality_dropout),
        ] {
            check_share(name, share)?;
        }
        if !self.resolution.is_multiple_of(32) || !(32..=IMAGE_SIDE).contains(&self.resolution) {
            return Err(ModelError::Configuration(format!(
                "resolution is {}, expected a multiple of 32 from 32 to {}",
                self.resolution, IMAGE_SIDE
            )));
        }
        let hears = matches!(architecture, Architecture::Dcrnn { .. } | Architecture::ConvNet);
        match &self.standardisation {
            Some(standardisation) => standardisation.check(),
            None if hears => Err(ModelError::Configuration(format!(
                "{} needs `standardisation`: fit it on the training clips with Standardisation::fit",
                architecture.name()
            ))),
            None => Ok(()),
        }
    }
}
