//! What a checkpoint has for sound: DCRNN, the statistics' regressions, the mood head of the fusion.

use std::collections::BTreeMap;

use tch::Tensor;

use super::dcrnn::{Dcrnn, DcrnnConfig, STATISTICS_VALUES};
use super::sound_statistics::{MOODS, SoundStatistics, SoundVerdict};
use crate::error::ModelError;
use crate::layers::Linear;
use crate::manifest::Dimensions;
use crate::parameters::Scope;

/// The audio network of a checkpoint.
pub(crate) struct AudioModel {
    pub dcrnn: Dcrnn,
    pub statistics: SoundStatistics,
}

impl AudioModel {
    /// Tensors start at `scope`. The mood head is the fusion's, which reads it by itself.
    pub fn new(scope: &Scope, dimensions: &Dimensions) -> Result<Self, ModelError> {
        Linear::new(&scope.sub("mood_head"), dimensions.vector, dimensions.moods)?;
        Ok(Self {
            dcrnn: Dcrnn::new(scope, &DcrnnConfig::modern(dimensions), 0.0)?,
            statistics: SoundStatistics::new(&scope.sub("statistics"))?,
        })
    }
}

/// The vector of a clip: what the statistics say (the logit, four moods), then DCRNN's values. Sentiment and mood are
/// linear in it.
pub(crate) fn audio_vector(verdict: &SoundVerdict, of_dcrnn: &[f32]) -> Vec<f32> {
    [verdict.logit].into_iter().chain(verdict.moods).chain(of_dcrnn.iter().copied()).collect()
}

impl SoundStatistics {
    /// [`tensors`](Self::tensors) of a checkpoint, with the mood head that reads the moods out of the vector.
    pub fn checkpoint_tensors(&self, dimensions: &Dimensions) -> Result<BTreeMap<String, Tensor>, ModelError> {
        let mut tensors = self.tensors("audio.statistics")?;
        let (moods, width) = (dimensions.moods as usize, dimensions.vector as usize);
        let mut weight = vec![0.0_f32; moods * width];
        let first = STATISTICS_VALUES as usize - MOODS;
        weight.chunks_exact_mut(width.max(1)).zip(first..first + MOODS).for_each(|(row, place)| row[place] = 1.0);
        let weight = Tensor::f_from_slice(&weight)?.f_view([moods as i64, width as i64])?;
        tensors.insert("audio.mood_head.weight".to_owned(), weight);
        tensors.insert("audio.mood_head.bias".to_owned(), Tensor::f_from_slice(&vec![0.0_f32; moods])?);
        Ok(tensors)
    }

    /// The audio vectors of clips: what this says of their statistics before DCRNN's values, in order.
    pub fn vectors(&self, statistics: &[&[f32]], of_dcrnn: Vec<Vec<f32>>) -> Result<Vec<Vec<f32>>, ModelError> {
        let vector =
            |(statistics, of_dcrnn): (&&[f32], Vec<f32>)| Ok(audio_vector(&self.judge(statistics)?, &of_dcrnn));
        statistics.iter().zip(of_dcrnn).map(vector).collect()
    }
}
