//! Vectors of whole splits, every file encoded once.

use std::collections::HashMap;
use std::path::PathBuf;

use jtav_model::{
    AudioInput, AudioNetwork, FusionInput, ImageNetwork, ModelError, Rgb224, TextInput, TextNetwork, Tokenizer,
    Vocabulary,
};
use jtav_training::{AudioTrainer, ImageTrainer, TextTrainer};

use super::examples::{picture_input, text_input};
use crate::dataset::{DataPack, Post, Split};
use crate::evaluation::EncodedPost;
use crate::features::Features;
use crate::progress::Progress;

/// Text, audio and image network together, in training or as they serve.
pub(super) struct Encoders<T, A, I> {
    pub text: T,
    pub audio: A,
    pub image: I,
}

/// The vectors of a batch, in order.
pub(super) trait Encode<Input> {
    fn vectors(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, ModelError>;
}

impl<Input, N: Encode<Input>> Encode<Input> for &N {
    fn vectors(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, ModelError> {
        (*self).vectors(inputs)
    }
}

macro_rules! encode {
    ($input:ty, $trainer:ty, $network:ty) => {
        impl Encode<$input> for $trainer {
            fn vectors(&self, inputs: &[$input]) -> Result<Vec<Vec<f32>>, ModelError> {
                self.encode(inputs)
            }
        }
        impl Encode<$input> for $network {
            fn vectors(&self, inputs: &[$input]) -> Result<Vec<Vec<f32>>, ModelError> {
                Ok(self.encode(inputs)?.into_iter().map(|encoded| encoded.vector).collect())
            }
        }
    };
}

encode!(TextInput, TextTrainer, TextNetwork);
encode!(AudioInput, AudioTrainer, AudioNetwork);
encode!(Rgb224, ImageTrainer, ImageNetwork);

/// What is encoded at a time: enough to fill a batch, little enough to show progress.
const CHUNK: usize = 32;

impl<T, A, I> Encoders<T, A, I>
where
    T: Encode<TextInput>,
    A: Encode<AudioInput>,
    I: Encode<Rgb224>,
{
    /// The posts of `split` in file order; a part that is missing or unreadable has no vector.
    pub fn encode_split(
        &self,
        pack: &DataPack,
        split: Split,
        features: &Features,
        text: (&Tokenizer, &Vocabulary),
        progress: &dyn Progress,
    ) -> anyhow::Result<Vec<EncodedPost>> {
        let posts: Vec<&Post> = pack.split(split).collect();
        let mut audio: HashMap<PathBuf, usize> = HashMap::new();
        let mut image: HashMap<PathBuf, usize> = HashMap::new();
        let (mut clips, mut pictures, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        let mut text_at = Vec::with_capacity(posts.len());
        for post in &posts {
            text_at.push(text_input(text.0, text.1, post).map(|input| {
                texts.push(input);
                texts.len() - 1
            }));
            if let Some((file, decibels)) = post.audio.as_ref().and_then(|file| Some((file, features.audio(file)?)))
                && !audio.contains_key(&file.path)
            {
                audio.insert(file.path.clone(), clips.len());
                clips.push(AudioInput::from_spectrogram(decibels)?);
            }
            if let Some((file, pixels)) = post.image.as_ref().and_then(|file| Some((file, features.picture(file)?)))
                && !image.contains_key(&file.path)
            {
                image.insert(file.path.clone(), pictures.len());
                pictures.push(picture_input(pixels)?);
            }
        }
        progress.start(&format!("encode {split}"), (texts.len() + clips.len() + pictures.len()) as u64);
        let texts = in_chunks(&self.text, &texts, progress)?;
        let clips = in_chunks(&self.audio, &clips, progress)?;
        let pictures = in_chunks(&self.image, &pictures, progress)?;
        progress.finish(&format!("{} texts, {} clips, {} pictures", texts.len(), clips.len(), pictures.len()));
        let vector = |vectors: &[Vec<f32>], at: Option<&usize>| at.and_then(|&at| vectors.get(at)).cloned();
        let encoded = posts.iter().zip(&text_at).map(|(post, text_at)| EncodedPost {
            input: FusionInput {
                text: vector(&texts, text_at.as_ref()),
                audio: vector(&clips, post.audio.as_ref().and_then(|file| audio.get(&file.path))),
                image: vector(&pictures, post.image.as_ref().and_then(|file| image.get(&file.path))),
            },
            positive: post.positive,
            mood: post.mood,
        });
        Ok(encoded.collect())
    }
}

fn in_chunks<Input>(
    network: &impl Encode<Input>,
    inputs: &[Input],
    progress: &dyn Progress,
) -> Result<Vec<Vec<f32>>, ModelError> {
    let mut vectors = Vec::with_capacity(inputs.len());
    for chunk in inputs.chunks(CHUNK) {
        vectors.extend(network.vectors(chunk)?);
        progress.advance(chunk.len() as u64);
    }
    Ok(vectors)
}
