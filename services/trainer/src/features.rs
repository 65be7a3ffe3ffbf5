//! What the encoders read of each media file, decoded once and kept.
//!
//! A feature is kept under the SHA-256 of the file's bytes and the version of the front end, as a small safetensors
//! file: audio as `decibels` `[frames, 96]` f16 and `statistics` `[173]` f32, pictures as `pixels` `[256, 256, 3]` u8. A
//! damaged file is made anew.
//! Decoding and front end are those of the serving path, so that a network is trained on what it will be given.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use half::f16;
use jtav_model::{AudioInput, IMAGE_SIDE, Modality, ModelError, STATISTICS};
use jtav_signal::CqtFrontEnd;
use jtav_signal::constants::{BINS, BINS_PER_OCTAVE, HOP_LENGTH, SAMPLE_RATE_HZ};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use crate::dataset::{MediaFile, Post};
use crate::decode::{decode_audio, decode_picture};
use crate::files::{for_each_file, read_described, write_whole};
use crate::progress::Progress;

/// Side in pixels of a kept picture: its centre square, shorter side resized to this.
pub const PICTURE_SIDE: usize = 256;

/// Raise it when decoding, resampling, resizing, the constant-Q transform or the statistics change their numbers: every
/// feature is then made anew. Clips have statistics since 2, of all their frames since 3.
const FRONT_END_REVISION: u32 = 3;

/// Names the folder that features of this front end, given so much of a clip, are kept in.
pub fn front_end_version(max_audio_seconds: u32) -> String {
    format!(
        "cqt{BINS}x{BINS_PER_OCTAVE}-hop{HOP_LENGTH}-{SAMPLE_RATE_HZ}hz-{max_audio_seconds}s-db16_rgb{PICTURE_SIDE}_r{FRONT_END_REVISION}"
    )
}

/// A media file that the serving path could not use either; its posts go without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub path: PathBuf,
    pub reason: String,
}

/// The feature of a clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// `[frames, 96]` in dB.
    pub decibels: Arc<[f32]>,
    /// [`STATISTICS`] values.
    pub statistics: Arc<[f32]>,
}

impl Clip {
    /// As the audio network takes it.
    ///
    /// # Errors
    /// None for a clip of [`Features`].
    pub fn input(&self) -> Result<AudioInput, ModelError> {
        Ok(AudioInput::from_spectrogram(&self.decibels)?.with_statistics(&*self.statistics))
    }
}

/// The features of posts, in memory.
#[derive(Debug, Default)]
pub struct Features {
    audio: HashMap<PathBuf, Clip>,
    image: HashMap<PathBuf, Arc<[u8]>>,
    /// Files without a feature.
    pub unreadable: Vec<Unreadable>,
    /// Files whose feature was already there.
    pub from_cache: usize,
    /// Files that were decoded.
    pub decoded: usize,
}

impl Features {
    /// Spectrogram of a clip, `[frames, 96]` in dB.
    pub fn audio(&self, file: &MediaFile) -> Option<&Arc<[f32]>> {
        self.clip(file).map(|clip| &clip.decibels)
    }

    /// Spectrogram and statistics of a clip.
    pub fn clip(&self, file: &MediaFile) -> Option<&Clip> {
        self.audio.get(&file.path)
    }

    /// Centre square of a picture, `[256, 256, 3]`, RGB.
    pub fn picture(&self, file: &MediaFile) -> Option<&Arc<[u8]>> {
        self.image.get(&file.path)
    }

    /// Reads, or decodes and keeps, the features of every file that one of `posts` names, on `threads` threads; of a clip
    /// those of its first `max_audio_seconds`.
    ///
    /// # Errors
    /// A file that is missing, or is not the one that the pack describes; a cache folder that cannot be written.
    /// A file that does not decode is no error but listed in [`unreadable`](Self::unreadable).
    pub fn load<'a>(
        posts: impl IntoIterator<Item = &'a Post>,
        max_audio_seconds: u32,
        cache: &Path,
        threads: usize,
        progress: &dyn Progress,
    ) -> anyhow::Result<Self> {
        let folder = cache.join(front_end_version(max_audio_seconds));
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        // Ordered, so that runs report the same files in the same order.
        let mut files: BTreeMap<&Path, (Modality, &Arc<MediaFile>)> = BTreeMap::new();
        for post in posts {
            for (modality, file) in [(Modality::Audio, &post.audio), (Modality::Image, &post.image)] {
                if let Some(file) = file {
                    files.insert(&file.path, (modality, file));
                }
            }
        }
        let files: Vec<_> = files.into_values().collect();
        progress.start("features", files.len() as u64);
        let front_end = CqtFrontEnd::new();
        let mut features = Self::default();
        for_each_file(
            &files,
            threads,
            progress,
            |(modality, file)| feature(&front_end, &folder, *modality, file, max_audio_seconds),
            |(_, file), (made, from_cache)| features.insert(file, made, from_cache),
        )?;
        features.unreadable.sort_by(|a, b| a.path.cmp(&b.path));
        progress.finish(&format!(
            "{} files: {} decoded, {} from {}, {} unreadable",
            files.len(),
            features.decoded,
            features.from_cache,
            folder.display(),
            features.unreadable.len()
        ));
        Ok(features)
    }
}

