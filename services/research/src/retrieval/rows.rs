//! The rows of the table, and what the paper says of them (docs/networks.md, "Retrieval").

pub use jtav_model::retrieval::Protocol;
use serde::{Deserialize, Serialize};

use super::settings::RetrievalInputs;

/// The k of R@k that a table shows: the paper's (1, 5, 10 of †; 10, 50, 100 of §), unless there are too few candidates for
/// the large ones.
pub fn cutoffs(protocol: Protocol, candidates: usize) -> [usize; 3] {
    if protocol == Protocol::Shared && candidates > 100 { [10, 50, 100] } else { [1, 5, 10] }
}

/// A row that is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// I+L.
    ImageLyrics,
    /// I+C+L.
    ImageCaptionLyrics,
    /// I+S.
    ImageAudio,
    /// I+C+S.
    ImageCaptionAudio,
    /// All parts, joint scorer.
    Jtav,
    /// All parts, two towers.
    TwoTower,
    /// The towers' first songs in the order of the joint scorer.
    TwoTowerReranked,
}

impl Row {
    /// In the table's order; a row stands after those that it is made of.
    pub const ALL: [Self; 7] = [
        Self::ImageLyrics,
        Self::ImageCaptionLyrics,
        Self::ImageAudio,
        Self::ImageCaptionAudio,
        Self::Jtav,
        Self::TwoTower,
        Self::TwoTowerReranked,
    ];

    /// As the table names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ImageLyrics => "I+L",
            Self::ImageCaptionLyrics => "I+C+L",
            Self::ImageAudio => "I+S",
            Self::ImageCaptionAudio => "I+C+S",
            Self::Jtav => "JTAV",
            Self::TwoTower => "JTAV two-tower",
            Self::TwoTowerReranked => "JTAV two-tower + re-ranking",
        }
    }

    /// As a file names it.
    pub fn slug(self) -> String {
        self.name().to_lowercase().replace(" + ", "-").replace([' ', '+'], "-")
    }

    /// What its network reads.
    pub fn inputs(self) -> RetrievalInputs {
        match self {
            Self::ImageLyrics => RetrievalInputs::ImageLyrics,
            Self::ImageCaptionLyrics => RetrievalInputs::ImageCaptionLyrics,
            Self::ImageAudio => RetrievalInputs::ImageAudio,
            Self::ImageCaptionAudio => RetrievalInputs::ImageCaptionAudio,
            Self::Jtav | Self::TwoTower | Self::TwoTowerReranked => RetrievalInputs::All,
        }
    }

    /// Whether the row is nothing without captions. JTAV is something: its gate is 1 where there is no caption.
    pub fn needs_captions(self) -> bool {
        matches!(self, Self::ImageCaptionLyrics | Self::ImageCaptionAudio)
    }

    /// All that the paper's text says of the row; the bars of its figures are not readable.
    pub fn paper(self, protocol: Protocol) -> &'static str {
        match (self, protocol) {
            (Self::Jtav, Protocol::Disjoint) => "Med r ≤ 5, R@1 > 95 %",
            (Self::Jtav, Protocol::Shared) => "Med r ≤ 20, R@10 > 83 %, R@100 > 97 %",
            (Self::TwoTower | Self::TwoTowerReranked, _) => "not in the paper",
            _ => "no number in the text",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_file_name_of_its_own() {
        let slugs: Vec<String> = Row::ALL.into_iter().map(Row::slug).collect();
        assert_eq!(slugs, ["i-l", "i-c-l", "i-s", "i-c-s", "jtav", "jtav-two-tower", "jtav-two-tower-re-ranking"]);
    }

    #[test]
    fn few_candidates_are_not_cut_at_a_hundred() {
        assert_eq!(cutoffs(Protocol::Shared, 620), [10, 50, 100]);
        assert_eq!((cutoffs(Protocol::Shared, 31), cutoffs(Protocol::Disjoint, 620)), ([1, 5, 10], [1, 5, 10]));
    }
}
