//! Which examples each network is trained on.
//!
//! Media are shared by several posts, so the audio and the image network learn from files and not from posts: a
//! picture in nine posts would otherwise count nine times. The text network also reads the pack's extra texts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use jtav_model::{AudioInput, Rgb224, TextInput, Tokenizer, Vocabulary, VocabularyConfig};
use jtav_training::{AudioExample, AudioTrainer, ImageExample, ImageTrainer, TextExample, TextTrainer};

use super::network::Network;
use crate::dataset::{DataPack, MediaFile, Post, Split};
use crate::features::{Features, PICTURE_SIDE, centre_crop};

/// Training examples, and validation inputs with their labels.
pub(super) struct Examples<N: Network> {
    pub train: Vec<N::Example>,
    pub validation: Vec<N::Input>,
    pub labels: Vec<bool>,
}

/// From the texts of the training posts and the extra texts, nothing else.
pub(super) fn vocabulary(pack: &DataPack, tokenizer: &Tokenizer, config: VocabularyConfig) -> Vocabulary {
    let of_posts = pack.split(Split::Train).flat_map(|post| post.texts.iter().map(|part| part.text.as_str()));
    let extra = pack.extra_texts.iter().map(|extra| extra.text.as_str());
    Vocabulary::build(of_posts.chain(extra).map(|text| tokenizer.words(text)), config)
}

/// The text of a post as the network reads it; `None` without a word.
pub fn text_input(tokenizer: &Tokenizer, vocabulary: &Vocabulary, post: &Post) -> Option<TextInput> {
    let parts: Vec<(&str, &str)> = post.texts.iter().map(|part| (part.role.as_str(), part.text.as_str())).collect();
    TextInput::from_parts(tokenizer, vocabulary, &parts)
}

pub(super) fn texts(
    pack: &DataPack,
    tokenizer: &Tokenizer,
    vocabulary: &Vocabulary,
) -> anyhow::Result<Examples<TextTrainer>> {
    let extra = pack.extra_texts.iter().filter_map(|extra| {
        let input = TextInput::from_parts(tokenizer, vocabulary, &[(extra.role.as_str(), extra.text.as_str())])?;
        Some((input, extra.sentiment == 1))
    });
    let train = texts_of(pack, Split::Train, tokenizer, vocabulary).chain(extra);
    let (validation, labels) = texts_of(pack, Split::Validation, tokenizer, vocabulary).unzip();
    Ok(Examples { train: train.map(|(input, positive)| TextExample { input, positive }).collect(), validation, labels })
}

/// The posts of a split that have a text, with their labels.
pub(super) fn texts_of<'a>(
    pack: &'a DataPack,
    split: Split,
    tokenizer: &'a Tokenizer,
    vocabulary: &'a Vocabulary,
) -> impl Iterator<Item = (TextInput, bool)> + 'a {
    pack.split(split).filter_map(move |post| Some((text_input(tokenizer, vocabulary, post)?, post.positive)))
}

/// The files of one split with their labels, each once per label that a post gives it, ordered by path.
fn files<'a>(
    pack: &'a DataPack,
    split: Split,
    of: impl Fn(&'a Post) -> Option<&'a Arc<MediaFile>>,
    mood: impl Fn(&'a Post) -> Option<usize>,
) -> Vec<(&'a MediaFile, bool, Option<usize>)> {
    let mut found: BTreeMap<(&Path, bool, Option<usize>), &MediaFile> = BTreeMap::new();
    for post in pack.split(split) {
        if let Some(file) = of(post) {
            found.insert((file.path.as_path(), post.positive, mood(post)), file);
        }
    }
    found.into_iter().map(|((_, positive, mood), file)| (file, positive, mood)).collect()
}

/// Spectrograms of the training clips, each once.
pub(super) fn training_clips(pack: &DataPack, features: &Features) -> Vec<Arc<[f32]>> {
    let mut clips = files(pack, Split::Train, |post| post.audio.as_ref(), |_| None);
    clips.dedup_by_key(|(file, ..)| file.path.as_path());
    clips.into_iter().filter_map(|(file, ..)| features.audio(file).cloned()).collect()
}

pub(super) fn clips(pack: &DataPack, features: &Features) -> anyhow::Result<Examples<AudioTrainer>> {
    let of_split = |split| {
        let files = files(pack, split, |post| post.audio.as_ref(), |post| post.mood);
        files.into_iter().filter_map(|(file, positive, mood)| Some((features.audio(file)?.clone(), positive, mood)))
    };
    let train =
        of_split(Split::Train).map(|(decibels, positive, mood)| AudioExample { decibels, positive, mood }).collect();
    let (mut validation, mut labels) = (Vec::new(), Vec::new());
    for (decibels, positive, _) in of_split(Split::Validation) {
        validation.push(AudioInput::from_spectrogram(&decibels)?);
        labels.push(positive);
    }
    Ok(Examples { train, validation, labels })
}

pub(super) fn pictures(pack: &DataPack, features: &Features) -> anyhow::Result<Examples<ImageTrainer>> {
    let of_split = |split| {
        let files = files(pack, split, |post| post.image.as_ref(), |_| None);
        files.into_iter().filter_map(|(file, positive, _)| Some((features.picture(file)?.clone(), positive)))
    };
    let train = of_split(Split::Train)
        .map(|(pixels, positive)| ImageExample { pixels, side: PICTURE_SIDE, positive })
        .collect();
    let (mut validation, mut labels) = (Vec::new(), Vec::new());
    for (pixels, positive) in of_split(Split::Validation) {
        validation.push(picture_input(&pixels)?);
        labels.push(positive);
    }
    Ok(Examples { train, validation, labels })
}

/// The centre of a kept picture: what the serving path would hand the image network.
pub fn picture_input(pixels: &[u8]) -> anyhow::Result<Rgb224> {
    Rgb224::new(centre_crop(pixels)).context("cutting out the centre of a picture")
}
