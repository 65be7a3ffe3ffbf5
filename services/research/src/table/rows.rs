//! The rows of the paper's Table 1, in its order, and one modern rival.

use jtav_model::Modality;
use serde::Serialize;

use crate::zoo::{Architecture, Profile, Widths, table_1};

/// What the paper reports in a row. Its "AUC" is the balanced accuracy of thresholded predictions (docs/networks.md, F1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PaperFigures {
    /// "AUC".
    pub auc_hard: f64,
    /// "F1".
    pub f1_weighted: f64,
    /// "precision".
    pub precision_weighted: f64,
}

/// Which spectrogram an audio network reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sound {
    /// Constant-Q.
    Cqt,
    Mel,
}

/// How a row comes to its scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum Method {
    /// Paragraph vectors and a logistic regression.
    Doc2Vec,
    /// Statistics of MFCC and a logistic regression.
    Mfcc,
    /// Vectors that come with the pack, and a logistic regression.
    Given {
        /// Whose.
        modality: Modality,
    },
    /// Two logistic regressions on the parts' own polarities, and the probability that they agree: what an interaction
    /// is worth to a model that knows its form.
    Product {
        /// The two parts.
        parts: [Modality; 2],
    },
    /// A network with its own head.
    Encoder {
        /// Which.
        architecture: Architecture,
        /// What it reads, if it listens.
        sound: Option<Sound>,
    },
    /// The encoders' vectors side by side and a logistic regression.
    Concatenation {
        /// Which.
        widths: Widths,
    },
    /// A trained fusion of the encoders' vectors.
    Fusion {
        /// Which.
        architecture: Architecture,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// `text`, `text+audio` and so on.
    pub modalities: String,
    /// Its name in the paper.
    pub approach: String,
    /// How it is computed.
    pub method: Method,
    /// What the paper has in this row; none for what the paper does not know.
    pub paper: Option<PaperFigures>,
}

impl Row {
    /// Unlike that of any other row; part of file names.
    pub fn id(&self) -> String {
        format!("{}.{}", self.modalities, self.approach.replace([' ', '/'], "-"))
    }

    /// What the method fuses, if it does.
    pub fn fuses(&self) -> Option<Widths> {
        match self.method {
            Method::Concatenation { widths } => Some(widths),
            Method::Fusion { architecture } => widths_of(&architecture),
            _ => None,
        }
    }
}

/// What a fusion reads; none for other networks.
pub(super) fn widths_of(architecture: &Architecture) -> Option<Widths> {
    match architecture {
        Architecture::EarlyFusion { widths }
        | Architecture::CmfAp { widths, .. }
        | Architecture::LowRank { widths, .. } => Some(*widths),
        _ => None,
    }
}

/// The encoders whose vectors are fused.
pub const FUSED: [&str; 3] = ["attBiGRU", "DCRNN-CQT", "F-DenseNet"];

/// Rank and width of the low-rank rival (docs/networks.md, "Beside CMF-AP").
const LOW_RANK: (usize, usize) = (4, 64);

/// AUC, F1 and precision of Table 1, row by row.
const TABLE_1: [[f64; 3]; 19] = [
    [0.513, 0.545, 0.593],
    [0.518, 0.575, 0.596],
    [0.572, 0.602, 0.640],
    [0.581, 0.652, 0.650],
    [0.505, 0.549, 0.586],
    [0.518, 0.614, 0.621],
    [0.536, 0.635, 0.634],
    [0.559, 0.651, 0.643],
    [0.546, 0.594, 0.619],
    [0.578, 0.618, 0.645],
    [0.588, 0.627, 0.653],
    [0.586, 0.660, 0.656],
    [0.597, 0.673, 0.668],
    [0.593, 0.663, 0.661],
    [0.611, 0.688, 0.683],
    [0.589, 0.624, 0.653],
    [0.603, 0.654, 0.665],
    [0.602, 0.671, 0.669],
    [0.623, 0.691, 0.688],
];

