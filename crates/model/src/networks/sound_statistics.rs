//! What the statistics of a whole clip say: logistic regressions on standardised values, in plain arithmetic.
//!
//! Music and speech ask opposite things of the same statistics (a high register is merry in the one and angry in the
//! other), so each has its own regression, and a third one says which of both a clip is:
//!
//! ```text
//! MFCC ─► gate ─► g = σ(.)                          logit = g · music + (1 − g) · speech
//! all 173 statistics ─► music, four moods
//! without the chords ─► speech
//! ```
//!
//! A value further than three deviations from its mean counts as three: a clip unlike any that was trained on is judged
//! like the most extreme of those and not by a line that leads out of them.

use std::collections::BTreeMap;

use jtav_signal::STATISTICS;
use jtav_signal::statistics::{CHORDS, MFCC};
use tch::Tensor;

use crate::error::ModelError;
use crate::parameters::{Init, Scope, to_rows, to_vec};

/// Names of the mood head's quadrants are the manifest's.
pub(crate) const MOODS: usize = 4;
/// Values that speech is judged by: all but the chords, which are the last.
const WITHOUT_CHORDS: usize = CHORDS.start;
/// Furthest that a standardised value counts.
const FURTHEST: f32 = 3.0;

/// A linear function of standardised values. All vectors have the same length.
#[derive(Debug, Clone, PartialEq)]
pub struct Judge {
    /// Of the training clips.
    pub mean: Vec<f32>,
    /// Of the training clips; above 0.
    pub deviation: Vec<f32>,
    /// Of each standardised value.
    pub weight: Vec<f32>,
    /// The constant.
    pub bias: f32,
}

impl Judge {
    /// Says `bias` of everything.
    pub fn constant(values: usize, bias: f32) -> Self {
        Self { mean: vec![0.0; values], deviation: vec![1.0; values], weight: vec![0.0; values], bias }
    }

    fn new(scope: &Scope, values: usize) -> Result<Self, ModelError> {
        let shape = [values as i64];
        let bias = to_vec(&scope.buffer("bias", &[1], 0.0)?)?;
        Ok(Self {
            mean: to_vec(&scope.buffer("mean", &shape, 0.0)?)?,
            deviation: to_vec(&scope.buffer("deviation", &shape, 1.0)?)?,
            weight: to_vec(&scope.buffer("weight", &shape, 0.0)?)?,
            bias: bias.first().copied().unwrap_or(0.0),
        })
    }

    /// The values in deviations from the mean, within ±3.
    pub fn standardised(&self, values: &[f32]) -> Vec<f32> {
        let of = |(value, (mean, deviation)): (&f32, (&f32, &f32))| {
            ((value - mean) / deviation.max(f32::MIN_POSITIVE)).clamp(-FURTHEST, FURTHEST)
        };
        values.iter().zip(self.mean.iter().zip(&self.deviation)).map(of).collect()
    }

    fn logit(&self, values: &[f32]) -> f32 {
        dot(&self.weight, &self.standardised(values)) + self.bias
    }

    fn tensors(&self, name: &str) -> Result<Vec<(String, Tensor)>, ModelError> {
        let vectors = [("mean", &self.mean), ("deviation", &self.deviation), ("weight", &self.weight)];
        let mut tensors = vec![(format!("{name}.bias"), Tensor::f_from_slice(&[self.bias])?)];
        for (part, values) in vectors {
            tensors.push((format!("{name}.{part}"), Tensor::f_from_slice(values)?));
        }
        Ok(tensors)
    }
}

/// The regressions of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct SoundStatistics {
    /// Positive for music, of the [`MFCC`].
    pub gate: Judge,
    /// The sentiment of music, of all values.
    pub music: Judge,
    /// The sentiment of speech, of all values but the chords.
    pub speech: Judge,
    /// `[4][173]`: the moods of music, of the values as [`music`](Self::music) standardises them.
    pub mood_weight: Vec<Vec<f32>>,
    /// `[4]`.
    pub mood_bias: Vec<f32>,
}

/// What the statistics say of a clip, before it is calibrated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoundVerdict {
    /// Positive against negative.
    pub logit: f32,
    /// Of the quadrants, if it is music.
    pub moods: [f32; MOODS],
}

impl SoundStatistics {
    /// Says nothing of any clip.
    pub fn idle() -> Self {
        Self {
            gate: Judge::constant(MFCC.len(), 0.0),
            music: Judge::constant(STATISTICS, 0.0),
            speech: Judge::constant(WITHOUT_CHORDS, 0.0),
            mood_weight: vec![vec![0.0; STATISTICS]; MOODS],
            mood_bias: vec![0.0; MOODS],
        }
    }

    /// Tensors start at `scope`: `gate`, `music` and `speech` with `mean`, `deviation`, `weight` and `bias` each, and
    /// `moods.weight` and `moods.bias`.
    pub fn new(scope: &Scope) -> Result<Self, ModelError> {
        let moods = scope.sub("moods");
        let shape = [MOODS as i64, STATISTICS as i64];
        Ok(Self {
            gate: Judge::new(&scope.sub("gate"), MFCC.len())?,
            music: Judge::new(&scope.sub("music"), STATISTICS)?,
            speech: Judge::new(&scope.sub("speech"), WITHOUT_CHORDS)?,
            mood_weight: to_rows(&moods.frozen("weight", &shape, Init::Constant(0.0))?)?,
            mood_bias: to_vec(&moods.buffer("bias", &[MOODS as i64], 0.0)?)?,
        })
    }

