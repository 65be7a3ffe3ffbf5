/// Which of a post's vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VectorKind {
    /// What the text is about.
    Semantic,
    /// The fused vector `u`.
    U,
    /// Of the text, as it was judged.
    Text,
    /// Of the audio clip.
    Audio,
    /// Of the image.
    Image,
}

impl VectorKind {
    /// How many there are.
    pub(crate) const COUNT: usize = 5;

    /// Every kind.
    pub const ALL: [VectorKind; VectorKind::COUNT] =
        [VectorKind::Semantic, VectorKind::U, VectorKind::Text, VectorKind::Audio, VectorKind::Image];

    /// The name in addresses and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            VectorKind::Semantic => "semantic",
            VectorKind::U => "u",
            VectorKind::Text => "text",
            VectorKind::Audio => "audio",
            VectorKind::Image => "image",
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<VectorKind> {
        VectorKind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Its place in [`Self::ALL`].
    pub(crate) fn place(self) -> usize {
        self as usize
    }
}

impl std::fmt::Display for VectorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_its_name_and_stands_at_its_place() {
        for (place, kind) in VectorKind::ALL.into_iter().enumerate() {
            assert_eq!(VectorKind::from_name(kind.as_str()), Some(kind));
            assert_eq!(kind.place(), place);
        }
        assert_eq!(VectorKind::from_name("U"), None);
    }
}
