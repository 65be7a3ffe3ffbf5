//! Data packs: a folder with posts and the media beside them, in one of three layouts (`docs/data-packs.md`): the
//! project's own `posts.jsonl` (`dataset-post.v1` lines), a plain `labels.csv`, or `shuttersong.csv` with a folder per
//! song. Any of them may have `dataset.json` (counts and the hash of the posts) and `extra-texts.jsonl` (texts for the
//! training side only).
//!
//! Reading is strict. A pack that leaks between splits gives figures that look fine and mean nothing, so a medium
//! or a text that stands in two splits is an error and not a warning.

mod deal;
mod files;
mod folder;
mod lines;
mod shuttersong;
mod table;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jtav_schemas::TextPart;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Names of the mood quadrants; a mood is an index into this list.
pub const MOODS: [&str; 4] = ["Q1", "Q2", "Q3", "Q4"];

/// The part of a pack that a post belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Weights are fitted here.
    Train,
    /// Epochs, temperatures and thresholds are chosen here.
    Validation,
    /// Looked at once, at the end.
    Test,
}

impl Split {
    /// All three, in that order.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// As written in a pack.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|split| split.name() == name)
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A media file of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaFile {
    /// Absolute, or relative to the working folder, as the pack's own path was.
    pub path: PathBuf,
    /// SHA-256 that the pack declares, in lower-case hexadecimal; checked when the file is read.
    pub sha256: Option<String>,
    /// Media type that the pack declares.
    pub media_type: Option<String>,
}

/// A labelled post.
#[derive(Debug, Clone)]
pub struct Post {
    /// Its id.
    pub id: String,
    /// Line of the pack's file of posts, from 1.
    pub line: usize,
    /// Its texts, in declared order.
    pub texts: Vec<TextPart>,
    /// Its clip.
    pub audio: Option<Arc<MediaFile>>,
    /// Its picture.
    pub image: Option<Arc<MediaFile>>,
    /// Sentiment.
    pub positive: bool,
    /// Index into [`MOODS`], where the audio has one.
    pub mood: Option<usize>,
    /// Where it belongs.
    pub split: Split,
}

/// A labelled post whose split may not be known yet.
#[derive(Debug, Clone)]
struct Candidate {
    id: String,
    line: usize,
    texts: Vec<TextPart>,
    audio: Option<Arc<MediaFile>>,
    image: Option<Arc<MediaFile>>,
    positive: bool,
    mood: Option<usize>,
    split: Option<Split>,
    /// What it must stay together with, for example its song.
    group: Option<String>,
}

impl Candidate {
    fn in_split(self, split: Split) -> Post {
        let Self { id, line, texts, audio, image, positive, mood, .. } = self;
        Post { id, line, texts, audio, image, positive, mood, split }
    }
}

/// A rated text without a post. It belongs to the training side.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ExtraText {
    /// Identity in its source.
    pub id: String,
    /// `caption`, `body`, …
    pub role: String,
    /// The words.
    pub text: String,
    /// 0 negative, 1 positive.
    pub sentiment: u8,
}

/// A pack, read and checked.
#[derive(Debug, Clone)]
pub struct DataPack {
    /// Name by `dataset.json`, else the folder's.
    pub name: String,
    /// Version by `dataset.json`, where there is one.
    pub version: Option<String>,
    /// The folder.
    pub root: PathBuf,
    /// Name of the file with the posts and their labels, by which the layout is known.
    pub labels_file: &'static str,
    /// SHA-256 of that file, hexadecimal; for `shuttersong.csv` of `polarity.csv` and the lyrics too.
    pub posts_sha256: String,
    /// SHA-256 of `extra-texts.jsonl`, where there is one.
    pub extra_texts_sha256: Option<String>,
    /// All posts, in file order.
    pub posts: Vec<Post>,
    /// Texts of the training side, possibly none.
    pub extra_texts: Vec<ExtraText>,
}

/// Why a pack was refused.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file is missing or unreadable.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A line that cannot be used.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file is not the one that `dataset.json` describes.
    #[error("{}: {reason}", path.display())]
    Integrity {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
}

impl DatasetError {
    /// Never: the same folder is refused again.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// `dataset.json`, as far as it is checked.
#[derive(Deserialize)]
struct Description {
    name: Option<String>,
    version: Option<String>,
    posts_sha256: Option<String>,
    #[serde(default)]
    splits: HashMap<String, DescribedSplit>,
}

#[derive(Deserialize)]
struct DescribedSplit {
    posts: usize,
}

/// The files that make a folder a pack. Where several are there, the first of this list is read.
pub const LAYOUTS: [&str; 3] = ["posts.jsonl", folder::LABELS, shuttersong::POSTS];

/// Which of [`LAYOUTS`] a folder has; `None` for one that is no pack.
pub fn layout(root: &Path) -> Option<&'static str> {
    LAYOUTS.into_iter().find(|name| root.join(name).is_file())
}