/// The feature of one file, and whether it was already there.
fn feature(
    front_end: &CqtFrontEnd,
    folder: &Path,
    modality: Modality,
    file: &MediaFile,
    max_audio_seconds: u32,
) -> anyhow::Result<(Result<Feature, String>, bool)> {
    let (bytes, digest) = read_described(file)?;
    let kept = folder.join(format!("{digest}.{}.safetensors", modality.name()));
    if let Some(feature) = std::fs::read(&kept).ok().and_then(|bytes| Feature::from_bytes(modality, &bytes)) {
        return Ok((Ok(feature), true));
    }
    let made = match modality {
        Modality::Image => decode_picture(&bytes, PICTURE_SIDE).map(|pixels| Feature::Picture(pixels.into())),
        _ => decode_audio(&bytes, file.media_type.as_deref(), max_audio_seconds).and_then(|samples| {
            let spectrogram = front_end.decibels(&samples).map_err(|e| e.to_string())?;
            let input = AudioInput::from_sound(&samples, &spectrogram.values).map_err(|e| e.to_string())?;
            Ok(Feature::Clip(Clip { decibels: spectrogram.values.into(), statistics: input.statistics.into() }))
        }),
    };
    match made {
        // Rounded as the cache rounds, so that the first run and the second see the same numbers.
        Ok(feature) => {
            let bytes = feature.to_bytes()?;
            write_whole(&kept, &bytes)?;
            let feature = Feature::from_bytes(modality, &bytes);
            Ok((feature.ok_or_else(|| "the front end gave no whole frame".to_owned()), false))
        }
        Err(reason) => Ok((Err(reason), false)),
    }
}

impl Features {
    fn insert(&mut self, file: &MediaFile, feature: Result<Feature, String>, from_cache: bool) {
        if from_cache {
            self.from_cache += 1;
        } else {
            self.decoded += 1;
        }
        match feature {
            Ok(Feature::Clip(clip)) => drop(self.audio.insert(file.path.clone(), clip)),
            Ok(Feature::Picture(pixels)) => drop(self.image.insert(file.path.clone(), pixels)),
            Err(reason) => self.unreadable.push(Unreadable { path: file.path.clone(), reason }),
        }
    }
}

#[derive(Debug, PartialEq)]
enum Feature {
    Clip(Clip),
    Picture(Arc<[u8]>),
}

impl Feature {
    fn to_bytes(&self) -> anyhow::Result<Vec<u8>> {
        let arrays = match self {
            Self::Clip(Clip { decibels, statistics }) => {
                let halves: Vec<u8> = decibels.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
                let whole = statistics.iter().flat_map(|value| value.to_le_bytes()).collect();
                let shape = vec![decibels.len() / BINS, BINS];
                vec![("decibels", Dtype::F16, shape, halves), ("statistics", Dtype::F32, vec![statistics.len()], whole)]
            }
            Self::Picture(pixels) => {
                vec![("pixels", Dtype::U8, vec![PICTURE_SIDE, PICTURE_SIDE, 3], pixels.to_vec())]
            }
        };
        let view = |(name, dtype, shape, data)| Ok((name, TensorView::new(dtype, shape, data)?));
        let arrays = arrays.iter().map(|(name, dtype, shape, data)| (*name, *dtype, shape.clone(), data.as_slice()));
        let views: Vec<(&str, TensorView)> = arrays
            .map(view)
            .collect::<Result<_, safetensors::SafeTensorError>>()
            .context("the front end gave an array of another shape")?;
        serialize(views, None).context("packing a feature")
    }

    /// `None` when the bytes are not such a feature: an interrupted write, another version.
    fn from_bytes(modality: Modality, bytes: &[u8]) -> Option<Self> {
        let file = SafeTensors::deserialize(bytes).ok()?;
        if modality == Modality::Image {
            let view = file.tensor("pixels").ok()?;
            let right = view.dtype() == Dtype::U8 && view.shape() == [PICTURE_SIDE, PICTURE_SIDE, 3];
            return right.then(|| Self::Picture(view.data().into()));
        }
        let (view, statistics) = (file.tensor("decibels").ok()?, file.tensor("statistics").ok()?);
        let right = view.dtype() == Dtype::F16 && matches!(view.shape(), [frames, BINS] if *frames > 0);
        let right = right && statistics.dtype() == Dtype::F32 && statistics.shape() == [STATISTICS];
        right.then(|| {
            let halves = view.data().chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32());
            let (statistics, _) = statistics.data().as_chunks();
            Self::Clip(Clip {
                decibels: halves.collect(),
                statistics: statistics.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
            })
        })
    }
}

