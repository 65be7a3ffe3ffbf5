//! Which examples each network is trained on.
//!
//! Media are shared by several posts, so the audio and the image network learn from files and not from posts: a
//! picture in nine posts would otherwise count nine times. Sources of the sealed tenth are in no training: what a run chose
//! is judged on them once (docs/results/labels.md).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use jtav_model::Rgb224;
use jtav_training::{ImageExample, SoundExample};

use super::network::Network;
use crate::dataset::{DataPack, MediaFile, Post, Split, comparable};
use crate::features::{Clip, Features, PICTURE_SIDE, centre_crop};
use crate::texts::{FOLDS, RatedText, fold, is_sealed};

/// Training examples, and validation inputs with their labels.
pub(super) struct Examples<N: Network> {
    pub train: Vec<N::Example>,
    pub validation: Vec<N::Input>,
    pub labels: Vec<bool>,
}

/// Roles and texts of a post.
pub fn parts(post: &Post) -> Vec<(&str, &str)> {
    post.texts.iter().map(|part| (part.role.as_str(), part.text.as_str())).collect()
}

/// Refuses rated texts of which one is also that of a post that is not to be trained on.
pub(super) fn leaks(pack: &DataPack, rated: &[RatedText]) -> anyhow::Result<()> {
    let held_out = pack.posts.iter().filter(|post| post.split != Split::Train);
    let held_out: HashMap<String, &Post> =
        held_out.flat_map(|post| post.texts.iter().map(move |part| (comparable(&part.text), post))).collect();
    for text in rated {
        if let Some(post) = held_out.get(&comparable(&text.text)) {
            let (id, of) = (&text.id, &post.id);
            anyhow::bail!("the rated text `{id}` is also that of post `{of}`, which is in the {} split", post.split);
        }
    }
    Ok(())
}

/// A pack's own texts as rated ones, where there are no others: one vote each, for what the post is labelled. Such a network
/// never calls a text neutral.
pub(super) fn of_pack(pack: &DataPack) -> Vec<RatedText> {
    let of_posts = pack.split(Split::Train).flat_map(|post| {
        post.texts.iter().map(move |part| (format!("{}/{}", post.id, part.role), &post.id, &part.text, post.positive))
    });
    let extra = pack.extra_texts.iter().map(|extra| (extra.id.clone(), &extra.id, &extra.text, extra.sentiment == 1));
    let rated = |(id, group, text, positive): (String, &String, &String, bool)| RatedText {
        id,
        group: group.clone(),
        text: text.clone(),
        votes: if positive { [0.0, 0.0, 1.0] } else { [1.0, 0.0, 0.0] },
        mean: if positive { 2.0 } else { -2.0 },
        fold: fold(group, FOLDS),
    };
    of_posts.chain(extra).map(rated).collect()
}

/// A medium of a split with what is said of it.
pub(super) struct Labelled<'a> {
    pub file: &'a MediaFile,
    pub positive: bool,
    pub mood: Option<usize>,
}

/// The files of one split with their labels, each once per label that a post gives it, ordered by path; without the sealed
/// sources in training. A mood is that of a post's sound, so pictures have none.
pub(super) fn files<'a>(
    pack: &'a DataPack,
    split: Split,
    of: impl Fn(&'a Post) -> Option<&'a Arc<MediaFile>>,
    mood: impl Fn(&'a Post) -> Option<usize>,
) -> Vec<Labelled<'a>> {
    let mut found: BTreeMap<(&Path, bool, Option<usize>), &MediaFile> = BTreeMap::new();
    for post in pack.split(split) {
        let file = of(post).filter(|file| split != Split::Train || !file.group.as_deref().is_some_and(is_sealed));
        if let Some(file) = file {
            found.insert((file.path.as_path(), post.positive, mood(post)), file);
        }
    }
    found.into_iter().map(|((_, positive, mood), file)| Labelled { file, positive, mood }).collect()
}

/// The clips of a split that can be read, each once for each of its labels.
pub(super) fn sounds<'a>(pack: &'a DataPack, split: Split, features: &'a Features) -> Vec<(SoundExample, &'a Clip)> {
    let mut sounds = Vec::new();
    for Labelled { file, positive, mood } in files(pack, split, |post| post.audio.as_ref(), |post| post.mood) {
        if let Some(clip) = features.clip(file) {
            let statistics = clip.statistics.to_vec();
            let group = file.group();
            sounds.push((SoundExample { statistics, positive, is_music: !file.is_speech, mood, group }, clip));
        }
    }
    sounds
}

/// Pictures of a split: as the head is fitted on them, their sources, and as they serve.
pub(super) struct Pictures {
    pub examples: Vec<ImageExample>,
    pub groups: Vec<String>,
    pub served: Vec<Rgb224>,
}

pub(super) fn pictures(pack: &DataPack, features: &Features, split: Split) -> anyhow::Result<Pictures> {
    let mut pictures = Pictures { examples: Vec::new(), groups: Vec::new(), served: Vec::new() };
    for Labelled { file, positive, .. } in files(pack, split, |post| post.image.as_ref(), |_| None) {
        if let Some(pixels) = features.picture(file) {
            pictures.served.push(picture_input(pixels)?);
            pictures.examples.push(ImageExample { pixels: pixels.clone(), side: PICTURE_SIDE, positive });
            pictures.groups.push(file.group());
        }
    }
    Ok(pictures)
}

/// The centre of a kept picture: what the serving path would hand the image network.
pub fn picture_input(pixels: &[u8]) -> anyhow::Result<Rgb224> {
    Rgb224::new(centre_crop(pixels)).context("cutting out the centre of a picture")
}