    /// The tensors that [`new`](Self::new) reads, by their names below `prefix`.
    pub fn tensors(&self, prefix: &str) -> Result<BTreeMap<String, Tensor>, ModelError> {
        let judges = [("gate", &self.gate), ("music", &self.music), ("speech", &self.speech)];
        let mut tensors = BTreeMap::new();
        for (name, judge) in judges {
            tensors.extend(judge.tensors(&format!("{prefix}.{name}"))?);
        }
        let weight = Tensor::f_from_slice(&self.mood_weight.concat())?.f_view([MOODS as i64, STATISTICS as i64])?;
        tensors.insert(format!("{prefix}.moods.weight"), weight);
        tensors.insert(format!("{prefix}.moods.bias"), Tensor::f_from_slice(&self.mood_bias)?);
        Ok(tensors)
    }

    /// Judges one clip by its [`STATISTICS`] values ([`jtav_signal::ClipStatistics`]). [`ModelError::Input`] for another
    /// number of values and for one that is not finite.
    pub fn judge(&self, statistics: &[f32]) -> Result<SoundVerdict, ModelError> {
        if statistics.len() != STATISTICS || !statistics.iter().all(|value| value.is_finite()) {
            return Err(ModelError::Input(format!(
                "a clip with {} statistics, expected {STATISTICS} finite ones",
                statistics.len()
            )));
        }
        let music = self.gate.logit(&statistics[MFCC]);
        let share = 1.0 / (1.0 + (-music).exp());
        let speech = self.speech.logit(&statistics[..WITHOUT_CHORDS]);
        let standardised = self.music.standardised(statistics);
        let of_music = dot(&self.music.weight, &standardised) + self.music.bias;
        let mood = |mood: usize| match (self.mood_weight.get(mood), self.mood_bias.get(mood)) {
            (Some(weight), Some(bias)) => dot(weight, &standardised) + bias,
            _ => 0.0,
        };
        Ok(SoundVerdict { logit: share * of_music + (1.0 - share) * speech, moods: std::array::from_fn(mood) })
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Device;

    use super::*;
    use crate::parameters::Builder;

    fn judge(values: usize, weight: f32, bias: f32) -> Judge {
        Judge { weight: vec![weight; values], bias, ..Judge::constant(values, 0.0) }
    }

    fn statistics() -> SoundStatistics {
        SoundStatistics {
            gate: judge(MFCC.len(), 0.5, 0.0),
            music: judge(STATISTICS, 0.01, 1.0),
            speech: judge(WITHOUT_CHORDS, -0.02, -1.0),
            mood_weight: (0..MOODS).map(|mood| vec![0.01 * mood as f32; STATISTICS]).collect(),
            mood_bias: vec![0.5; MOODS],
        }
    }

    #[test]
    fn a_clip_of_music_is_judged_as_music_and_one_of_speech_as_speech() {
        let found = statistics().judge(&[2.0; STATISTICS]).unwrap();
        assert!((found.logit - (0.01 * 2.0 * 173.0 + 1.0)).abs() < 1e-4, "{found:?}");
        assert!((found.moods[3] - (0.03 * 2.0 * 173.0 + 0.5)).abs() < 1e-4);
        let found = statistics().judge(&[-2.0; STATISTICS]).unwrap();
        assert!((found.logit - (0.02 * 2.0 * 143.0 - 1.0)).abs() < 1e-4, "{found:?}");
        let between = statistics().judge(&[0.0; STATISTICS]).unwrap();
        assert!(between.logit.abs() < 1e-6, "half of 1 and half of -1");
    }

    #[test]
    fn a_value_far_out_counts_as_three_deviations() {
        let (near, far) = (statistics().judge(&[3.0; STATISTICS]), statistics().judge(&[1e30; STATISTICS]));
        assert_eq!(near.unwrap(), far.unwrap());
        let flat = Judge { deviation: vec![0.0; 2], ..judge(2, 1.0, 0.0) };
        assert_eq!(flat.standardised(&[0.0, 5.0]), [0.0, 3.0]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let written = statistics();
        let tensors = written.tensors("audio.statistics").unwrap();
        let bytes = crate::checkpoint::encode_weights(&tensors, crate::checkpoint::Precision::Full, None).unwrap();
        let stored = crate::checkpoint::StoredWeights::parse(&bytes).unwrap();
        let builder = Builder::stored(&stored, Device::Cpu);
        assert_eq!(SoundStatistics::new(&builder.scope("audio.statistics")).unwrap(), written);
        let read = builder.finish();
        assert_eq!(read.tensors.keys().collect::<Vec<_>>(), tensors.keys().collect::<Vec<_>>());
        assert!(read.trainable.is_empty(), "no optimiser moves them");
    }

    #[test]
    fn statistics_that_are_missing_or_no_numbers_are_input_errors() {
        let mut broken = vec![0.0; STATISTICS];
        broken[7] = f32::NAN;
        for values in [vec![], vec![0.0; STATISTICS - 1], broken] {
            assert!(matches!(SoundStatistics::idle().judge(&values), Err(ModelError::Input(_))));
        }
        assert_eq!(SoundStatistics::idle().judge(&[1.0; STATISTICS]).unwrap().logit, 0.0);
    }

    proptest! {
        #[test]
        fn any_finite_statistics_have_a_bounded_verdict(
            values in proptest::collection::vec(-1e38_f32..1e38, STATISTICS),
        ) {
            let found = statistics().judge(&values).unwrap();
            prop_assert!(found.logit.abs() < 0.02 * 3.0 * 173.0 + 1.0);
            prop_assert!(found.moods.iter().all(|mood| mood.is_finite()));
        }
    }
}
