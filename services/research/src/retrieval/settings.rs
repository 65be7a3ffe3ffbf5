//! What the networks of image2song read, how wide they are and how they are trained (docs/networks.md, "Retrieval").

use jtav_model::{DeviceChoice, ModelError};
use jtav_training::{Optimisation, UpdateRule, check_share};
use serde::{Deserialize, Serialize};

use crate::zoo::Profile;

/// What a network reads: the rows of the paper's figures 5 and 6. Every one reads the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetrievalInputs {
    /// I+L: picture and lyrics.
    ImageLyrics,
    /// I+C+L: the caption gates the lyrics.
    ImageCaptionLyrics,
    /// I+S: picture and sound.
    ImageAudio,
    /// I+C+S: three pairs of picture, caption and sound.
    ImageCaptionAudio,
    /// JTAV: three pairs of picture, lyrics gated by the caption, and sound.
    All,
}

impl RetrievalInputs {
    /// Whether captions are read.
    pub fn caption(self) -> bool {
        matches!(self, Self::ImageCaptionLyrics | Self::ImageCaptionAudio | Self::All)
    }

    /// Whether lyrics are read.
    pub fn lyrics(self) -> bool {
        matches!(self, Self::ImageLyrics | Self::ImageCaptionLyrics | Self::All)
    }

    /// Whether sound is read.
    pub fn audio(self) -> bool {
        matches!(self, Self::ImageAudio | Self::ImageCaptionAudio | Self::All)
    }
}

/// Values of each vector; those of parts that are not read are not looked at. `caption` is 0 for data without captions,
/// which JTAV reads with its gate at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetrievalWidths {
    /// Picture.
    pub image: usize,
    pub caption: usize,
    pub lyrics: usize,
    /// Sound.
    pub audio: usize,
}

impl RetrievalWidths {
    pub(super) fn reads_captions(&self, inputs: RetrievalInputs) -> bool {
        inputs.caption() && self.caption > 0
    }

    pub(super) fn check(&self, inputs: RetrievalInputs) -> Result<(), ModelError> {
        let needed = [
            ("image", true, self.image),
            ("lyrics", inputs.lyrics(), self.lyrics),
            ("audio", inputs.audio(), self.audio),
            ("caption", inputs.caption() && inputs != RetrievalInputs::All, self.caption),
        ];
        match needed.into_iter().find(|(_, is_read, width)| *is_read && *width == 0) {
            Some((name, ..)) => Err(ModelError::Configuration(format!("{inputs:?} reads {name} vectors of no value"))),
            None => Ok(()),
        }
    }
}

/// How a network is trained and how wide it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrievalSettings {
    /// Step size, batch (in true pairs) and loss.
    pub optimisation: Optimisation,
    /// The rule that turns gradients into steps.
    pub rule: UpdateRule,
    /// Where to train (not part of the recorded settings).
    #[serde(skip)]
    pub device: DeviceChoice,
    /// Units of the dense layer of each part.
    pub width: usize,
    /// Width k of CMF-AP's attention.
    pub attention: usize,
    /// Values of a tower's vector.
    pub embedding: usize,
    /// Dropout before the last unit (`paper`) and inside the towers.
    pub dropout: f64,
}

impl RetrievalSettings {
    /// The joint scorer as its source has it. `authors-code`: 300 units, k = 300, RMSprop at 1e-3 except Adam for I+C+S
    /// (docs/networks.md, "Retrieval"). `paper`, which leaves sizes and step open: 100 units and k = 100, as for sentiment,
    /// Adam at 1e-3.
    pub fn joint(profile: Profile, inputs: RetrievalInputs) -> Self {
        const KERAS_EPSILON: f64 = 1e-7;
        let optimisation = |batch_size: usize| Optimisation {
            batch_size,
            weight_decay: 0.0,
            clip_norm: 0.0,
            learning_rate: 1e-3,
            ..Optimisation::default()
        };
        let adam = UpdateRule::Adam { epsilon: KERAS_EPSILON };
        let common = Self {
            optimisation: optimisation(32),
            rule: adam,
            device: DeviceChoice::Auto,
            width: 100,
            attention: 100,
            embedding: 64,
            dropout: 0.2,
        };
        if profile == Profile::Paper {
            return common;
        }
        let (rule, batch_size) = match inputs {
            RetrievalInputs::ImageLyrics | RetrievalInputs::ImageCaptionLyrics => (None, 192),
            RetrievalInputs::ImageAudio => (None, 256),
            RetrievalInputs::ImageCaptionAudio => (Some(adam), 32),
            RetrievalInputs::All => (None, 32),
        };
        let rule = rule.unwrap_or(UpdateRule::RmsProp { epsilon: KERAS_EPSILON });
        Self { optimisation: optimisation(batch_size), rule, width: 300, attention: 300, ..common }
    }

    /// The two towers, which neither source has. A large batch, since its other songs are the
    /// negatives.
    pub fn two_tower() -> Self {
        let joint = Self::joint(Profile::Paper, RetrievalInputs::All);
        let optimisation = Optimisation { batch_size: 128, weight_decay: 1e-2, ..joint.optimisation };
        Self { optimisation, width: 128, dropout: 0.3, ..joint }
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        check_share("dropout", self.dropout)?;
        for (name, value) in [("width", self.width), ("attention", self.attention), ("embedding", self.embedding)] {
            if !(1..=4096).contains(&value) {
                return Err(ModelError::Configuration(format!("{name} is {value}, expected 1 to 4096")));
            }
        }
        Ok(())
    }
}
