//! What the networks of the zoo read.

use std::sync::Arc;

use jtav_model::{AudioInput, FusionInput, ModelError, Rgb224};

/// One post as word vectors, in the order of its words; cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct WordVectors {
    dimension: usize,
    protagonist: Arc<[f32]>,
    supporting: Option<Arc<[f32]>>,
    /// Words of each line of the protagonist.
    lines: Arc<[usize]>,
}

impl WordVectors {
    /// Takes the words of the protagonist, `[words, dimension]` row-major, at least one. An error when the values do
    /// not make whole, finite words.
    pub fn new(dimension: usize, protagonist: impl Into<Arc<[f32]>>) -> Result<Self, ModelError> {
        let protagonist = protagonist.into();
        check_words("protagonist", dimension, &protagonist)?;
        let lines = Arc::from([protagonist.len() / dimension]);
        Ok(Self { dimension, protagonist, supporting: None, lines })
    }

    /// Adds the words of the supporting parts (the caption), `[words, dimension]` row-major. No words at all mean
    /// that there is none.
    pub fn with_supporting(mut self, supporting: impl Into<Arc<[f32]>>) -> Result<Self, ModelError> {
        let supporting = supporting.into();
        if !supporting.is_empty() {
            check_words("supporting part", self.dimension, &supporting)?;
            self.supporting = Some(supporting);
        }
        Ok(self)
    }

    /// Tells where lines end: the words of each line, none empty, together those of the protagonist. Without it the
    /// text is one line; only [`LyricsHan`](super::Architecture::LyricsHan) looks at them.
    pub fn with_lines(mut self, words_per_line: impl Into<Arc<[usize]>>) -> Result<Self, ModelError> {
        let lines = words_per_line.into();
        let total = lines.iter().try_fold(0_usize, |sum, &words| sum.checked_add(words));
        if lines.contains(&0) || total != Some(self.words()) {
            return Err(ModelError::Input(format!(
                "lines of {lines:?} words for a text of {}: leave empty lines out and count every word",
                self.words()
            )));
        }
        self.lines = lines;
        Ok(self)
    }

    /// The same post without its supporting parts.
    pub fn without_supporting(&self) -> Self {
        Self { supporting: None, ..self.clone() }
    }

    /// Words of the protagonist.
    pub fn words(&self) -> usize {
        self.protagonist.len() / self.dimension
    }

    /// Values of a word vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    pub(crate) fn protagonist(&self) -> &[f32] {
        &self.protagonist
    }

    pub(crate) fn supporting(&self) -> &[f32] {
        self.supporting.as_deref().unwrap_or_default()
    }

    pub(crate) fn lines(&self) -> &[usize] {
        &self.lines
    }
}

fn check_words(part: &str, dimension: usize, values: &[f32]) -> Result<(), ModelError> {
    if dimension == 0 || values.is_empty() || !values.len().is_multiple_of(dimension) {
        return Err(ModelError::Input(format!("a {part} of {} values has no whole word of {dimension}", values.len())));
    }
    if !values.iter().all(|value| value.is_finite()) {
        return Err(ModelError::Input(format!("a word vector of the {part} is not finite")));
    }
    Ok(())
}

/// What one network reads of one post; cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// For the text networks.
    Text(WordVectors),
    /// For DCRNN and the convnet: segments of 215 frames by 96 bins (constant-Q or mel) in dB.
    Audio(Arc<AudioInput>),
    /// For the image networks.
    Image(Rgb224),
    /// For the fusions: the vectors of trained encoders. Those that the fusion does not read are not looked at.
    Vectors(Arc<FusionInput>),
}

impl Input {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Audio(_) => "audio",
            Self::Image(_) => "image",
            Self::Vectors(_) => "vectors",
        }
    }
}

impl From<WordVectors> for Input {
    fn from(words: WordVectors) -> Self {
        Self::Text(words)
    }
}

impl From<AudioInput> for Input {
    fn from(clip: AudioInput) -> Self {
        Self::Audio(Arc::new(clip))
    }
}

impl From<Rgb224> for Input {
    fn from(picture: Rgb224) -> Self {
        Self::Image(picture)
    }
}

impl From<FusionInput> for Input {
    fn from(vectors: FusionInput) -> Self {
        Self::Vectors(Arc::new(vectors))
    }
}

/// One post with its label.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// What the network reads.
    pub input: Input,
    /// True for positive.
    pub positive: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_vectors_that_do_not_fit_are_refused() {
        assert!(WordVectors::new(3, vec![0.0; 4]).is_err());
        assert!(WordVectors::new(0, vec![0.0; 4]).is_err());
        assert!(WordVectors::new(2, Vec::new()).is_err());
        assert!(WordVectors::new(2, vec![0.0, f32::NAN]).is_err());
        let text = WordVectors::new(2, vec![0.0; 6]).unwrap();
        assert_eq!((text.words(), text.lines()), (3, [3].as_slice()));
        assert!(text.clone().with_supporting(vec![0.0; 3]).is_err());
        assert!(text.clone().with_supporting(Vec::new()).unwrap().supporting().is_empty());
        assert!(text.clone().with_lines(vec![1, 1]).is_err());
        assert!(text.clone().with_lines(vec![3, 0]).is_err());
        assert!(text.clone().with_lines(vec![usize::MAX, 4]).is_err());
        assert_eq!(text.with_lines(vec![1, 2]).unwrap().lines(), [1, 2]);
    }
}
