//! What the rows of a table read, in memory, and how the posts are dealt.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use jtav_model::{AudioInput, FusionInput, Tokenizer};
use jtav_trainer::dataset::{DataPack, MediaFile, Post, Split};
use jtav_trainer::decode::served_audio_seconds;
use jtav_trainer::features::Features;
use jtav_trainer::{Progress, picture_input};

use super::rows::{Method, Sound};
use crate::classical::Doc2VecConfig;
use crate::sound::SoundFeatures;
use crate::words::{CaptionVocabulary, TextReader, WordTable};
use crate::zoo::{Architecture, Input, Profile};

/// Positions of posts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fold {
    /// Learnt from.
    pub train: Vec<usize>,
    /// Epochs, penalties and thresholds are chosen here.
    pub validation: Vec<usize>,
    /// Reported.
    pub test: Vec<usize>,
}

impl Fold {
    pub fn of_splits(pack: &DataPack) -> Self {
        let of = |split| (0..pack.posts.len()).filter(|&at| pack.posts[at].split == split).collect();
        Self { train: of(Split::Train), validation: of(Split::Validation), test: of(Split::Test) }
    }

    /// Share of positive training posts.
    pub fn base_rate(&self, labels: &[bool]) -> f64 {
        let positive = self.train.iter().filter(|&&at| labels[at]).count();
        if self.train.is_empty() { 0.5 } else { positive as f64 / self.train.len() as f64 }
    }

    /// Refuses a fold that nothing can be learnt from or chosen by.
    pub fn check(&self, labels: &[bool], name: &str) -> anyhow::Result<()> {
        for (what, posts) in [("training", &self.train), ("validation", &self.validation), ("test", &self.test)] {
            let positive = posts.iter().filter(|&&at| labels[at]).count();
            anyhow::ensure!(
                positive > 0 && positive < posts.len(),
                "{name}: {positive} of {} {what} posts are positive, a table needs both labels there",
                posts.len()
            );
        }
        Ok(())
    }
}

/// Inputs, each once, and which of them each post has.
#[derive(Debug, Clone)]
pub(crate) struct Items<T> {
    pub items: Vec<T>,
    pub of_post: Vec<Option<usize>>,
}

impl<T> Items<T> {
    /// One item per post that has one.
    pub fn per_post(found: impl IntoIterator<Item = Option<T>>) -> Self {
        let (mut items, mut of_post) = (Vec::new(), Vec::new());
        for item in found {
            of_post.push(item.is_some().then_some(items.len()));
            items.extend(item);
        }
        Self { items, of_post }
    }

    /// One item per file, made when it is first met.
    fn per_file<'a>(
        posts: &'a [Post],
        file: impl Fn(&'a Post) -> Option<&'a Arc<MediaFile>>,
        make: impl Fn(&'a MediaFile) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<Self> {
        let mut met: HashMap<&PathBuf, Option<usize>> = HashMap::new();
        let (mut items, mut of_post) = (Vec::new(), Vec::new());
        for post in posts {
            let Some(file) = file(post) else {
                of_post.push(None);
                continue;
            };
            if !met.contains_key(&file.path) {
                let made = make(file)?;
                met.insert(&file.path, made.is_some().then_some(items.len()));
                items.extend(made);
            }
            of_post.push(met.get(&file.path).copied().flatten());
        }
        Ok(Self { items, of_post })
    }

    /// The items of these posts with their labels, each pair once: a picture in nine posts counts once.
    pub fn labelled(&self, posts: &[usize], labels: &[bool]) -> Vec<(usize, bool)> {
        let pairs: BTreeSet<(usize, bool)> =
            posts.iter().filter_map(|&at| Some((self.of_post[at]?, labels[at]))).collect();
        pairs.into_iter().collect()
    }

    /// What was said of the items, as said of the posts.
    pub fn spread<V: Clone>(&self, of_items: &[V]) -> Vec<Option<V>> {
        self.of_post.iter().map(|at| at.and_then(|at| of_items.get(at).cloned())).collect()
    }
}

/// Everything that the rows of a pack of media read.
pub(crate) struct Media {
    /// Word vectors, for the networks.
    pub texts: Items<Input>,
    /// The words themselves, for doc2vec.
    pub documents: Items<Vec<String>>,
    /// Words of the texts that belong to the training side without a post.
    pub extra_documents: Vec<Vec<String>>,
    pub constant_q: Items<Input>,
    pub mel: Items<Input>,
    pub mfcc: Items<Vec<f32>>,
    pub pictures: Items<Input>,
}

impl Media {
    /// Decodes what is not in the cache.
    pub fn load(
        pack: &DataPack,
        words: &WordTable,
        cache: &Path,
        threads: usize,
        progress: &dyn Progress,
    ) -> anyhow::Result<Self> {
        let features = Features::load(&pack.posts, served_audio_seconds(), cache, threads, progress)?;
        let sound = SoundFeatures::load(&pack.posts, served_audio_seconds(), cache, threads, progress)?;
        for file in &features.unreadable {
            tracing::warn!(path = %file.path.display(), reason = %file.reason, "media file is left out");
        }
        let clip = |decibels: Option<&Arc<[f32]>>| -> anyhow::Result<Option<Input>> {
            Ok(decibels.map(|levels| AudioInput::from_spectrogram(levels)).transpose()?.map(Input::from))
        };
        let (texts, documents) = texts(pack, words)?;
        let tokenizer = Tokenizer::new();
        Ok(Self {
            texts,
            documents,
            extra_documents: pack.extra_texts.iter().map(|extra| tokenizer.words(&extra.text)).collect(),
            constant_q: Items::per_file(&pack.posts, |post| post.audio.as_ref(), |file| clip(features.audio(file)))?,
            mel: Items::per_file(&pack.posts, |post| post.audio.as_ref(), |file| clip(sound.mel(file)))?,
            mfcc: Items::per_file(&pack.posts, |post| post.audio.as_ref(), |file| Ok(sound.mfcc(file).cloned()))?,
            pictures: Items::per_file(
                &pack.posts,
                |post| post.image.as_ref(),
                |file| Ok(features.picture(file).map(|pixels| picture_input(pixels)).transpose()?.map(Input::from)),
            )?,
        })
    }