impl DataPack {
    /// Reads the pack in folder `root`. Media files are not opened here.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn read(root: &Path) -> Result<Self, DatasetError> {
        let labels_file = layout(root).unwrap_or(LAYOUTS[0]);
        let posts_path = root.join(labels_file);
        let bytes = read(&posts_path)?;
        let (posts, posts_sha256) = match labels_file {
            folder::LABELS => {
                let candidates = folder::parse(&posts_path, root, &bytes)?;
                (deal::assign(candidates, &posts_path)?, sha256_hex(&bytes))
            }
            shuttersong::POSTS => {
                let found = shuttersong::parse(&posts_path, root, &bytes)?;
                found.left_out.warn(&posts_path);
                (deal::assign(found.candidates, &posts_path)?, found.sha256)
            }
            _ => (lines::parse_posts(&posts_path, root, &bytes)?, sha256_hex(&bytes)),
        };
        if posts.is_empty() {
            return Err(DatasetError::Integrity { path: posts_path, reason: "holds no post".to_owned() });
        }
        check_leaks(&posts_path, &posts)?;

        let extra_path = root.join("extra-texts.jsonl");
        let extra = extra_path.exists().then(|| read(&extra_path)).transpose()?;
        let extra_texts = match &extra {
            Some(bytes) => lines::parse_extra_texts(&extra_path, bytes, &posts)?,
            None => Vec::new(),
        };
        let mut pack = Self {
            name: root.file_name().map_or_else(|| "data".to_owned(), |name| name.to_string_lossy().into_owned()),
            version: None,
            root: root.to_owned(),
            labels_file,
            posts_sha256,
            extra_texts_sha256: extra.as_deref().map(sha256_hex),
            posts,
            extra_texts,
        };
        pack.check_description()?;
        Ok(pack)
    }

    /// The posts of one split, in file order.
    pub fn split(&self, split: Split) -> impl Iterator<Item = &Post> {
        self.posts.iter().filter(move |post| post.split == split)
    }

    /// Name of the pack and of its file of posts, as a checkpoint records them.
    pub(crate) fn source_name(&self) -> String {
        format!("{}/{}", self.name, self.labels_file)
    }

    /// Share of positive posts in the training split: what is known about a post of which nothing is left. One half,
    /// which is to know nothing, for a pack without training posts.
    pub fn base_rate(&self) -> f64 {
        self.training_share().unwrap_or(0.5)
    }

    /// Share of positive posts in the training split; `None` where it has no post.
    pub fn training_share(&self) -> Option<f64> {
        let (positive, all) = self
            .split(Split::Train)
            .fold((0_usize, 0_usize), |(positive, all), post| (positive + usize::from(post.positive), all + 1));
        (all > 0).then(|| positive as f64 / all as f64)
    }

    fn check_description(&mut self) -> Result<(), DatasetError> {
        let path = self.root.join("dataset.json");
        if !path.exists() {
            return Ok(());
        }
        let description: Description = serde_json::from_slice(&read(&path)?).map_err(|e| DatasetError::Line {
            path: path.clone(),
            line: e.line(),
            reason: e.to_string(),
        })?;
        if let Some(expected) = description.posts_sha256.filter(|expected| *expected != self.posts_sha256) {
            return Err(DatasetError::Integrity {
                path: self.root.join(self.labels_file),
                reason: format!("sha256 is {}, dataset.json says {expected}", self.posts_sha256),
            });
        }
        for (name, described) in &description.splits {
            let found = Split::parse(name).map_or(0, |split| self.split(split).count());
            if found != described.posts {
                let reason = format!("split `{name}` has {found} posts, dataset.json says {}", described.posts);
                return Err(DatasetError::Integrity { path: self.root.join(self.labels_file), reason });
            }
        }
        self.name = description.name.unwrap_or_else(|| self.name.clone());
        self.version = description.version;
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, DatasetError> {
    std::fs::read(path).map_err(|source| DatasetError::Io { path: path.to_owned(), source })
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Texts that differ only in case and outer space are one.
fn comparable(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Refuses a pack in which something stands in two splits.
fn check_leaks(path: &Path, posts: &[Post]) -> Result<(), DatasetError> {
    let mut seen: HashMap<(&str, String), &Post> = HashMap::new();
    for post in posts {
        let medium =
            |file: &Arc<MediaFile>| file.sha256.clone().unwrap_or_else(|| file.path.to_string_lossy().into_owned());
        let texts = post.texts.iter().map(|part| ("text", comparable(&part.text)));
        let media = [("audio", &post.audio), ("image", &post.image)];
        let media = media.into_iter().filter_map(|(what, file)| Some((what, medium(file.as_ref()?))));
        for (what, value) in texts.chain(media).filter(|(_, value)| !value.is_empty()) {
            let first = *seen.entry((what, value)).or_insert(post);
            if first.split != post.split {
                return Err(DatasetError::Line {
                    path: path.to_owned(),
                    line: post.line,
                    reason: format!(
                        "{what} of post `{}` ({}) is also that of `{}` on line {} ({})",
                        post.id, post.split, first.id, first.line, first.split
                    ),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
