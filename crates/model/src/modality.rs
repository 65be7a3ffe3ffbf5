//! The three modalities and their subsets.

use serde::{Deserialize, Serialize};

/// A part of a post, in the order used everywhere: text, audio, image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// Text parts together.
    Text,
    Audio,
    Image,
}

impl Modality {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Text, Self::Audio, Self::Image];

    /// `text`, `audio` or `image`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Audio => "audio",
            Self::Image => "image",
        }
    }
}

/// Which modalities a post has. Text form: names joined by `+`, for example `text+image`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ModalitySet(u8);

impl ModalitySet {
    /// Text, audio and image.
    pub const FULL: Self = Self(0b111);

    /// The set of those flagged present.
    pub fn from_presence(text: bool, audio: bool, image: bool) -> Self {
        Self(u8::from(text) | u8::from(audio) << 1 | u8::from(image) << 2)
    }

    /// The seven sets that are not empty, smallest bits first.
    pub fn all_non_empty() -> impl Iterator<Item = Self> {
        (1..=7).map(Self)
    }

    /// Whether `modality` is in the set.
    pub fn contains(self, modality: Modality) -> bool {
        self.0 & (1 << modality as u8) != 0
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Position 0..=7, for tables.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl std::fmt::Display for ModalitySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for modality in Modality::ALL {
            if self.contains(modality) {
                write!(f, "{separator}{}", modality.name())?;
                separator = "+";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seven_subsets_have_seven_names() {
        let names: Vec<_> = ModalitySet::all_non_empty().map(|set| set.to_string()).collect();
        assert_eq!(names, ["text", "audio", "text+audio", "image", "text+image", "audio+image", "text+audio+image"]);
        assert_eq!(ModalitySet::from_presence(true, false, true).to_string(), "text+image");
        assert!(ModalitySet::from_presence(false, false, false).is_empty());
    }
}
