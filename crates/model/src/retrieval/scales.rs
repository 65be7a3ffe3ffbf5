//! What brings vectors to the scale that the towers were trained on.

use serde::{Deserialize, Serialize};

use crate::networks::TowerWidths;

/// Standardised values beyond this many deviations are cut: one broken value must not decide a rank.
pub const LARGEST_DEVIATION: f32 = 5.0;

/// Mean and deviation of each value of a vector over the training data. Kept in f64, as they were computed: a rank that
/// was measured in training has to come out again.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorScale {
    /// Of each value.
    pub mean: Vec<f64>,
    /// Of each value; 0 for one that is constant, which says nothing and becomes 0.
    pub deviation: Vec<f64>,
}

impl VectorScale {
    /// That of vectors of one length; without a vector, one that changes nothing.
    pub fn of(vectors: &[&[f32]]) -> Self {
        let n = vectors.len() as f64;
        let width = vectors.first().map_or(0, |vector| vector.len());
        let statistic = |column: usize| {
            let values = || vectors.iter().map(|vector| f64::from(vector.get(column).copied().unwrap_or(0.0)));
            let mean = values().sum::<f64>() / n;
            let deviation = (values().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
            (mean, if deviation > 1e-9 * mean.abs().max(1e-9) { deviation } else { 0.0 })
        };
        let (mean, deviation) = (0..width).map(statistic).unzip();
        Self { mean, deviation }
    }

    /// Brings a vector to mean 0 and deviation 1, cut at five deviations.
    pub fn apply(&self, vector: &mut [f32]) {
        for (value, (mean, deviation)) in vector.iter_mut().zip(self.mean.iter().zip(&self.deviation)) {
            let scaled = if *deviation > 0.0 { ((f64::from(*value) - mean) / deviation) as f32 } else { 0.0 };
            *value = scaled.clamp(-LARGEST_DEVIATION, LARGEST_DEVIATION);
        }
    }

    fn check(&self, name: &str, width: usize) -> Result<(), String> {
        if self.mean.len() != width || self.deviation.len() != width {
            let (means, deviations) = (self.mean.len(), self.deviation.len());
            return Err(format!("{means} means and {deviations} deviations of {name} vectors of {width} values"));
        }
        let sound = self.mean.iter().all(|mean| mean.is_finite());
        let sound = sound && self.deviation.iter().all(|deviation| deviation.is_finite() && *deviation >= 0.0);
        if sound { Ok(()) } else { Err(format!("a mean or deviation of {name} vectors is out of range")) }
    }
}

/// The scales of all that the towers read; empty for what they do not.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorScales {
    /// Of pictures.
    pub image: VectorScale,
    pub caption: VectorScale,
    pub lyrics: VectorScale,
    /// Of clips.
    pub audio: VectorScale,
}

impl VectorScales {
    pub(super) fn check(&self, widths: &TowerWidths) -> Result<(), String> {
        self.image.check("image", widths.image)?;
        self.caption.check("caption", widths.caption)?;
        self.lyrics.check("lyrics", widths.lyrics)?;
        self.audio.check("audio", widths.audio)
    }
}
