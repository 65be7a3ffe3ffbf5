//! Vectors of whole splits, every file encoded once, by the networks that serve.

use std::collections::HashMap;
use std::path::PathBuf;

use jtav_model::{
    AudioInput, AudioNetwork, Checkpoint, DeviceChoice, FusionInput, ImageNetwork, ModelError, Rgb224, TextFrontEnd,
    TextInput, TextNetwork,
};

use super::examples::{parts, picture_input};
use crate::dataset::{DataPack, Post, Split};
use crate::evaluation::EncodedPost;
use crate::features::Features;
use crate::progress::Progress;

/// Text, audio and image network of a checkpoint, and what reads texts for the first.
pub struct Encoders {
    front_end: TextFrontEnd,
    text: TextNetwork,
    audio: AudioNetwork,
    image: ImageNetwork,
}

/// What is encoded at a time: enough to fill a batch, little enough to show progress.
const CHUNK: usize = 32;

/// The parts of posts, each file once, and where each post's are.
#[derive(Default)]
struct Gathered {
    texts: Vec<TextInput>,
    clips: Vec<AudioInput>,
    pictures: Vec<Rgb224>,
    text_at: Vec<Option<usize>>,
    clip_at: HashMap<PathBuf, usize>,
    picture_at: HashMap<PathBuf, usize>,
}

impl Encoders {
    /// # Errors
    /// A device that is not there, a base that is missing.
    pub fn of_checkpoint(checkpoint: &Checkpoint, device: DeviceChoice) -> anyhow::Result<Self> {
        Ok(Self {
            front_end: TextFrontEnd::of_checkpoint(checkpoint)?,
            text: TextNetwork::from_checkpoint(checkpoint, device)?,
            audio: AudioNetwork::from_checkpoint(checkpoint, device)?,
            image: ImageNetwork::from_checkpoint(checkpoint, device)?,
        })
    }

    /// The posts of `split` in file order; a part that is missing or unreadable has no vector.
    ///
    /// # Errors
    /// A device fault.
    pub fn encode_split(
        &self,
        pack: &DataPack,
        split: Split,
        features: &Features,
        progress: &dyn Progress,
    ) -> anyhow::Result<Vec<EncodedPost>> {
        let posts: Vec<&Post> = pack.split(split).collect();
        let found = self.gather(&posts, features)?;
        let (texts, clips, pictures) = (found.texts.len(), found.clips.len(), found.pictures.len());
        progress.start(&format!("encode {split}"), (texts + clips + pictures) as u64);
        let text =
            |inputs: &[TextInput]| Ok(self.text.encode(inputs)?.into_iter().map(|text| text.encoded.vector).collect());
        let audio =
            |inputs: &[AudioInput]| Ok(self.audio.encode(inputs)?.into_iter().map(|clip| clip.vector).collect());
        let image = |inputs: &[Rgb224]| Ok(self.image.encode(inputs)?.into_iter().map(|shot| shot.vector).collect());
        let texts = in_chunks(text, &found.texts, progress)?;
        let clips = in_chunks(audio, &found.clips, progress)?;
        let pictures = in_chunks(image, &found.pictures, progress)?;
        progress.finish(&format!("{} texts, {} clips, {} pictures", texts.len(), clips.len(), pictures.len()));
        let vector = |vectors: &[Vec<f32>], at: Option<&usize>| at.and_then(|&at| vectors.get(at)).cloned();
        let encoded = posts.iter().zip(&found.text_at).map(|(post, text_at)| EncodedPost {
            input: FusionInput {
                text: vector(&texts, text_at.as_ref()),
                audio: vector(&clips, post.audio.as_ref().and_then(|file| found.clip_at.get(&file.path))),
                image: vector(&pictures, post.image.as_ref().and_then(|file| found.picture_at.get(&file.path))),
            },
            language: text_at.and_then(|at| found.texts.get(at)).and_then(|text| text.language.clone()),
            positive: post.positive,
            mood: post.mood,
        });
        Ok(encoded.collect())
    }

    fn gather(&self, posts: &[&Post], features: &Features) -> anyhow::Result<Gathered> {
        let mut found = Gathered::default();
        for post in posts {
            let text = self.front_end.input(&parts(post))?;
            found.text_at.push(text.map(|input| {
                found.texts.push(input);
                found.texts.len() - 1
            }));
            if let Some((file, clip)) = post.audio.as_ref().and_then(|file| Some((file, features.clip(file)?)))
                && !found.clip_at.contains_key(&file.path)
            {
                found.clip_at.insert(file.path.clone(), found.clips.len());
                found.clips.push(clip.input()?);
            }
            if let Some((file, pixels)) = post.image.as_ref().and_then(|file| Some((file, features.picture(file)?)))
                && !found.picture_at.contains_key(&file.path)
            {
                found.picture_at.insert(file.path.clone(), found.pictures.len());
                found.pictures.push(picture_input(pixels)?);
            }
        }
        Ok(found)
    }
}

fn in_chunks<Input>(
    encode: impl Fn(&[Input]) -> Result<Vec<Vec<f32>>, ModelError>,
    inputs: &[Input],
    progress: &dyn Progress,
) -> Result<Vec<Vec<f32>>, ModelError> {
    let mut vectors = Vec::with_capacity(inputs.len());
    for chunk in inputs.chunks(CHUNK) {
        vectors.extend(encode(chunk)?);
        progress.advance(chunk.len() as u64);
    }
    Ok(vectors)
}