/// All nineteen rows and the low-rank fusion of three, for word vectors of `dimension` values.
pub fn media_rows(profile: Profile, dimension: usize) -> Vec<Row> {
    let row = |modalities: &str, approach: &str, method| Row {
        modalities: modalities.to_owned(),
        approach: approach.to_owned(),
        method,
        paper: None,
    };
    let mut rows = vec![row("text", "doc2vec", Method::Doc2Vec)];
    let mut widths_of_three = None;
    for network in table_1(profile) {
        let architecture = with_dimension(network.architecture, dimension);
        let method = match architecture {
            Architecture::EarlyFusion { widths } => Method::Concatenation { widths },
            Architecture::CmfAp { widths, .. } => {
                widths_of_three = Some(widths);
                Method::Fusion { architecture }
            }
            Architecture::ConvNet => Method::Encoder { architecture, sound: Some(Sound::Mel) },
            Architecture::Dcrnn { .. } => {
                let sound = if network.approach == "DCRNN-MelS" { Sound::Mel } else { Sound::Cqt };
                Method::Encoder { architecture, sound: Some(sound) }
            }
            _ => Method::Encoder { architecture, sound: None },
        };
        if network.approach == "convnet" {
            rows.push(row("audio", "MFCC", Method::Mfcc));
        }
        rows.push(row(&network.modalities, network.approach, method));
    }
    for (row, [auc_hard, f1_weighted, precision_weighted]) in rows.iter_mut().zip(TABLE_1) {
        row.paper = Some(PaperFigures { auc_hard, f1_weighted, precision_weighted });
    }
    rows.extend(widths_of_three.map(low_rank));
    rows
}

/// The rows of a pack that brings vectors instead of media: each modality alone, then all fusions.
pub fn vector_rows(profile: Profile, widths: Widths) -> Vec<Row> {
    let alone = widths.modalities().map(|(modality, _)| Row {
        modalities: modality.name().to_owned(),
        approach: "given vectors + LR".to_owned(),
        method: Method::Given { modality },
        paper: None,
    });
    let mut rows: Vec<Row> = alone.collect();
    for read in combinations(widths) {
        let names = read.names();
        let paper = |approach: &str| {
            let published = media_rows(profile, 1);
            published.into_iter().find(|row| row.modalities == names && row.approach == approach)?.paper
        };
        let cmf = Architecture::CmfAp { profile, widths: read, attention: 100 };
        let methods = [
            ("early fusion", Method::Concatenation { widths: read }),
            ("CMF-AP", Method::Fusion { architecture: cmf }),
        ];
        rows.extend(methods.map(|(approach, method)| Row {
            modalities: names.clone(),
            approach: approach.to_owned(),
            method,
            paper: paper(approach),
        }));
        rows.push(low_rank(read));
    }
    rows
}

/// Two modalities or more of those that have a width.
fn combinations(widths: Widths) -> Vec<Widths> {
    let without =
        [Widths { image: None, ..widths }, Widths { audio: None, ..widths }, Widths { text: None, ..widths }, widths];
    let mut found: Vec<Widths> = Vec::new();
    for read in without {
        if read.modalities().count() >= 2 && !found.contains(&read) {
            found.push(read);
        }
    }
    found
}

pub(super) fn low_rank(widths: Widths) -> Row {
    let (rank, hidden) = LOW_RANK;
    Row {
        modalities: widths.names(),
        approach: "low-rank fusion".to_owned(),
        method: Method::Fusion { architecture: Architecture::LowRank { widths, rank, hidden } },
        paper: None,
    }
}

fn with_dimension(architecture: Architecture, dimension: usize) -> Architecture {
    match architecture {
        Architecture::BiGru { profile, .. } => Architecture::BiGru { profile, dimension },
        Architecture::AttBiGru { profile, .. } => Architecture::AttBiGru { profile, dimension },
        Architecture::LyricsHan { .. } => Architecture::LyricsHan { dimension },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_those_of_the_paper_in_its_order_with_a_rival_at_the_end() {
        let rows = media_rows(Profile::AuthorsCode, 300);
        let names: Vec<String> = rows.iter().map(Row::id).collect();
        assert_eq!(rows.len(), 20);
        assert_eq!(names[..5], ["text.doc2vec", "text.lyricsHAN", "text.BiGRU", "text.attBiGRU", "audio.MFCC"]);
        assert_eq!(names[18..], ["text+audio+image.CMF-AP", "text+audio+image.low-rank-fusion"]);
        assert_eq!(rows[18].paper.map(|paper| paper.auc_hard), Some(0.623));
        assert_eq!(rows[11].approach, "early fusion");
        assert!(rows[19].paper.is_none());
        assert!(FUSED.iter().all(|name| rows.iter().any(|row| row.approach == *name)));
    }

    #[test]
    fn a_pack_of_two_kinds_of_vectors_has_one_pair() {
        let widths = Widths { text: Some(10), audio: None, image: Some(20) };
        let ids: Vec<String> = vector_rows(Profile::Paper, widths).iter().map(Row::id).collect();
        assert_eq!(
            ids,
            [
                "text.given-vectors-+-LR",
                "image.given-vectors-+-LR",
                "text+image.early-fusion",
                "text+image.CMF-AP",
                "text+image.low-rank-fusion"
            ]
        );
        assert_eq!(vector_rows(Profile::Paper, Widths::all(1, 2, 3)).len(), 3 + 4 * 3);
    }
}
