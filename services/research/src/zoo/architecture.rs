//! Which network, in which form.

use jtav_model::{Modality, ModelError};
use serde::{Deserialize, Serialize};

/// Which of the two descriptions of JTAV a network follows; they disagree in most details (docs/networks.md, F6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// The paper's equations, gaps filled as in docs/networks.md.
    Paper,
    /// The authors' published code.
    AuthorsCode,
}

impl Profile {
    /// `paper` or `authors-code`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::AuthorsCode => "authors-code",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DcrnnForm {
    /// Dense blocks as in the authors' code, two wide recurrent layers.
    AuthorsCode,
    /// The paper, equation 2; the pools of units 1 to 3 have stride 1, so that A1 and A3 fit.
    Paper,
    /// The same with pools that halve; A1 is pooled down to the size of A3 before the two are joined.
    PaperPooled,
}

impl DcrnnForm {
    /// `authors-code`, `paper` or `paper-pooled`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthorsCode => "authors-code",
            Self::Paper => "paper",
            Self::PaperPooled => "paper-pooled",
        }
    }
}

/// An image network that others have published, up to its last feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backbone {
    /// VGG-19 without batch normalisation (Simonyan and Zisserman 2015), up to fc7.
    Vgg19,
    /// ResNet-101 with the stride in the 3 x 3 convolution, as torchvision has it (He et al. 2016).
    ResNet101,
    /// DenseNet-121 (Huang et al. 2017).
    DenseNet121,
}

impl Backbone {
    /// `vgg-19`, `resnet-101` or `densenet-121`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vgg19 => "vgg-19",
            Self::ResNet101 => "resnet-101",
            Self::DenseNet121 => "densenet-121",
        }
    }

    /// Values of the last feature: 4096, 2048 or 1024.
    pub fn features(self) -> usize {
        match self {
            Self::Vgg19 => 4096,
            Self::ResNet101 => 2048,
            Self::DenseNet121 => 1024,
        }
    }
}

/// Values of each modality's vector; `None` for a modality that a fusion does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Widths {
    /// Text vector.
    pub text: Option<usize>,
    /// Audio vector.
    pub audio: Option<usize>,
    /// Image vector.
    pub image: Option<usize>,
}

impl Widths {
    /// All three modalities.
    pub fn all(text: usize, audio: usize, image: usize) -> Self {
        Self { text: Some(text), audio: Some(audio), image: Some(image) }
    }

    /// The width of one modality.
    pub fn of(&self, modality: Modality) -> Option<usize> {
        match modality {
            Modality::Text => self.text,
            Modality::Audio => self.audio,
            Modality::Image => self.image,
        }
    }

    /// Modalities that are read, in the usual order.
    pub fn modalities(&self) -> impl Iterator<Item = (Modality, usize)> + '_ {
        Modality::ALL.into_iter().filter_map(|modality| Some((modality, self.of(modality)?)))
    }

    /// The names of the modalities, joined by `+`.
    pub fn names(&self) -> String {
        self.modalities().map(|(modality, _)| modality.name()).collect::<Vec<_>>().join("+")
    }
}