    /// The spectrograms of one kind.
    pub fn clips(&self, sound: Sound) -> &Items<Input> {
        match sound {
            Sound::Cqt => &self.constant_q,
            Sound::Mel => &self.mel,
        }
    }
}

/// Texts as word vectors and as words.
fn texts(pack: &DataPack, words: &WordTable) -> anyhow::Result<(Items<Input>, Items<Vec<String>>)> {
    let tokenizer = Tokenizer::new();
    let tokenised: Vec<Vec<Vec<String>>> =
        pack.posts.iter().map(|post| post.texts.iter().map(|part| tokenizer.words(&part.text)).collect()).collect();
    // Every part but the longest is a caption; which words captions have is learnt from training posts alone.
    let supporting = |parts: &[Vec<String>]| {
        let longest = (0..parts.len()).rev().max_by_key(|&at| parts[at].len());
        let others = parts.iter().enumerate().filter(move |(at, _)| Some(*at) != longest);
        others.map(|(_, words)| words.clone()).collect::<Vec<_>>()
    };
    let training = pack.posts.iter().zip(&tokenised).filter(|(post, _)| post.split == Split::Train);
    let captions: Vec<Vec<String>> = training.flat_map(|(_, parts)| supporting(parts)).collect();
    let captions = CaptionVocabulary::of(captions.iter().map(Vec::as_slice));
    let reader = TextReader::new(words, &captions);
    let read = pack.posts.iter().map(|post| reader.read(&post.texts).map(Input::from));
    let inputs = Items::per_post(read);
    let (unknown, all) = reader.out_of_vocabulary();
    tracing::info!(unknown, words = all, "words without a vector");
    let documents = tokenised.into_iter().map(|parts| {
        let words: Vec<String> = parts.into_iter().flatten().collect();
        (!words.is_empty()).then_some(words)
    });
    Ok((inputs, Items::per_post(documents)))
}

/// Lists of words that word vectors may be learnt from: training posts and extra texts.
pub(crate) fn training_words(pack: &DataPack) -> Vec<Vec<String>> {
    let tokenizer = Tokenizer::new();
    let of_posts = pack.split(Split::Train).flat_map(|post| post.texts.iter().map(|part| part.text.as_str()));
    let extra = pack.extra_texts.iter().map(|extra| extra.text.as_str());
    of_posts.chain(extra).map(|text| tokenizer.words(text)).filter(|words| !words.is_empty()).collect()
}

/// Where the scores of a table come from.
pub(crate) enum Source {
    /// Files, encoded by the table's own networks.
    Media(Box<Media>),
    /// Vectors that others made.
    Vectors(Vec<FusionInput>),
}

/// What one table is about.
pub(crate) struct Material {
    /// Heading of the table.
    pub title: String,
    /// The description that its networks follow; none where a table has both.
    pub profile: Option<Profile>,
    /// Name of its files, without an extension.
    pub file_name: String,
    /// Name and version of the data.
    pub data: String,
    /// Hash of the data.
    pub sha256: String,
    /// What stands in for the paper's data, and how posts are dealt: a sentence each.
    pub remarks: Vec<String>,
    pub labels: Vec<bool>,
    pub folds: Vec<Fold>,
    /// Of a probe of interaction: the polarities of each post's two parts, whose agreement is the label. Else empty.
    pub factors: Vec<[bool; 2]>,
    /// What the rows that read words read beside the posts: word vectors, extra texts.
    pub texts: String,
    pub source: Source,
}

impl Material {
    /// What a row that reads words depends on beside the posts.
    pub fn texts_of(&self, method: &Method) -> Option<String> {
        match method {
            Method::Doc2Vec => Some(format!("{}; {:?}", self.texts, Doc2VecConfig::default())),
            Method::Encoder {
                architecture:
                    Architecture::BiGru { .. } | Architecture::AttBiGru { .. } | Architecture::LyricsHan { .. },
                ..
            } => Some(self.texts.clone()),
            _ => None,
        }
    }

    /// Refuses what no table can be made of.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.folds.is_empty(), "{}: there is no fold", self.data);
        for (number, fold) in self.folds.iter().enumerate() {
            let name = format!("{}, fold {} of {}", self.data, number + 1, self.folds.len());
            fold.check(&self.labels, &name).context("dealing the posts")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_of_several_posts_is_learnt_once_per_label_and_scored_for_each_post() {
        let items = Items { items: vec!["a", "b"], of_post: vec![Some(0), None, Some(0), Some(1), Some(0)] };
        let labels = [true, true, true, false, false];
        assert_eq!(items.labelled(&[0, 1, 2, 3, 4], &labels), [(0, false), (0, true), (1, false)]);
        assert_eq!(items.labelled(&[0, 2], &labels), [(0, true)]);
        assert_eq!(items.spread(&[1.0, 2.0]), [Some(1.0), None, Some(1.0), Some(2.0), Some(1.0)]);
    }

    #[test]
    fn a_fold_without_both_labels_is_refused_by_name() {
        let fold = Fold { train: vec![0, 1], validation: vec![0, 1], test: vec![1] };
        let message = fold.check(&[true, false], "pack").unwrap_err().to_string();
        assert!(message.contains("0 of 1 test posts are positive"), "{message}");
    }
}