/// The centre 224 × 224 of a kept picture: with a shorter side of 256, exactly what serving cuts out.
pub fn centre_crop(pixels: &[u8]) -> Vec<u8> {
    let margin = (PICTURE_SIDE - IMAGE_SIDE) / 2;
    let rows = pixels.chunks_exact(PICTURE_SIDE * 3).skip(margin).take(IMAGE_SIDE);
    rows.flat_map(|row| row[margin * 3..(margin + IMAGE_SIDE) * 3].iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{DataPack, sha256_hex};
    use crate::progress::Silent;

    /// A one-pixel GIF, red.
    const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\x00\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

    /// Half a second of 440 Hz at 22,050 Hz, 16-bit mono WAV.
    fn wav() -> Vec<u8> {
        let samples: Vec<i16> = (0..11_025)
            .map(|i| ((f64::from(i) * 440.0 * std::f64::consts::TAU / 22_050.0).sin() * 20_000.0) as i16)
            .collect();
        jtav_media_codecs::write_wav(&samples, 22_050)
    }

    fn pack(folder: &Path, image: &[u8]) -> DataPack {
        std::fs::write(folder.join("a.wav"), wav()).unwrap();
        std::fs::write(folder.join("i.gif"), image).unwrap();
        let line = format!(
            r#"{{"id":"a","audio":{{"path":"a.wav","sha256":"{}"}},"image":{{"path":"i.gif"}},"labels":{{"sentiment":1}},"split":"train"}}"#,
            sha256_hex(&wav())
        );
        std::fs::write(folder.join("posts.jsonl"), line).unwrap();
        DataPack::read(folder).unwrap()
    }

    #[test]
    fn a_second_run_reads_the_same_features_without_decoding() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let pack = pack(folder.path(), GIF);
        let first = Features::load(&pack.posts, 30, cache.path(), 2, &Silent).unwrap();
        assert_eq!((first.decoded, first.from_cache, first.unreadable.len()), (2, 0, 0));
        let second = Features::load(&pack.posts, 30, cache.path(), 1, &Silent).unwrap();
        assert_eq!((second.decoded, second.from_cache), (0, 2));

        let post = &pack.posts[0];
        let (audio, image) = (post.audio.as_ref().unwrap(), post.image.as_ref().unwrap());
        assert_eq!(first.clip(audio), second.clip(audio));
        assert!(first.clip(audio).unwrap().statistics.iter().any(|&value| value != 0.0));
        assert_eq!(first.picture(image), second.picture(image));
        let decibels = first.audio(audio).unwrap();
        assert_eq!(decibels.len(), (1 + 11_025 / HOP_LENGTH) * BINS);
        // A4 is 45 semitones above C1.
        let frame = &decibels[5 * BINS..6 * BINS];
        let loudest = (0..BINS).max_by(|&a, &b| frame[a].total_cmp(&frame[b])).unwrap();
        assert_eq!(loudest, 45);
        let picture = first.picture(image).unwrap();
        assert!(picture.chunks_exact(3).all(|pixel| pixel == [255, 0, 0]));
    }

    #[test]
    fn a_damaged_feature_is_made_anew() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let pack = pack(folder.path(), GIF);
        Features::load(&pack.posts, 30, cache.path(), 1, &Silent).unwrap();
        for entry in std::fs::read_dir(cache.path().join(front_end_version(30))).unwrap() {
            std::fs::write(entry.unwrap().path(), b"half a fi").unwrap();
        }
        let again = Features::load(&pack.posts, 30, cache.path(), 1, &Silent).unwrap();
        assert_eq!((again.decoded, again.from_cache, again.unreadable.len()), (2, 0, 0));
    }

    #[test]
    fn a_file_that_does_not_decode_is_listed_and_one_that_is_another_is_an_error() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let pack = pack(folder.path(), b"no picture at all");
        let features = Features::load(&pack.posts, 30, cache.path(), 1, &Silent).unwrap();
        assert_eq!(features.unreadable.len(), 1);
        assert!(features.picture(pack.posts[0].image.as_ref().unwrap()).is_none());

        std::fs::write(folder.path().join("a.wav"), b"swapped").unwrap();
        let message = Features::load(&pack.posts, 30, cache.path(), 1, &Silent).unwrap_err().to_string();
        assert!(message.contains("a.wav: sha256 is"), "{message}");
    }

    #[test]
    fn the_centre_is_cut_out_of_the_middle() {
        let mut pixels = vec![0_u8; PICTURE_SIDE * PICTURE_SIDE * 3];
        let at = |row: usize, column: usize| (row * PICTURE_SIDE + column) * 3;
        pixels[at(16, 16)] = 1;
        pixels[at(239, 239) + 2] = 2;
        pixels[at(15, 16)] = 9;
        let cut = centre_crop(&pixels);
        assert_eq!(cut.len(), IMAGE_SIDE * IMAGE_SIDE * 3);
        assert_eq!((cut[0], cut[cut.len() - 1]), (1, 2));
        assert!(!cut.contains(&9));
    }
}