/// A network of the zoo. Every one ends in one sentiment logit and has a feature vector before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "network", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Architecture {
    /// The text network without the captions' gate (docs/networks.md, "Text without gate").
    BiGru {
        profile: Profile,
        /// Values of a word vector; 300 in the paper.
        dimension: usize,
    },
    /// The text network of JTAV (docs/networks.md, "Text"). Vector: 100 values in `paper`, 300 in `authors-code`.
    AttBiGru {
        profile: Profile,
        /// Values of a word vector; 300 in the paper.
        dimension: usize,
    },
    /// lyricsHAN (Tsaptsinos 2017, after Yang et al. 2016): attention over the words of a line, then over lines.
    LyricsHan {
        /// Values of a word vector.
        dimension: usize,
    },
    /// DCRNN on a constant-Q or mel spectrogram (docs/networks.md, "Audio").
    Dcrnn {
        form: DcrnnForm,
        /// Values of the vector: 100 for sentiment, 300 for retrieval.
        vector: usize,
    },
    /// Five convolutions on a mel spectrogram whose averages are joined, 160 values (Choi et al. 2017), from scratch:
    /// the published weights of its tagger are not at hand.
    ConvNet,
    /// A published backbone with a dense head (docs/networks.md, "Image").
    Image {
        backbone: Backbone,
        /// Values of the vector: 100 in `paper`, 300 in `authors-code`.
        vector: usize,
    },
    /// Concatenated vectors and a logistic regression (docs/networks.md, "Beside CMF-AP"). An absent vector counts as
    /// zeros.
    EarlyFusion {
        /// What is joined; one modality or more.
        widths: Widths,
    },
    /// CMF-AP over each pair of two or three modalities (docs/networks.md, "Fusion"). A pair with an absent side is
    /// replaced by a learned vector.
    CmfAp {
        profile: Profile,
        /// What is fused; two modalities or three.
        widths: Widths,
        /// Attention width `k`: 100, for retrieval 300. `paper` reduces to 100 values whatever it is.
        attention: usize,
    },
    /// Low-rank multimodal fusion (Liu et al. 2018). An absent vector leaves all terms without it.
    LowRank {
        /// What is fused; one modality or more.
        widths: Widths,
        /// Rank of the factors; 4.
        rank: usize,
        /// Values of the fused vector; 64.
        hidden: usize,
    },
}

/// The largest width that is believed; a slip of the pen must not ask for terabytes.
const MAX_WIDTH: usize = 8192;

impl Architecture {
    /// A short name, the first part of the names of its tensors and unlike that of any other network.
    pub fn name(&self) -> String {
        match self {
            Self::BiGru { profile, .. } => format!("bigru-{}", profile.name()),
            Self::AttBiGru { profile, .. } => format!("attbigru-{}", profile.name()),
            Self::LyricsHan { .. } => "lyricshan".to_owned(),
            Self::Dcrnn { form, .. } => format!("dcrnn-{}", form.name()),
            Self::ConvNet => "convnet".to_owned(),
            Self::Image { backbone, .. } => format!("f-{}", backbone.name()),
            Self::EarlyFusion { widths } => format!("early-fusion-{}", widths.names()),
            Self::CmfAp { profile, widths, .. } => format!("cmf-ap-{}-{}", profile.name(), widths.names()),
            Self::LowRank { widths, .. } => format!("low-rank-{}", widths.names()),
        }
    }

    /// Refuses sizes that no network can have.
    pub(super) fn check(&self) -> Result<(), ModelError> {
        let sizes: Vec<(&str, usize)> = match self {
            Self::BiGru { dimension, .. } | Self::AttBiGru { dimension, .. } | Self::LyricsHan { dimension } => {
                vec![("dimension", *dimension)]
            }
            Self::Dcrnn { vector, .. } | Self::Image { vector, .. } => vec![("vector", *vector)],
            Self::ConvNet | Self::EarlyFusion { .. } => Vec::new(),
            Self::CmfAp { attention, .. } => vec![("attention", *attention)],
            Self::LowRank { rank, hidden, .. } => vec![("rank", *rank), ("hidden", *hidden)],
        };
        let (least, widths) = match self {
            Self::EarlyFusion { widths } | Self::LowRank { widths, .. } => (1, Some(widths)),
            Self::CmfAp { widths, .. } => (2, Some(widths)),
            _ => (0, None),
        };
        let widths: Vec<(&str, usize)> =
            widths.iter().flat_map(|widths| widths.modalities()).map(|(m, width)| (m.name(), width)).collect();
        if widths.len() < least {
            return Err(ModelError::Configuration(format!(
                "{} reads {} modalities, at least {least} must have a width",
                self.name(),
                widths.len()
            )));
        }
        match sizes.iter().chain(&widths).find(|(_, size)| !(1..=MAX_WIDTH).contains(size)) {
            Some((name, size)) => Err(ModelError::Configuration(format!(
                "{}: `{name}` is {size}, expected 1 to {MAX_WIDTH}",
                self.name()
            ))),
            None => Ok(()),
        }
    }
}

