//! What the audio rivals read of each clip: a mel spectrogram, and statistics of its MFCC. Decoded once and kept, like
//! the [`Features`](jtav_trainer::features::Features) of the networks that serve.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use half::f16;
use jtav_signal::constants::{BINS, MFCC_COEFFICIENTS, SAMPLE_RATE_HZ};
use jtav_signal::{MelSpectrogram, Mfcc, Spectrogram, power_to_db};
use jtav_trainer::Progress;
use jtav_trainer::dataset::{MediaFile, Post};
use jtav_trainer::decode::decode_audio;
use jtav_trainer::files::{f32_values, for_each_file, read_described, write_whole};
use jtav_trainer::inspect::MEL;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

/// Raise it when decoding, mel or MFCC change their numbers.
const REVISION: u32 = 1;

/// Values of a clip's MFCC statistics: mean, deviation, and deviation of the change from frame to frame of each.
pub const MFCC_STATISTICS: usize = 3 * MFCC_COEFFICIENTS;

/// Mel spectrograms and MFCC statistics of clips, in memory.
#[derive(Debug, Default)]
pub struct SoundFeatures {
    of_file: HashMap<PathBuf, Clip>,
}

#[derive(Debug, Clone, PartialEq)]
struct Clip {
    /// `[frames, 96]` in dB.
    mel: Arc<[f32]>,
    mfcc: Vec<f32>,
}

impl SoundFeatures {
    /// Mel spectrogram of a clip, `[frames, 96]` in dB below its loudest value.
    pub fn mel(&self, file: &MediaFile) -> Option<&Arc<[f32]>> {
        self.of_file.get(&file.path).map(|clip| &clip.mel)
    }

    /// [`MFCC_STATISTICS`] of a clip.
    pub fn mfcc(&self, file: &MediaFile) -> Option<&Vec<f32>> {
        self.of_file.get(&file.path).map(|clip| &clip.mfcc)
    }

    /// Reads, or computes and keeps, those of the first `max_audio_seconds` of every clip that one of `posts` names, on `threads` threads. A clip that
    /// does not decode is left out.
    ///
    /// # Errors
    /// A file that is missing, or is not the one that the pack describes; a cache folder that cannot be written.
    pub fn load<'a>(
        posts: impl IntoIterator<Item = &'a Post>,
        max_audio_seconds: u32,
        cache: &Path,
        threads: usize,
        progress: &dyn Progress,
    ) -> anyhow::Result<Self> {
        let folder = cache
            .join(format!("mel{BINS}-mfcc{MFCC_COEFFICIENTS}-{SAMPLE_RATE_HZ}hz-{max_audio_seconds}s_r{REVISION}"));
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let files: BTreeMap<&Path, &Arc<MediaFile>> =
            posts.into_iter().filter_map(|post| post.audio.as_ref()).map(|file| (file.path.as_path(), file)).collect();
        let files: Vec<&Arc<MediaFile>> = files.into_values().collect();
        progress.start("mel and MFCC", files.len() as u64);
        let front_end = FrontEnd { mel: MelSpectrogram::new(MEL)?, mfcc: Mfcc::standard()? };
        let mut features = Self::default();
        for_each_file(
            &files,
            threads,
            progress,
            |file| front_end.clip(file, &folder, max_audio_seconds),
            |file, clip| features.of_file.extend(clip.map(|clip| (file.path.clone(), clip))),
        )?;
        progress.finish(&format!("{} of {} clips", features.of_file.len(), files.len()));
        Ok(features)
    }
}

struct FrontEnd {
    mel: MelSpectrogram,
    mfcc: Mfcc,
}

impl FrontEnd {
    /// `None` for a clip that does not decode.
    fn clip(&self, file: &MediaFile, folder: &Path, max_audio_seconds: u32) -> anyhow::Result<Option<Clip>> {
        let (bytes, digest) = read_described(file)?;
        let kept = folder.join(format!("{digest}.safetensors"));
        if let Some(clip) = std::fs::read(&kept).ok().and_then(|bytes| Clip::from_bytes(&bytes)) {
            return Ok(Some(clip));
        }
        let Ok(samples) = decode_audio(&bytes, file.media_type.as_deref(), max_audio_seconds) else { return Ok(None) };
        let (Ok(power), Ok(coefficients)) = (self.mel.power(&samples), self.mfcc.coefficients(&samples)) else {
            return Ok(None);
        };
        let clip = Clip { mel: power_to_db(&power).values.into(), mfcc: statistics(&coefficients) };
        // Rounded as the cache rounds, so that the first run and the second see the same numbers.
        let bytes = clip.to_bytes()?;
        write_whole(&kept, &bytes)?;
        Ok(Clip::from_bytes(&bytes))
    }
}

/// Mean, standard deviation, and standard deviation of the difference of neighbouring frames, coefficient by coefficient.
fn statistics(mfcc: &Spectrogram) -> Vec<f32> {
    let column = |bin: usize| mfcc.values.iter().skip(bin).step_by(mfcc.bins).map(|&value| f64::from(value));
    let moments = |values: &[f64]| {
        let n = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt())
    };
    let (mut means, mut deviations, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for bin in 0..mfcc.bins {
        let values: Vec<f64> = column(bin).collect();
        let differences: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (mean, deviation) = moments(&values);
        means.push(mean as f32);
        deviations.push(deviation as f32);
        changes.push(moments(&differences).1 as f32);
    }
    [means, deviations, changes].concat()
}

impl Clip {
    fn to_bytes(&self) -> anyhow::Result<Vec<u8>> {
        let halves: Vec<u8> = self.mel.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
        let mfcc: Vec<u8> = self.mfcc.iter().flat_map(|value| value.to_le_bytes()).collect();
        let shape = vec![self.mel.len() / BINS, BINS];
        let mel = TensorView::new(Dtype::F16, shape, &halves).context("packing a mel spectrogram")?;
        let mfcc = TensorView::new(Dtype::F32, vec![self.mfcc.len()], &mfcc).context("packing MFCC")?;
        serialize([("mel", mel), ("mfcc", mfcc)], None).context("packing a clip")
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let file = SafeTensors::deserialize(bytes).ok()?;
        let (mel, mfcc) = (file.tensor("mel").ok()?, file.tensor("mfcc").ok()?);
        let right = mel.dtype() == Dtype::F16
            && matches!(mel.shape(), [frames, BINS] if *frames > 0)
            && mfcc.dtype() == Dtype::F32
            && mfcc.shape() == [MFCC_STATISTICS];
        right.then(|| Self {
            mel: mel.data().chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect(),
            mfcc: f32_values(mfcc.data()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_mean_deviation_and_deviation_of_the_change() {
        let frames = Spectrogram { frames: 4, bins: 2, values: vec![1.0, 5.0, 3.0, 5.0, 1.0, 5.0, 3.0, 5.0] };
        let found = statistics(&frames);
        let expected = [2.0, 5.0, 1.0, 0.0, (4.0_f64 - 4.0 / 9.0).sqrt() as f32, 0.0];
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{found:?}");
        assert_eq!(found.len(), expected.len());
    }

    #[test]
    fn a_clip_survives_its_file_and_a_damaged_one_is_made_anew() {
        let clip = Clip { mel: vec![-12.5; 2 * BINS].into(), mfcc: vec![0.5; MFCC_STATISTICS] };
        let bytes = clip.to_bytes().unwrap();
        assert_eq!(Clip::from_bytes(&bytes), Some(clip));
        assert_eq!(Clip::from_bytes(&bytes[..bytes.len() - 1]), None);
    }
}
