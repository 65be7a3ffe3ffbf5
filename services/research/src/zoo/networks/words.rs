//! Posts as batches of word vectors.

use jtav_model::ModelError;
use tch::{Device, Kind, Tensor};

use crate::zoo::input::WordVectors;

/// Words of lyrics that are read (paper, section 4.1); the rest is cut off.
pub(crate) const MAX_WORDS: usize = 100;
/// Words of a caption that are read.
pub(crate) const MAX_SUPPORTING: usize = 5;

/// How much of a text is read, and how it is padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// 100 words and 5 of the supporting parts, padded to the longest of the batch.
    Cut,
    /// The same, always padded to 100 and 5: the authors' code knows no shorter text.
    Fixed,
    /// All words, lines kept.
    Lines,
}

/// Word vectors of a batch.
pub(crate) struct WordBatch {
    /// `[batch, longest, dimension]`, zeros beyond each length.
    pub words: Tensor,
    /// Words of each protagonist, 1 to `longest`.
    pub lengths: Vec<i64>,
    /// `[batch, most supporting, dimension]`, zeros beyond; `None` when no post has a supporting word.
    pub supporting: Option<Tensor>,
    /// Supporting words of each post, 0 where there is none.
    pub supporting_lengths: Vec<i64>,
    /// Words of each line of each post; one line per post unless lines were asked for.
    pub lines: Vec<Vec<i64>>,
}

impl WordBatch {
    /// [`ModelError::Input`] when a word has another dimension than the network.
    pub fn new(posts: &[&WordVectors], dimension: i64, reading: Reading, device: Device) -> Result<Self, ModelError> {
        if let Some(post) = posts.iter().find(|post| post.dimension() as i64 != dimension) {
            return Err(ModelError::Input(format!(
                "word vectors of {} values for a network of {dimension}",
                post.dimension()
            )));
        }
        let (most_words, most_supporting) = match reading {
            Reading::Cut | Reading::Fixed => (MAX_WORDS, MAX_SUPPORTING),
            Reading::Lines => (usize::MAX, MAX_SUPPORTING),
        };
        let protagonists: Vec<&[f32]> =
            posts.iter().map(|post| cut(post.protagonist(), dimension, most_words)).collect();
        let supporters: Vec<&[f32]> =
            posts.iter().map(|post| cut(post.supporting(), dimension, most_supporting)).collect();
        let lengths = words_of(&protagonists, dimension);
        let supporting_lengths = words_of(&supporters, dimension);
        let padded = |fixed: usize, lengths: &[i64]| match reading {
            Reading::Fixed => fixed as i64,
            Reading::Cut | Reading::Lines => lengths.iter().copied().max().unwrap_or(0),
        };
        let words = stacked(&protagonists, padded(MAX_WORDS, &lengths), dimension, device)?;
        let supporting = match supporting_lengths.iter().any(|&words| words > 0) {
            true => Some(stacked(&supporters, padded(MAX_SUPPORTING, &supporting_lengths), dimension, device)?),
            false => None,
        };
        let lines = match reading {
            Reading::Lines => {
                posts.iter().map(|post| post.lines().iter().map(|&words| words as i64).collect()).collect()
            }
            Reading::Cut | Reading::Fixed => lengths.iter().map(|&words| vec![words]).collect(),
        };
        Ok(Self { words, lengths, supporting, supporting_lengths, lines })
    }

    /// `[batch, dimension]`: the mean of each post's supporting words, and `[batch, 1]`: 1 where there is one, else 0.
    /// `None` when no post has any.
    pub fn supporting_mean(&self) -> Result<Option<(Tensor, Tensor)>, ModelError> {
        let Some(supporting) = &self.supporting else { return Ok(None) };
        let column =
            |values: Vec<f32>| Tensor::f_from_slice(&values)?.f_view([-1, 1])?.f_to_device(supporting.device());
        let counts = column(self.supporting_lengths.iter().map(|&words| words.max(1) as f32).collect())?;
        let present = column(self.supporting_lengths.iter().map(|&words| words.min(1) as f32).collect())?;
        let sum = supporting.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?;
        Ok(Some((sum.f_div(&counts)?, present)))
    }
}

fn cut(values: &[f32], dimension: i64, most_words: usize) -> &[f32] {
    &values[..values.len().min(most_words.saturating_mul(dimension as usize))]
}

fn words_of(texts: &[&[f32]], dimension: i64) -> Vec<i64> {
    texts.iter().map(|values| values.len() as i64 / dimension).collect()
}

/// `[texts, longest, dimension]`, zeros beyond the end of each.
fn stacked(texts: &[&[f32]], longest: i64, dimension: i64, device: Device) -> Result<Tensor, ModelError> {
    let row = (longest * dimension) as usize;
    let mut flat = Vec::with_capacity(texts.len() * row);
    for values in texts {
        flat.extend_from_slice(values);
        flat.resize(flat.len() + row - values.len(), 0.0);
    }
    Ok(Tensor::f_from_slice(&flat)?.f_view([texts.len() as i64, longest, dimension])?.f_to_device(device)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jtav_model::parameters::to_vec;

    #[test]
    fn long_texts_are_cut_and_short_ones_padded_with_zeros() {
        let long = WordVectors::new(1, vec![1.0; 130]).unwrap().with_supporting(vec![2.0; 7]).unwrap();
        let short = WordVectors::new(1, vec![3.0; 2]).unwrap();
        let batch = WordBatch::new(&[&long, &short], 1, Reading::Cut, Device::Cpu).unwrap();
        assert_eq!((batch.words.size(), batch.lengths.as_slice()), (vec![2, 100, 1], [100, 2].as_slice()));
        assert_eq!(batch.supporting_lengths, [5, 0]);
        assert_eq!(to_vec(&batch.words).unwrap()[100..104], [3.0, 3.0, 0.0, 0.0]);
        let fixed = WordBatch::new(&[&short], 1, Reading::Fixed, Device::Cpu).unwrap();
        assert_eq!(fixed.words.size(), [1, 100, 1]);
        let whole = WordBatch::new(&[&long], 1, Reading::Lines, Device::Cpu).unwrap();
        assert_eq!((whole.words.size(), whole.lines), (vec![1, 130, 1], vec![vec![130]]));
        assert!(WordBatch::new(&[&short], 2, Reading::Cut, Device::Cpu).is_err());
    }
}