/// A row of the paper's Table 1 whose approach is a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRow {
    /// `text`, `text+audio` and so on.
    pub modalities: String,
    /// The row's name in the paper.
    pub approach: &'static str,
    /// The network; for the two DCRNN rows it is the same one, on mel and on constant-Q spectrograms.
    pub architecture: Architecture,
}

/// The rows of Table 1 from lyricsHAN to JTAV in the paper's order, with word vectors of 300 values. Two rows are not
/// here because no network is trained for them: doc2vec and MFCC end in a logistic regression on fixed features.
///
/// The vectors that are fused have the widths of the profile: text 100, audio 100 and image 100 in `paper`; 300, 100
/// and the 1024 pooled values of DenseNet-121 in `authors-code` (docs/networks.md, "Fusion").
pub fn table_1(profile: Profile) -> Vec<TableRow> {
    let dimension = 300;
    let (form, vector, widths) = match profile {
        Profile::Paper => (DcrnnForm::Paper, 100, Widths::all(100, 100, 100)),
        Profile::AuthorsCode => (DcrnnForm::AuthorsCode, 300, Widths::all(300, 100, 1024)),
    };
    let row = |modalities: &str, approach, architecture| TableRow {
        modalities: modalities.to_owned(),
        approach,
        architecture,
    };
    let dcrnn = Architecture::Dcrnn { form, vector: 100 };
    let image = |backbone| Architecture::Image { backbone, vector };
    let mut rows = vec![
        row("text", "lyricsHAN", Architecture::LyricsHan { dimension }),
        row("text", "BiGRU", Architecture::BiGru { profile, dimension }),
        row("text", "attBiGRU", Architecture::AttBiGru { profile, dimension }),
        row("audio", "convnet", Architecture::ConvNet),
        row("audio", "DCRNN-MelS", dcrnn),
        row("audio", "DCRNN-CQT", dcrnn),
        row("image", "F-VGG", image(Backbone::Vgg19)),
        row("image", "F-ResNet", image(Backbone::ResNet101)),
        row("image", "F-DenseNet", image(Backbone::DenseNet121)),
    ];
    let fused =
        [Widths { image: None, ..widths }, Widths { audio: None, ..widths }, Widths { text: None, ..widths }, widths];
    for widths in fused {
        rows.push(row(&widths.names(), "early fusion", Architecture::EarlyFusion { widths }));
        rows.push(row(&widths.names(), "CMF-AP", Architecture::CmfAp { profile, widths, attention: 100 }));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_1_has_seventeen_rows_that_are_networks() {
        for profile in [Profile::Paper, Profile::AuthorsCode] {
            let rows = table_1(profile);
            assert_eq!(rows.len(), 19 - 2);
            assert_eq!((rows[16].modalities.as_str(), rows[16].approach), ("text+audio+image", "CMF-AP"));
            assert!(rows.iter().all(|row| row.architecture.check().is_ok()));
        }
    }

    #[test]
    fn an_architecture_survives_its_text_form() {
        for row in table_1(Profile::AuthorsCode) {
            let text = serde_json::to_string(&row.architecture).unwrap();
            assert_eq!(serde_json::from_str::<Architecture>(&text).unwrap(), row.architecture, "{text}");
        }
    }

    #[test]
    fn sizes_that_make_no_network_are_named() {
        let alone = Widths { text: Some(10), audio: None, image: None };
        let lonely = Architecture::CmfAp { profile: Profile::Paper, widths: alone, attention: 10 };
        assert!(lonely.check().unwrap_err().to_string().contains("at least 2"));
        let empty = Architecture::Dcrnn { form: DcrnnForm::Paper, vector: 0 };
        assert!(empty.check().unwrap_err().to_string().contains("`vector` is 0"));
        let huge = Architecture::EarlyFusion { widths: Widths { audio: Some(1 << 40), ..alone } };
        assert!(huge.check().unwrap_err().to_string().contains("`audio`"));
    }
}
